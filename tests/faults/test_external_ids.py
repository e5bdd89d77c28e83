"""Row 61: external ids, while answers are lost and several calls are made at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.faults import answer_lost
from webhooks.domain.webhook import Registration, Webhook
from webhooks.ports import WebhookChanges
from webhooks.services.upsert import put_webhook
from webhooks.services.webhooks import Registered
from webhooks.wiring.api import ApiServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

WEBHOOKS = "/api/v1/webhooks"
EXTERNAL = f"{WEBHOOKS}/external"


def ids_of(case: Case) -> list[str | None]:
    """Return the external ids of the account's webhooks, from its list."""
    listed = case.acme.call("GET", WEBHOOKS).json["data"]
    return [webhook.get("external_id") for webhook in listed]


@pytest.fixture
def body(receiver: MakeReceiver) -> dict[str, Any]:
    return {"url": receiver().url, "events": ["*"]}


def test_row_61_an_answer_that_is_lost_makes_no_false_conflict(
    case: Case, body: dict[str, Any]
) -> None:
    """The SDK writes again, and the write before is recognised as its own."""
    faults = case.stand.faults
    faults.on("TransactWriteItems", answer_lost(), about="billing", times=1)
    created = case.acme.call("PUT", f"{EXTERNAL}/billing", json=body)
    assert (created.status, ids_of(case)) == (201, ["billing"])
    assert faults.count("TransactWriteItems", "billing") == 2

    faults.on("TransactWriteItems", answer_lost(), about="billing", times=1)
    one = f"{WEBHOOKS}/{created.data['id']}"
    changed = case.acme.call("PATCH", one, json={"external_id": "crm"})
    assert (changed.status, ids_of(case)) == (200, ["crm"])

    faults.on("TransactWriteItems", answer_lost(), about="crm", times=1)
    cleared = case.acme.call("PATCH", one, json={"external_id": None})
    assert (cleared.status, ids_of(case)) == (200, [None])
    # Both ids are free again.
    for external_id in ("billing", "crm"):
        assert case.acme.call("PUT", f"{EXTERNAL}/{external_id}", json=body).status == 201


def test_row_61_of_puts_at_once_one_creates_and_the_others_change(
    case: Case, body: dict[str, Any]
) -> None:
    """Each is in its own process, and all of them have looked before one writes."""
    everybody = threading.Barrier(4)

    def seen_by_all(send: Callable[[Any], Any], request: Any) -> Any:
        answer = send(request)
        everybody.wait(10)
        return answer

    case.stand.faults.on("GetItem", seen_by_all, about="id#billing", times=4)
    registries = [case.stand.fresh(ApiServices).webhook_service for _ in range(4)]

    def put(number: int) -> Registered | Webhook:
        registration = Registration(
            url=body["url"],
            events=("*",),
            description=f"of call {number}",
            external_id="billing",
        )
        return put_webhook(registries[number], case.account, registration)

    with ThreadPoolExecutor(4) as threads:
        puts = [*threads.map(put, range(4))]
    [created] = [one.webhook for one in puts if isinstance(one, Registered)]
    changed = [one for one in puts if isinstance(one, Webhook)]
    assert [one.id for one in changed] == [created.id] * 3
    assert ids_of(case) == ["billing"]


def test_row_61_a_webhook_that_is_renamed_meanwhile_is_not_found(
    case: Case, body: dict[str, Any]
) -> None:
    created = case.acme.call("PUT", f"{EXTERNAL}/billing", json=body).data
    services = case.stand.services(ApiServices)

    def renamed_meanwhile(send: Callable[[Any], Any], request: Any) -> Any:
        answer = send(request)
        with case.stand.faults.out_of_the_way():
            changes = WebhookChanges(external_id="crm")
            services.webhook_service.update(case.account, created["id"], changes)
        return answer

    case.stand.faults.on("GetItem", renamed_meanwhile, about="id#billing", times=1)
    answer = case.acme.call("GET", f"{EXTERNAL}/billing")
    assert (answer.status, answer.error["code"]) == (404, "webhook_not_found")
    assert case.acme.call("GET", f"{EXTERNAL}/crm").data["id"] == created["id"]


@pytest.mark.parametrize("before", [None, "billing"])
@pytest.mark.parametrize("call", ["PATCH", "DELETE"])
def test_row_61_an_id_that_another_call_gives_meanwhile_is_not_left_behind(
    case: Case, body: dict[str, Any], before: str | None, call: str
) -> None:
    created = case.acme.call("POST", WEBHOOKS, json={**body, "external_id": before}).data
    one = f"{WEBHOOKS}/{created['id']}"
    services = case.stand.services(ApiServices)

    def renamed_meanwhile(send: Callable[[Any], Any], request: Any) -> Any:
        with case.stand.faults.out_of_the_way():
            changes = WebhookChanges(external_id="meanwhile")
            services.webhook_service.update(case.account, created["id"], changes)
        return send(request)

    # Between the call's look at the webhook and its write.
    case.stand.faults.on("TransactWriteItems", renamed_meanwhile, about=created["id"], times=1)
    if call == "PATCH":
        answer = case.acme.call("PATCH", one, json={"external_id": "crm"})
        assert ids_of(case) == ["crm"]
    else:
        answer = case.acme.call("DELETE", one)
    assert answer.status == 200, answer.text
    for external_id in ("billing", "meanwhile"):
        assert case.acme.call("PUT", f"{EXTERNAL}/{external_id}", json=body).status == 201
