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

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

WEBHOOKS = "/api/v1/webhooks"
EXTERNAL = f"{WEBHOOKS}/external"


def ids_of(tenant: Tenant) -> list[str | None]:
    """Return the external ids of the account's webhooks, from its list."""
    listed = tenant.acme.call("GET", WEBHOOKS).json["data"]
    return [webhook.get("external_id") for webhook in listed]


@pytest.fixture
def body(receiver: MakeReceiver) -> dict[str, Any]:
    return {"url": receiver().url, "events": ["*"]}


def test_row_61_an_answer_that_is_lost_makes_no_false_conflict(
    tenant: Tenant, body: dict[str, Any]
) -> None:
    """The SDK writes again, and the write before is recognised as its own."""
    faults = tenant.harness.faults
    faults.on("TransactWriteItems", answer_lost(), about="billing", times=1)
    created = tenant.acme.call("PUT", f"{EXTERNAL}/billing", json=body)
    assert (created.status, ids_of(tenant)) == (201, ["billing"])
    assert faults.count("TransactWriteItems", "billing") == 2

    faults.on("TransactWriteItems", answer_lost(), about="billing", times=1)
    one = f"{WEBHOOKS}/{created.data['id']}"
    changed = tenant.acme.call("PATCH", one, json={"external_id": "crm"})
    assert (changed.status, ids_of(tenant)) == (200, ["crm"])

    faults.on("TransactWriteItems", answer_lost(), about="crm", times=1)
    cleared = tenant.acme.call("PATCH", one, json={"external_id": None})
    assert (cleared.status, ids_of(tenant)) == (200, [None])
    # Both ids are free again.
    for external_id in ("billing", "crm"):
        assert tenant.acme.call("PUT", f"{EXTERNAL}/{external_id}", json=body).status == 201


def test_row_61_of_puts_at_once_one_creates_and_the_others_change(
    tenant: Tenant, body: dict[str, Any]
) -> None:
    """Each is in its own process, and all of them have looked before one writes."""
    everybody = threading.Barrier(4)

    def seen_by_all(send: Callable[[Any], Any], request: Any) -> Any:
        answer = send(request)
        everybody.wait(10)
        return answer

    tenant.harness.faults.on("GetItem", seen_by_all, about="id#billing", times=4)
    registries = [tenant.harness.fresh(ApiServices).webhook_service for _ in range(4)]

    def put(number: int) -> Registered | Webhook:
        registration = Registration(
            url=body["url"],
            events=("*",),
            description=f"of call {number}",
            external_id="billing",
        )
        return put_webhook(registries[number], tenant.account, registration)

    with ThreadPoolExecutor(4) as threads:
        puts = [*threads.map(put, range(4))]
    [created] = [one.webhook for one in puts if isinstance(one, Registered)]
    changed = [one for one in puts if isinstance(one, Webhook)]
    assert [one.id for one in changed] == [created.id] * 3
    assert ids_of(tenant) == ["billing"]


def test_row_61_a_webhook_that_is_renamed_meanwhile_is_not_found(
    tenant: Tenant, body: dict[str, Any]
) -> None:
    created = tenant.acme.call("PUT", f"{EXTERNAL}/billing", json=body).data
    services = tenant.harness.services(ApiServices)

    def renamed_meanwhile(send: Callable[[Any], Any], request: Any) -> Any:
        answer = send(request)
        with tenant.harness.faults.out_of_the_way():
            changes = WebhookChanges(external_id="crm")
            services.webhook_service.update(tenant.account, created["id"], changes)
        return answer

    tenant.harness.faults.on("GetItem", renamed_meanwhile, about="id#billing", times=1)
    answer = tenant.acme.call("GET", f"{EXTERNAL}/billing")
    assert (answer.status, answer.error["code"]) == (404, "webhook_not_found")
    assert tenant.acme.call("GET", f"{EXTERNAL}/crm").data["id"] == created["id"]


@pytest.mark.parametrize("before", [None, "billing"])
@pytest.mark.parametrize("call", ["PATCH", "DELETE"])
def test_row_61_an_id_that_another_call_gives_meanwhile_is_not_left_behind(
    tenant: Tenant, body: dict[str, Any], before: str | None, call: str
) -> None:
    created = tenant.acme.call("POST", WEBHOOKS, json={**body, "external_id": before}).data
    one = f"{WEBHOOKS}/{created['id']}"
    services = tenant.harness.services(ApiServices)

    def renamed_meanwhile(send: Callable[[Any], Any], request: Any) -> Any:
        with tenant.harness.faults.out_of_the_way():
            changes = WebhookChanges(external_id="meanwhile")
            services.webhook_service.update(tenant.account, created["id"], changes)
        return send(request)

    # Between the call's look at the webhook and its write.
    tenant.harness.faults.on("TransactWriteItems", renamed_meanwhile, about=created["id"], times=1)
    if call == "PATCH":
        answer = tenant.acme.call("PATCH", one, json={"external_id": "crm"})
        assert ids_of(tenant) == ["crm"]
    else:
        answer = tenant.acme.call("DELETE", one)
    assert answer.status == 200, answer.text
    for external_id in ("billing", "meanwhile"):
        assert tenant.acme.call("PUT", f"{EXTERNAL}/{external_id}", json=body).status == 201
