"""Row 92: a copy of an event that comes while its first copy is delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from faults.fault_harness import one_event
from support.faults import answer_lost
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.services.dispatch.leftovers import HELD_DELAY_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]

COPY = 2
"""Receives of the copy's message: the harness's messages have the same ids in each batch."""


def delayed(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the queue's delayed messages."""
    return [
        entry
        for operation, body in tenant.harness.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if entry.get("DelaySeconds") == HELD_DELAY_SECONDS
    ]


def while_it_is_sent(
    tenant: Tenant, receiver: MakeReceiver, message: str, status: int = 200
) -> Receiver:
    """Handle a message, and a copy of it in another worker before the receiver answers."""
    copies = [message]

    def answer(_: Request) -> Answer:
        if copies:
            other = tenant.harness.fresh(DispatcherServices)
            assert tenant.dispatch(copies.pop(), services=other, receive_count=COPY) == []
        return Answer(status)

    hook = receiver(answer)
    tenant.webhook(hook)
    assert tenant.dispatch(message) == []
    return hook


@pytest.mark.parametrize(
    "changes", [{"timestamp": None}, {"id": "evt-mine"}], ids=["no_timestamp", "own_id"]
)
@pytest.mark.parametrize("status", [200, 500])
def test_row_92_a_copy_of_a_claimed_event_is_held_and_found_recorded(
    tenant: Tenant, receiver: MakeReceiver, changes: dict[str, Any], status: int
) -> None:
    hook = while_it_is_sent(tenant, receiver, tenant.message(**changes), status)
    assert len(hook.requests) == 1
    [entry] = delayed(tenant)
    assert entry["MessageGroupId"] == tenant.account
    assert '"HeldEvents":[1.0]' in tenant.log.text
    assert tenant.dispatch(entry["MessageBody"]) == []
    assert len(hook.requests) == 1
    assert tenant.delivery().status is (Status.SUCCEEDED if status == 200 else Status.RETRYING)


def test_row_92_a_copy_of_an_event_that_is_not_claimed_is_sent_with_the_same_id_and_bytes(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """Its id comes from its content, its time included; every record of SES is such an event."""
    hook = while_it_is_sent(tenant, receiver, tenant.message())
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    assert delayed(tenant) == []
    assert tenant.delivery().status is Status.SUCCEEDED


def test_row_92_the_answer_to_the_claim_is_lost_and_holds_nothing_up(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("PutItem", answer_lost(), about=f"{tenant.account}#event", times=1)
    assert tenant.dispatch(tenant.message(timestamp=None)) == []
    assert tenant.harness.faults.count("PutItem", f"{tenant.account}#event") == 2
    assert (len(hook.requests), delayed(tenant)) == (1, [])


def test_row_92_a_copy_is_sent_where_the_first_one_never_was(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """The batch that holds the event failed, and the copy waits for it in vain."""
    hook = receiver(Answer(200))
    tenant.webhook(hook)
    tenant.harness.faults.on("BatchGetItem", answer_lost(), about=tenant.account)
    message = tenant.message(timestamp=None)
    assert tenant.dispatch(message, shared_fate=True) == ["m0"]
    tenant.harness.faults.clear()
    assert tenant.dispatch(message, receive_count=COPY) == []
    assert hook.requests == []
    [entry] = delayed(tenant)
    assert tenant.dispatch(entry["MessageBody"]) == []
    assert len(hook.requests) == 1
