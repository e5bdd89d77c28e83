"""The command line on the API with fakes behind it: its calls, its output, its failures."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook as StandardWebhook

from cli import client, commands
from cli.client import Access, ApiClient, ApiClientError, NotConfiguredError, find_access
from cli.listening import Arrived, Forwarder, Listener
from cli.screen import Screen, cell
from ops.outputs import FILE
from support import samples
from support.receiver import Answer, Receiver
from support.stack import ROOT
from unit.cli.api_wire import API_URL, WEBHOOK, Wire, response
from unit.terminal import Terminal
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.payload import serialize
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.http_api import ApiOnFakes

OTHER = samples.webhook(2, account_id="acme")
BODY = serialize({"event": "email.delivered", "data": {"to": "r@example.com", "n": 1e21}})


@pytest.fixture
def api(wire: Wire) -> ApiClient:
    return ApiClient(Access(API_URL, wire.on_fakes.acme.key))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def recorded(on_fakes: ApiOnFakes, age_seconds: float = 0, **changes: Any) -> Delivery:
    """Record a delivery made now, of an event that happened a while ago."""
    now_ms = int(time.time() * 1000)
    at_ms = now_ms - int(age_seconds * 1000)
    event_id = f"evt_{len(on_fakes.deliveries.deliveries)}"
    values: dict[str, Any] = {
        "account_id": "acme",
        "webhook_id": WEBHOOK.id,
        "event_id": event_id,
        "body": BODY,
        "created_at_ms": now_ms,
        "status": Status.SUCCEEDED,
        "next_attempt_at_ms": None,
        **changes,
    }
    values["id"] = delivery_id(event_id, at_ms, values["webhook_id"])
    return on_fakes.deliveries.create(samples.delivery(**values))


def new(listener: Listener) -> list[str]:
    return [arrived.delivery["id"] for arrived in listener.arrivals()]


def test_a_webhook_is_registered_listed_shown_switched_and_deleted(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://hooks.example.com/new"
    options = ["--events", "email.sent, email.opened", "--header", "X-Team=billing=1"]
    assert commands.main(["create", url, *options, "--description", "Billing", "--json"]) == 0
    created = json.loads(capsys.readouterr().out)
    assert created["events"] == ["email.sent", "email.opened"]
    stored = wire.on_fakes.webhooks.get("acme", created["id"])
    assert stored is not None
    assert (stored.headers, stored.description) == ({"X-Team": "billing=1"}, "Billing")

    assert commands.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert url in shown
    assert WEBHOOK.id in shown
    assert commands.main(["disable", created["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["active"] is False
    assert commands.main(["enable", created["id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["active"] is True
    assert commands.main(["show", created["id"]]) == 0
    assert "Billing" in capsys.readouterr().out
    assert commands.main(["delete", created["id"]]) == 0
    assert wire.on_fakes.webhooks.get("acme", created["id"]) is None


def test_a_new_secret_is_shown_with_a_warning(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["rotate", WEBHOOK.id, "--overlap", "0"]) == 0
    shown = capsys.readouterr().out
    destination = wire.on_fakes.webhooks.destination("acme", WEBHOOK.id)
    assert destination is not None
    assert str(destination.secrets.current) in shown
    assert "only this once" in shown


def test_lists_follow_their_cursors(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)
    made = [recorded(wire.on_fakes, age).id for age in range(5)]
    assert commands.main(["deliveries", WEBHOOK.id, "--json"]) == 0
    captured = capsys.readouterr()
    assert [delivery["id"] for delivery in json.loads(captured.out)] == made
    assert captured.err == ""

    assert commands.main(["deliveries", WEBHOOK.id, "--json", "--limit", "3"]) == 0
    captured = capsys.readouterr()
    assert [delivery["id"] for delivery in json.loads(captured.out)] == made[:3]
    assert "--limit" in captured.err

    for number in range(3, 6):
        wire.on_fakes.webhooks.add(
            samples.webhook(number, account_id="acme"), Secrets(samples.SECRET)
        )
    assert commands.main(["list", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4


def test_the_log_is_filtered_and_a_delivery_is_shown_with_its_attempts(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = recorded(wire.on_fakes, status=Status.EXHAUSTED)
    recorded(wire.on_fakes)
    assert commands.main(["deliveries", WEBHOOK.id, "--status", "exhausted"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("ID ")
    assert row.split()[:3] == [failed.id, "exhausted", "email.delivered"]
    assert commands.main(["show", WEBHOOK.id, failed.id]) == 0
    shown = capsys.readouterr().out
    assert BODY.decode() in shown
    assert shown.splitlines()[-1].split()[2:] == ["500", "35", "no", "no"]
    assert commands.main(["show", WEBHOOK.id, failed.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attempts"][0]["response_body"] == "no"


def test_a_delivery_is_resent_a_sample_is_sent_and_types_are_listed(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = recorded(wire.on_fakes, status=Status.EXHAUSTED)
    assert commands.main(["resend", WEBHOOK.id, failed.id]) == 0
    assert commands.main(["test", WEBHOOK.id, "email.bounced"]) == 0
    assert f"POST /api/v1/webhooks/{WEBHOOK.id}/deliveries/{failed.id}/resend" in wire.calls
    tests = [found for found in wire.on_fakes.deliveries.deliveries.values() if found.test]
    assert [found.event_type for found in tests] == ["email.bounced"]
    capsys.readouterr()
    assert commands.main(["events"]) == 0
    assert "email.complained" in capsys.readouterr().out


def test_an_error_is_told_with_its_details(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["create", "http://hooks.example.com", "--events", "email.lost"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("webhooks: ")
    assert "(validation_failed)" in captured.err
    assert "\n  url: " in captured.err
    assert "\n  events[0]: " in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["show", "../api-keys"],
        ["listen", "--forward", "example.com:80"],
        ["listen", "--forward", "70000"],
        ["listen", "--forward", "3000/hook#top"],
        ["listen", "--header", "X-Team"],
        ["listen", "--header", "Host=elsewhere.example.com"],
        ["listen", "--interval", "0"],
        ["deliveries", WEBHOOK.id, "--limit", "0"],
        ["create", "https://hooks.example.com", "--header", "X-Team"],
    ],
)
def test_wrong_usage_exits_with_2_and_calls_nothing(wire: Wire, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        commands.main(arguments)
    assert exited.value.code == 2
    assert wire.calls == []


def test_an_api_that_does_not_respond_is_an_error(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.failures = [requests.ConnectionError("refused"), response(403, '{"message":"Forbidden"}')]
    assert commands.main(["list"]) == 1
    assert f"The API at {API_URL} does not respond: refused" in capsys.readouterr().err
    assert commands.main(["list"]) == 1
    assert "returned 403" in capsys.readouterr().err


def test_the_address_and_the_key_come_together_or_from_the_local_stack(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.json"
    with pytest.raises(NotConfiguredError, match="make run"):
        find_access({}, outputs)
    outputs.write_text(json.dumps({"ApiUrl": "http://127.0.0.1:8080", "ApiKey": "local"}))
    assert find_access({}, outputs) == Access("http://127.0.0.1:8080", "local")
    both = {client.URL_VARIABLE: f"{API_URL}/", client.KEY_VARIABLE: "key"}
    assert find_access(both, outputs) == Access(API_URL, "key")
    for name in both:
        half = {other: value for other, value in both.items() if other != name}
        with pytest.raises(NotConfiguredError, match=name):
            find_access(half, outputs)
    with pytest.raises(NotConfiguredError, match="address"):
        find_access(both | {client.URL_VARIABLE: "api.example.com"}, outputs)


def test_every_command_looks_for_the_stack_of_its_own_checkout() -> None:
    outputs = ROOT / ".local" / "outputs.json"
    assert outputs == client.OUTPUTS == FILE


def test_no_configuration_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(client.URL_VARIABLE, API_URL)
    monkeypatch.delenv(client.KEY_VARIABLE, raising=False)
    assert commands.main(["list"]) == 2
    assert client.KEY_VARIABLE in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tty", "environment", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False)],
)
def test_colours_are_for_terminals_only(
    tty: bool, environment: dict[str, str], coloured: bool
) -> None:
    stream: Any = Terminal(tty=tty)
    Screen(stream, environment, as_json=False).table(("STATUS",), [("exhausted",)])
    assert ("\033[31mexhausted" in stream.text) == coloured


def test_what_was_stored_cannot_steer_a_terminal() -> None:
    assert cell("a\x1b[2Jb\nc\u202e") == "a\\x1b[2Jb\\nc\\u202e"
    assert cell("Grüße, 世界") == "Grüße, 世界"


def test_listening_finds_each_new_delivery_once_and_nothing_old(api: ApiClient, wire: Wire) -> None:
    recorded(wire.on_fakes)
    recorded(wire.on_fakes, age_seconds=7200)
    listener = Listener(api, WEBHOOK.id)
    assert new(listener) == []
    older, newer = recorded(wire.on_fakes, 30), recorded(wire.on_fakes, 1)
    assert new(listener) == [older.id, newer.id]
    assert new(listener) == []
    assert new(listener) == []


def test_an_event_that_is_old_when_it_comes_is_found_however_deep_it_lies(
    api: ApiClient, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)
    long_ago = int(time.time() * 1000) - 10_000_000
    for number in range(5):
        recorded(wire.on_fakes, 3600 + number, created_at_ms=long_ago)
    listener = Listener(api, WEBHOOK.id)
    late = recorded(wire.on_fakes, age_seconds=86_400)
    assert [found for _ in range(3) for found in new(listener)] == [late.id]
    assert [found for _ in range(6) for found in new(listener)] == []


def test_what_could_not_be_read_comes_with_the_next_poll(api: ApiClient, wire: Wire) -> None:
    listener = Listener(api, WEBHOOK.id)
    first, second = recorded(wire.on_fakes, 2), recorded(wire.on_fakes, 1)
    arrivals = listener.arrivals()
    assert next(arrivals).delivery["id"] == first.id
    wire.failures = [requests.ConnectionError("refused")]
    with pytest.raises(ApiClientError) as failed:
        next(arrivals)
    assert failed.value.passing
    assert new(listener) == [second.id]


def test_all_webhooks_are_listened_to_those_made_later_too(api: ApiClient, wire: Wire) -> None:
    listener = Listener(api)
    wire.on_fakes.webhooks.add(OTHER, Secrets(samples.SECRET))
    there = recorded(wire.on_fakes)
    here = recorded(wire.on_fakes, webhook_id=OTHER.id)
    found = {(arrived.webhook_id, arrived.delivery["id"]) for arrived in listener.arrivals()}
    assert found == {(WEBHOOK.id, there.id), (OTHER.id, here.id)}
    wire.on_fakes.webhooks.delete("acme", OTHER.id)
    assert new(listener) == []


def test_a_webhook_that_is_absent_cannot_be_listened_to(api: ApiClient) -> None:
    with pytest.raises(ApiClientError, match=r"[Ww]ebhook") as failed:
        Listener(api, OTHER.id)
    assert failed.value.status == 404


def arrived(api: ApiClient, wire: Wire) -> Arrived:
    delivery = recorded(wire.on_fakes)
    return Arrived(WEBHOOK.id, api.get(f"/webhooks/{WEBHOOK.id}/deliveries/{delivery.id}"))


def test_a_delivery_is_forwarded_byte_for_byte_and_signed(
    api: ApiClient, wire: Wire, receiver: Receiver
) -> None:
    one = arrived(api, wire)
    forwarder = Forwarder(receiver.url, samples.SECRET)
    forwarded = forwarder.forward(one)
    forwarder.close()
    assert (forwarded.status, forwarded.succeeded) == (200, True)
    [request] = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook", BODY)
    digest = hmac.new(samples.SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-sendcomms-signature"] == f"sha256={digest}"
    assert request.headers["x-sendcomms-delivery"] == one.delivery["id"]
    assert request.headers["x-sendcomms-event"] == "email.delivered"
    assert request.headers["content-type"] == "application/json"
    StandardWebhook(samples.SECRET).verify(request.body, dict(request.headers))


def test_without_a_secret_a_delivery_is_forwarded_unsigned(
    api: ApiClient, wire: Wire, receiver: Receiver
) -> None:
    Forwarder(receiver.url, None).forward(arrived(api, wire))
    [request] = receiver.requests
    assert request.body == BODY
    assert not {"x-sendcomms-signature", "webhook-signature"} & set(request.headers)
    assert request.headers["webhook-id"].startswith("evt_")


def test_a_refusal_and_a_closed_port_are_told_apart(
    api: ApiClient, wire: Wire, receiver: Receiver
) -> None:
    one = arrived(api, wire)
    receiver.answer_with(Answer(302, {"Location": f"{receiver.url}/elsewhere"}))
    refused = Forwarder(receiver.url, None).forward(one)
    assert (refused.status, refused.succeeded) == (302, False)
    assert len(receiver.requests) == 1
    silent = Forwarder("http://127.0.0.1:1/", None).forward(one)
    expected = (None, "no program listens there, or it closed the connection")
    assert (silent.status, silent.problem) == expected


def test_listening_survives_an_api_that_is_away_and_ends_with_ctrl_c(
    api: ApiClient,
    wire: Wire,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pauses: list[float] = []
    throttled = response(429, '{"message":"Too Many Requests"}', **{"Retry-After": "9"})
    made: list[Delivery] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            wire.failures = [requests.ConnectionError("refused"), throttled]
            made.append(recorded(wire.on_fakes))
        if len(pauses) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    before = signal.getsignal(signal.SIGTERM)
    address = receiver.url.removeprefix("http://127.0.0.1:")
    try:
        assert commands.main(["listen", WEBHOOK.id, "--forward", address]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    captured = capsys.readouterr()
    [line] = captured.out.splitlines()
    assert made[0].id in line
    assert f"webhook {WEBHOOK.id}  -> 200" in line
    assert len(receiver.requests) == 1
    assert pauses == [1.0, 2.0, 9.0, 1.0, 1.0]
    assert captured.err.count("without signatures") == 1
    assert captured.err.count("Trying again") == 1


def test_listening_stops_at_an_error_that_no_waiting_mends(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: wire.on_fakes.webhooks.delete("acme", WEBHOOK.id))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert commands.main(["listen", WEBHOOK.id, "--json"]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "(webhook_not_found)" in capsys.readouterr().err
