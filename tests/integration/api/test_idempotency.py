"""`Idempotency-Key` on the API: the same answer again, to the same key, for the same call."""

from __future__ import annotations

from typing import Any

import pytest

from support.http_api import LAMBDA_CONTEXT, AccountClient, ApiOnFakes, http_api_event
from support.samples import event_document
from webhooks.domain import api_key
from webhooks.domain.errors import IdempotencyInProgressError

WEBHOOKS = "/api/v1/webhooks"
BODY = {"url": "https://hooks.acme.com/", "events": ["email.sent"]}
MINE = {"Idempotency-Key": "mine"}


@pytest.fixture
def on_fakes() -> ApiOnFakes:
    return ApiOnFakes(max_webhooks=3)


def test_the_same_call_again_is_answered_the_same_secret_included(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    first = acme.call("POST", json=BODY, headers=MINE)
    again = acme.call("POST", json=BODY, headers=MINE)
    assert (first.status, again.status) == (201, 201)
    assert again.text == first.text
    assert first.data["secret"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Content-Type"] == "application/json"
    assert again.headers["X-Request-Id"]
    assert len(on_fakes.webhooks.webhooks) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/api-keys", {"name": "billing"}),
        ("/api/v1/events", event_document(account_id=None)),
        ("/api/v1/events", [event_document(account_id=None), {"event": "email.lost"}]),
    ],
)
def test_every_creating_call_takes_the_header(
    on_fakes: ApiOnFakes, acme: AccountClient, path: str, body: Any
) -> None:
    first = acme.call("POST", path, json=body, headers=MINE)
    made = (len(on_fakes.keys.keys), len(on_fakes.events.messages))
    again = acme.call("POST", path, json=body, headers=MINE)
    assert first.status in {201, 202}
    assert (again.status, again.text) == (first.status, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (len(on_fakes.keys.keys), len(on_fakes.events.messages)) == made


def test_a_put_is_answered_the_same_secret_included(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    path = f"{WEBHOOKS}/external/billing"
    first = acme.call("PUT", path, json=BODY, headers=MINE)
    again = acme.call("PUT", path, json=BODY, headers=MINE)
    assert (first.status, again.status) == (201, 201)
    assert again.text == first.text
    assert first.data["secret"]
    assert again.headers["Idempotency-Replayed"] == "true"
    # Under another header, and without one, it is a deployment's call.
    for headers in ({"Idempotency-Key": "other"}, {}):
        put = acme.call("PUT", path, json=BODY, headers=headers)
        assert (put.status, put.data.get("secret")) == (200, None)
    conflict = acme.call("PUT", path, json={**BODY, "description": "x"}, headers=MINE)
    assert (conflict.status, conflict.error["code"]) == (409, "idempotency_conflict")


def test_what_is_stored_before_the_act_shows_nothing_of_what_follows_from_it(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[str] = []
    create = on_fakes.webhooks.create

    def created(*values: Any, **named: Any) -> None:
        seeds.extend(on_fakes.idempotency_store.seeds.values())
        create(*values, **named)

    monkeypatch.setattr(on_fakes.webhooks, "create", created)
    made = acme.call("POST", json=BODY, headers=MINE)
    [sealed] = seeds
    assert sealed.startswith("aes256gcm.")
    record = ("acme", acme_key_id(acme), "POST", WEBHOOKS, "mine")
    text = on_fakes.sealer.unseal(acme.key, "seed of a call", record, sealed)
    assert text not in sealed
    for key, place in ((acme.key[:-1], record), (acme.key, (*record[:-1], "other"))):
        with pytest.raises(ValueError, match="another secret"):
            on_fakes.sealer.unseal(key, "seed of a call", place, sealed)
    assert made.data["secret"] not in text
    assert on_fakes.idempotency_store.seeds == {}


def acme_key_id(client: AccountClient) -> str:
    return api_key.key_id(client.key)


def test_a_changed_record_is_an_error_of_ours_and_nothing_is_made(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    acme.call("POST", json=BODY, headers=MINE)
    [(key, (fingerprint, kept))] = on_fakes.idempotency_store.kept.items()
    assert kept is not None
    swapped = kept.body.swapcase()
    on_fakes.idempotency_store.kept[key] = (fingerprint, kept._replace(body=swapped))
    assert acme.call("POST", json=BODY, headers=MINE).status == 500
    assert len(on_fakes.webhooks.webhooks) == 1


def test_another_body_is_a_conflict(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    acme.call("POST", json=BODY, headers=MINE)
    answer = acme.call("POST", json={**BODY, "description": "other"}, headers=MINE)
    assert (answer.status, answer.error["code"]) == (409, "idempotency_conflict")
    assert len(on_fakes.webhooks.webhooks) == 1


def test_a_body_is_the_same_however_it_is_carried(acme: AccountClient) -> None:
    text = '{"url": "https://hooks.acme.com/", "events": ["*"], "description": "ü"}'
    first = acme.call("POST", body=text, headers=MINE)
    again = acme.call("POST", body=text.encode(), headers=MINE)
    assert (first.status, again.text) == (201, first.text)


def test_an_error_is_not_kept(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    on_fakes.webhooks.failures.plan("create", True)
    assert acme.call("POST", json=BODY, headers=MINE).status == 503
    assert acme.call("POST", json=BODY, headers=MINE).status == 201


def test_a_refused_call_may_be_corrected_under_its_key(acme: AccountClient) -> None:
    assert acme.call("POST", json={"url": 1}, headers=MINE).status == 422
    assert acme.call("POST", json={**BODY, "events": ["no"]}, headers=MINE).status == 422
    assert acme.call("POST", json=BODY, headers=MINE).status == 201


def test_a_call_that_may_have_been_made_keeps_its_key(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    on_fakes.webhooks.failures.plan("create", True)
    assert acme.call("POST", json=BODY, headers=MINE).status == 503
    other = acme.call("POST", json={**BODY, "description": "other"}, headers=MINE)
    assert (other.status, other.error["code"]) == (409, "idempotency_conflict")
    assert acme.call("POST", json=BODY, headers=MINE).status == 201


def test_another_key_of_the_account_is_not_shown_the_secret(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    first = acme.call("POST", json=BODY, headers=MINE)
    for client in (on_fakes.client("acme"), on_fakes.globex):
        answer = client.call("POST", json=BODY, headers=MINE)
        assert answer.status == 201
        assert answer.data["secret"] != first.data["secret"]
        assert "Idempotency-Replayed" not in answer.headers


@pytest.mark.parametrize(
    ("path", "body", "shown"),
    [(WEBHOOKS, BODY, "secret"), ("/api/v1/api-keys", {"name": "billing"}, "key")],
)
def test_what_is_kept_shows_no_secret_and_no_key(
    on_fakes: ApiOnFakes, acme: AccountClient, path: str, body: Any, shown: str
) -> None:
    made = acme.call("POST", path, json=body, headers=MINE)
    [(_, kept)] = on_fakes.idempotency_store.kept.values()
    assert kept is not None
    assert made.data[shown] not in repr(kept)
    assert acme.key not in repr(on_fakes.idempotency_store.kept)
    # The same key opens it, however its header is spaced.
    spaced = {**MINE, "Authorization": f"bearer  {acme.key} "}
    assert acme.call("POST", path, json=body, headers=spaced).text == made.text


def test_an_answer_that_was_kept_before_they_were_sealed_is_given_again(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    made = acme.call("POST", json=BODY, headers=MINE)
    [(key, (fingerprint, kept))] = on_fakes.idempotency_store.kept.items()
    assert kept is not None
    on_fakes.idempotency_store.kept[key] = (fingerprint, kept._replace(body=made.text))
    again = acme.call("POST", json=BODY, headers=MINE)
    assert (again.status, again.text) == (201, made.text)


def test_a_revoked_key_gets_no_kept_answer(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    made = acme.call("POST", "/api/v1/api-keys", json={"name": "lost"}).data
    lost = AccountClient(on_fakes.api, made["key"])
    assert lost.call("POST", json=BODY, headers=MINE).status == 201
    acme.call("DELETE", f"/api/v1/api-keys/{made['id']}")
    assert lost.call("POST", json=BODY, headers=MINE).status == 401


def test_the_same_header_on_another_route_is_another_call(acme: AccountClient) -> None:
    acme.call("POST", json=BODY, headers=MINE)
    answer = acme.call("POST", "/api/v1/api-keys", json={"name": "a"}, headers=MINE)
    assert answer.status == 201
    assert "Idempotency-Replayed" not in answer.headers


def test_a_repeat_of_a_call_under_way_is_refused(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_progress(*_: Any, **__: Any) -> Any:
        raise IdempotencyInProgressError

    monkeypatch.setattr(on_fakes.idempotency_store, "get_or_create", in_progress)
    answer = acme.call("POST", json=BODY, headers=MINE)
    assert (answer.status, answer.error["code"]) == (409, "idempotency_in_progress")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("value", ["", " ", "two words", "é", "x" * 256, "tab\tbed"])
def test_a_header_that_breaks_the_rule_is_refused(
    on_fakes: ApiOnFakes, acme: AccountClient, value: str
) -> None:
    answer = acme.call("POST", json=BODY, headers={"Idempotency-Key": value})
    assert (answer.status, answer.fields) == (422, ["Idempotency-Key"])
    assert not on_fakes.webhooks.webhooks


@pytest.mark.parametrize("value", ["x", "x" * 255, "!~", "8e03978e-40d5-43e8-bc93-6894a57f9324"])
def test_a_header_within_the_rule_is_taken(acme: AccountClient, value: str) -> None:
    assert acme.call("POST", json=BODY, headers={"Idempotency-Key": value}).status == 201


def test_a_call_that_makes_nothing_takes_no_notice(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    webhook = acme.call("POST", json=BODY).data
    assert acme.call("GET", headers=MINE).status == 200
    assert acme.call("DELETE", f"{WEBHOOKS}/{webhook['id']}", headers=MINE).status == 200
    assert on_fakes.idempotency_store.kept == {}


def test_calls_without_a_key_never_reach_the_kept_answers(on_fakes: ApiOnFakes) -> None:
    event = http_api_event("POST", WEBHOOKS, headers=MINE, body="{}")
    assert on_fakes.api(event, LAMBDA_CONTEXT)["statusCode"] == 401
    assert on_fakes.idempotency_store.kept == {}
