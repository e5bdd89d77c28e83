"""PUT and GET by a webhook's external id, and its metadata: from event to answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support.fakes import FakeHealthStore
from webhooks.domain.errors import ExternalIdTakenError, LimitReachedError
from webhooks.domain.health import Circuit, Health
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from support.http_api import AccountClient, Answer, ApiOnFakes
    from webhooks.domain.webhook import Webhook

WEBHOOKS = "/api/v1/webhooks"
BILLING = f"{WEBHOOKS}/external/billing"
BODY = {"url": "https://hooks.acme.com/email", "events": ["email.sent"]}
FULL: dict[str, Any] = {
    **BODY,
    "description": "Billing",
    "headers": {"X-Team": "billing"},
    "metadata": {"zone": "eu", "team": "billing"},
}


def put(client: AccountClient, path: str = BILLING, /, **changes: Any) -> Answer:
    return client.call("PUT", path, json={**BODY, **changes})


def stored(on_fakes: ApiOnFakes) -> Webhook:
    [(webhook, _)] = on_fakes.webhooks.webhooks.values()
    return webhook


def test_a_put_creates_as_a_post_does(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    answer = put(acme, **FULL)
    assert answer.status == 201
    assert answer.data["secret"].startswith("whsec_")
    assert (answer.data["external_id"], answer.data["active"]) == ("billing", True)
    assert answer.data["metadata"] == FULL["metadata"]
    assert answer.data["header_names"] == ["X-Team"]
    assert stored(on_fakes).headers == {"X-Team": "billing"}


def test_a_put_that_changes_nothing_answers_the_same(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    created = put(acme, **FULL, secret="a-secret-of-my-own").data
    before = stored(on_fakes)
    first = put(acme, **FULL, secret="another-secret-16", external_id="billing", active=True)
    again = put(acme, **FULL)
    assert first.status == again.status == 200
    assert first.data == again.data == acme.call("GET", BILLING).data
    assert first.data["id"] == created["id"]
    assert stored(on_fakes) == before
    [(_, secrets)] = on_fakes.webhooks.webhooks.values()
    assert secrets.current == "a-secret-of-my-own"


def test_a_put_replaces_everything_and_what_is_left_out_gets_its_default(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    put(acme, **FULL)
    answer = put(acme, events=["*"], url="https://other.acme.com/hook")
    assert answer.status == 200
    webhook = stored(on_fakes)
    assert (webhook.url, webhook.events) == ("https://other.acme.com/hook", ("*",))
    assert (webhook.description, webhook.headers, webhook.metadata) == ("", {}, {})
    assert webhook.external_id == "billing"
    assert {"description", "header_names", "metadata"}.isdisjoint(answer.data)


def test_a_webhook_that_was_disabled_stays_so(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    webhook_id = put(acme).data["id"]
    FakeHealthStore(on_fakes.webhooks).disable("acme", webhook_id, "gone", 1)
    assert put(acme, description="new").data["disabled_reason"] == "gone"
    enabled = put(acme, active=True).data
    assert enabled["active"] is True
    assert "disabled_reason" not in enabled
    assert put(acme, active=False).data["active"] is False
    assert put(acme, f"{WEBHOOKS}/external/new", active=False).data["active"] is False


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        (BILLING, {"external_id": "crm"}, "external_id"),
        (f"{WEBHOOKS}/external/0199a5b0-0000-7000-8000-000000000000", {}, "external_id"),
        (f"{WEBHOOKS}/external/{'x' * 129}", {}, "external_id"),
        (BILLING, {"secret": "short"}, "secret"),
        (BILLING, {"active": None}, "active"),
        (BILLING, {"url": "http://hooks.acme.com/"}, "url"),
        (BILLING, {"metadata": {"a": 1}}, "metadata.a"),
        (BILLING, {"metadata": {"a": "x" * 257}}, "metadata.a"),
        (BILLING, {"unknown": 1}, "unknown"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_put_that_breaks_a_rule_is_refused_whether_or_not_the_webhook_exists(
    acme: AccountClient, path: str, changes: dict[str, Any], field: str, exists: bool
) -> None:
    if exists:
        put(acme)
    answer = put(acme, path, **changes)
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert [detail["field"] for detail in answer.error["details"]] == [field]


@pytest.mark.parametrize("path", ["nobody", "0199a5b0-0000-7000-8000-000000000000", "x" * 200])
def test_a_webhook_that_no_external_id_names_is_not_found(acme: AccountClient, path: str) -> None:
    answer = acme.call("GET", f"{WEBHOOKS}/external/{path}")
    assert (answer.status, answer.error["code"]) == (404, "webhook_not_found")


@pytest.mark.parametrize("name", ["deliveries", "replays", "test", "a.b:c@d-e_f"])
def test_an_external_id_may_be_any_word_of_a_path(acme: AccountClient, name: str) -> None:
    path = f"{WEBHOOKS}/external/{name}"
    assert put(acme, path).status == 201
    assert acme.call("GET", path).data["external_id"] == name


def test_a_percent_encoded_external_id_is_the_same(acme: AccountClient) -> None:
    created = put(acme, f"{WEBHOOKS}/external/a%3Ab%40c").data
    assert created["external_id"] == "a:b@c"
    assert put(acme, f"{WEBHOOKS}/external/a:b@c", external_id="a:b@c").data["id"] == created["id"]
    assert put(acme, f"{WEBHOOKS}/external/a%2Fb").status == 422
    assert acme.call("GET", f"{WEBHOOKS}/external/a%3ab@c").data["id"] == created["id"]


def test_a_taken_external_id_is_a_conflict_at_post_and_patch(acme: AccountClient) -> None:
    put(acme)
    taken = acme.call("POST", json={**BODY, "external_id": "billing"})
    assert (taken.status, taken.error["code"]) == (409, "external_id_taken")
    other = acme.call("POST", json={**BODY, "external_id": "crm"}).data["id"]
    changed = acme.call("PATCH", f"{WEBHOOKS}/{other}", json={"external_id": "billing"})
    assert (changed.status, changed.error["code"]) == (409, "external_id_taken")
    cleared = acme.call("PATCH", f"{WEBHOOKS}/{other}", json={"external_id": None})
    assert "external_id" not in cleared.data
    empty = acme.call("PATCH", f"{WEBHOOKS}/{other}", json={"external_id": ""})
    assert empty.status == 422


def test_a_deleted_webhook_leaves_its_external_id_to_another(acme: AccountClient) -> None:
    first = put(acme).data["id"]
    acme.call("DELETE", f"{WEBHOOKS}/{first}")
    again = put(acme)
    assert again.status == 201
    assert again.data["id"] != first


def test_metadata_is_shown_in_its_order_and_replaced_whole(acme: AccountClient) -> None:
    webhook_id = acme.call("POST", json=FULL).data["id"]
    one = f"{WEBHOOKS}/{webhook_id}"
    assert [*acme.call("GET", one).data["metadata"].items()] == [*FULL["metadata"].items()]
    assert acme.call("GET").data[0]["metadata"] == FULL["metadata"]
    changed = acme.call("PATCH", one, json={"metadata": {"team": "crm"}})
    assert changed.data["metadata"] == {"team": "crm"}
    cleared = acme.call("PATCH", one, json={"metadata": None})
    assert "metadata" not in cleared.data
    acme.call("PATCH", one, json={"metadata": {"team": "crm"}})
    assert "metadata" not in acme.call("PATCH", one, json={"metadata": {}}).data


def test_a_put_that_finds_the_webhook_made_meanwhile_changes_it(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(acme, description="first").data["id"]
    find = on_fakes.webhooks.find
    looks = iter([True])

    def found_late(account_id: str, external_id: str) -> Webhook | None:
        return None if next(looks, False) else find(account_id, external_id)

    monkeypatch.setattr(on_fakes.webhooks, "find", found_late)
    answer = put(acme, description="second")
    assert (answer.status, answer.data["id"]) == (200, first)
    assert stored(on_fakes).description == "second"


def test_a_put_at_the_limit_changes_what_another_made_meanwhile(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        acme.call("POST", json={**BODY, "url": f"https://h{number}.acme.com/"})
    refused = put(acme)
    assert (refused.status, refused.error["code"]) == (409, "webhook_limit_reached")
    acme.call("DELETE", f"{WEBHOOKS}/{acme.call('GET').data[0]['id']}")
    put(acme)
    find = on_fakes.webhooks.find
    looks = iter([True])

    def found_late(account_id: str, external_id: str) -> Webhook | None:
        return None if next(looks, False) else find(account_id, external_id)

    def full(*_: Any, **__: Any) -> None:
        raise LimitReachedError

    monkeypatch.setattr(on_fakes.webhooks, "find", found_late)
    monkeypatch.setattr(on_fakes.webhooks, "create", full)
    assert put(acme, description="second").status == 200


DOWN = Health(failures=10, circuit=Circuit.OPEN, recovery_id="recovery-1")


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"description": "new"}, False),
        ({"description": "new", "active": True}, False),
        ({"url": "https://other.acme.com/hook"}, True),
    ],
)
def test_a_put_begins_a_clean_record_only_where_the_webhook_moves(
    on_fakes: ApiOnFakes, acme: AccountClient, changes: dict[str, Any], begins: bool
) -> None:
    put(acme)
    on_fakes.webhooks.add(replace(stored(on_fakes), health=DOWN), Secrets("s"))
    assert put(acme, **changes).status == 200
    assert (stored(on_fakes).health == DOWN) is not begins


@pytest.mark.parametrize("meanwhile", [{"active": False}, {"url": "https://other.acme.com/hook"}])
def test_a_put_is_as_it_says_though_another_call_changes_it_meanwhile(
    on_fakes: ApiOnFakes,
    acme: AccountClient,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: dict[str, Any],
) -> None:
    webhook_id = put(acme).data["id"]
    find = on_fakes.webhooks.find
    changes = iter([WebhookChanges(**meanwhile)])

    def changed_meanwhile(account_id: str, external_id: str) -> Webhook | None:
        webhook = find(account_id, external_id)
        for each in changes:
            on_fakes.webhooks.update("acme", webhook_id, each, 1)
        return webhook

    monkeypatch.setattr(on_fakes.webhooks, "find", changed_meanwhile)
    answer = put(acme, description="new", active=True).data
    assert (answer["url"], answer["active"]) == (BODY["url"], True)
    assert answer["description"] == stored(on_fakes).description == "new"


def test_a_put_takes_no_external_id_back_from_a_change_that_is_made_meanwhile(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook_id = put(acme).data["id"]
    find = on_fakes.webhooks.find

    def renamed_meanwhile(account_id: str, external_id: str) -> Webhook | None:
        webhook = find(account_id, external_id)
        changes = WebhookChanges(external_id="crm")
        on_fakes.webhooks.update("acme", webhook_id, changes, 1)
        return webhook

    monkeypatch.setattr(on_fakes.webhooks, "find", renamed_meanwhile)
    assert put(acme, description="new").data["id"] == webhook_id
    assert (stored(on_fakes).external_id, stored(on_fakes).description) == ("crm", "new")


def test_a_put_that_loses_every_race_gets_a_retry_after(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any, **__: Any) -> None:
        raise ExternalIdTakenError

    monkeypatch.setattr(on_fakes.webhooks, "create", taken)
    answer = put(acme)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
