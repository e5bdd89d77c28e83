"""Publishing over HTTP: one event or many, and an answer for each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from support import samples
from support.samples import event_document
from webhooks.domain.event import accept
from webhooks.domain.health import Circuit, Health
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from support.http_api import AccountClient, ApiOnFakes

EVENTS = "/api/v1/events"


def document(**changes: Any) -> dict[str, Any]:
    return event_document(**{"account_id": None, **changes})


def test_an_event_is_accepted_with_its_ids(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    answer = acme.call("POST", EVENTS, json=document())
    assert answer.status == 202
    event = accept(document(), sent_at_ms=0, account_id="acme")
    assert answer.data == {
        "index": 0,
        "status": "accepted",
        "event_id": event.id,
        "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
        "webhooks": 0,
    }
    [(account_id, message)] = on_fakes.events.messages
    assert account_id == "acme"
    assert json.loads(message) == {**document(), "account_id": "acme"}


def test_a_list_is_answered_item_by_item(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    on_fakes.events.refuse = {1}
    answer = acme.call(
        "POST",
        EVENTS,
        json=[document(id="a"), document(event="email.lost"), document(id="b"), 7],
    )
    assert answer.status == 202
    assert [(each["index"], each["status"]) for each in answer.data] == [
        (0, "accepted"),
        (1, "rejected"),
        (2, "rejected"),
        (3, "rejected"),
    ]
    codes = [each["error"]["code"] for each in answer.data[1:]]
    assert codes == ["validation_failed", "unavailable", "validation_failed"]
    [detail] = answer.data[1]["error"]["details"]
    assert detail["field"] == "event"
    assert detail["message"].startswith("This must be one of email.sent, ")


def test_the_answer_has_the_number_of_webhooks_of_each_event(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    """Disabled and failing webhooks included: the event waits for them."""
    for number, events in enumerate((["*"], ["email.bounced"], ["email.sent", "email.opened"])):
        health = Health(circuit=Circuit.OPEN) if number == 0 else Health()
        webhook = samples.webhook(
            number, account_id="acme", events=tuple(events), active=number != 1, health=health
        )
        on_fakes.webhooks.add(webhook, Secrets(samples.SECRET))
    on_fakes.webhooks.add(samples.webhook(9, account_id="globex"), Secrets(samples.SECRET))
    words = ("bounced", "opened", "sent", "clicked", "lost")
    body = [document(event=f"email.{word}", id=word) for word in words]
    answer = acme.call("POST", EVENTS, json=body)
    assert [each.get("webhooks") for each in answer.data] == [2, 2, 2, 1, None]
    assert acme.call("POST", EVENTS, json=body[0]).data["webhooks"] == 2


def test_webhooks_that_cannot_be_counted_hinder_no_event(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    on_fakes.webhooks.failures.plan("subscriptions", True)
    answer = acme.call("POST", EVENTS, json=document())
    assert (answer.status, answer.data["status"]) == (202, "accepted")
    assert "webhooks" not in answer.data
    [line] = on_fakes.telemetry.logged("webhooks_not_counted")
    assert line["account_id"] == "acme"
    assert len(on_fakes.events.messages) == 1


def test_events_refused_by_the_queue_go_to_no_webhook(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    on_fakes.events.refuse = {0}
    lost, taken = acme.call("POST", EVENTS, json=[document(id="a"), document(id="b")]).data
    assert ("webhooks" in lost, taken["webhooks"]) == (False, 0)


@pytest.mark.parametrize("name", ["account_id", "id", "transaction_id", "timestamp"])
def test_the_document_says_which_fields_may_be_null(
    on_fakes: ApiOnFakes, acme: AccountClient, name: str
) -> None:
    operation = json.loads(on_fakes.api.resolver.get_openapi_json_schema())["paths"][EVENTS]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    body = document() | {name: None}
    assert acme.call("POST", EVENTS, json=body).status == 202
    Draft202012Validator(schema).validate(body)


def test_events_that_share_a_transaction_id_are_accepted_with_a_warning(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    shared = [document(event=f"email.{word}") for word in ("sent", "delivered")]
    answer = acme.call("POST", EVENTS, json=[shared[0], document(transaction_id=None), shared[1]])
    assert answer.status == 202
    assert [each["status"] for each in answer.data] == ["accepted"] * 3
    fields = [warning["field"] for warning in answer.json["warnings"]]
    assert fields == ["[0].transaction_id", "[2].transaction_id"]
    assert all("or leave it out" in warning["message"] for warning in answer.json["warnings"])
    # The function's metrics are written when the call ends.
    ids, counts = on_fakes.telemetry.flushed[-1]
    assert ids == {"request_id": answer.headers["X-Request-Id"]}
    assert counts["SharedTransactionIds"] == 2


def test_an_answer_without_warnings_has_no_such_field(acme: AccountClient) -> None:
    for body in (document(), [document(id="a", transaction_id=None), document(id="b")]):
        answer = acme.call("POST", EVENTS, json=body)
        assert set(answer.json) == {"success", "data"}


@pytest.mark.parametrize("event", ["email.delivery_delayed", "email.failed", "email.unsubscribed"])
def test_the_types_beyond_part_1_are_published_like_the_others(
    acme: AccountClient, event: str
) -> None:
    answer = acme.call("POST", EVENTS, json=document(event=event))
    assert answer.status == 202


def test_a_list_of_one_is_answered_as_a_list(acme: AccountClient) -> None:
    [result] = acme.call("POST", EVENTS, json=[document()]).data
    assert result["status"] == "accepted"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (document(event="email.lost"), ["event"]),
        (document(data={"to": []}), ["data.to"]),
        (document(account_id="globex"), ["account_id"]),
        (document(surprise=1), ["surprise"]),
        ([document(data=1), "text"], ["[0].data", "[1]"]),
        ([], ["body"]),
        ([document()] * 101, ["body"]),
    ],
)
def test_where_nothing_is_accepted_the_request_is_refused(
    on_fakes: ApiOnFakes, acme: AccountClient, body: Any, fields: list[str]
) -> None:
    answer = acme.call("POST", EVENTS, json=body)
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert answer.fields == fields
    assert on_fakes.events.messages == []


def test_an_events_own_limit_holds_over_http_too(acme: AccountClient) -> None:
    large = document(data={"to": "a@example.com", "text": "x" * 65_536})
    answer = acme.call("POST", EVENTS, json=large)
    assert (answer.status, answer.fields) == (422, ["body"])
    assert "over 65536 bytes" in answer.error["details"][0]["message"]


def test_a_queue_that_takes_nothing_is_unavailable(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    on_fakes.events.refuse = {0}
    answer = acme.call("POST", EVENTS, json=[document(event="email.lost"), document()])
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_a_body_of_a_megabyte_is_taken_and_no_more(acme: AccountClient) -> None:
    filler = [document(data={"to": "a@example.com", "text": "x" * 60_000})] * 17
    body = json.dumps(filler)
    padded = body + " " * (1024 * 1024 - len(body))
    headers = {"Content-Type": "application/json"}
    assert acme.call("POST", EVENTS, body=padded, headers=headers).status == 202
    answer = acme.call("POST", EVENTS, body=padded + " ", headers=headers)
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert "1,048,576" in answer.error["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "malformed_json"),
        ("{", 400, "malformed_json"),
        ("null", 400, "malformed_json"),
        ('"text"', 400, "malformed_json"),
        ('{"event": NaN}', 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        ("[" * 300 + "]" * 300, 400, "malformed_json"),
        ("[" * 100_000, 400, "malformed_json"),
    ],
)
def test_text_that_is_no_json_is_malformed(
    acme: AccountClient, body: str | bytes, status: int, code: str
) -> None:
    answer = acme.call("POST", EVENTS, body=body)
    assert (answer.status, answer.error["code"]) == (status, code)


def test_numbers_are_read_as_from_the_queue(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    text = '{"event":"email.sent","data":{"to":"a@b.c","n":[1.0,1e400,12345678901234567890,-0.0]}}'
    assert acme.call("POST", EVENTS, body=text).status == 202
    [(_, message)] = on_fakes.events.messages
    assert json.loads(message)["data"]["n"] == [1, None, 12345678901234567168, 0]


def test_another_media_type_is_refused(acme: AccountClient) -> None:
    answer = acme.call(
        "POST", EVENTS, body="a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


def test_the_document_describes_the_body_and_the_scope(on_fakes: ApiOnFakes) -> None:
    operation = json.loads(on_fakes.api.resolver.get_openapi_json_schema())["paths"][EVENTS]["post"]
    assert operation["x-required-scope"] == "publish"
    content = operation["requestBody"]["content"]["application/json"]
    one, many = content["schema"]["anyOf"]
    assert many["items"] == one
    assert many["maxItems"] == 100
    assert accept(content["example"], sent_at_ms=0, account_id="acme")
