"""The outcomes of an event that is sent to a receiver, and their consequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.receiver import Answer
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    from faults.fault_harness import Tenant
    from support.receiver import Receiver
    from webhooks.domain.delivery import Delivery

HEAD = b"HTTP/1.1 200 OK\r\n"


def assert_failed(delivery: Delivery, error: FailureReason, status_code: int | None = None) -> None:
    """Assert that the delivery failed once, for this reason, and is to be tried again."""
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (error, status_code)
    assert delivery.status is Status.RETRYING


def assert_scheduled(tenant: Tenant) -> None:
    """Assert that each of the account's failed deliveries has its execution."""
    waiting = {(one["delivery_id"], one["attempt"]) for one in tenant.executions()}
    failed = [one for one in tenant.deliveries() if one.status is not Status.SUCCEEDED]
    assert waiting == {(one.id, 2) for one in failed}


def fails(
    tenant: Tenant, hook: Receiver, error: FailureReason, status_code: int | None = None
) -> None:
    """Send an event to a receiver, and assert that it failed with all consequences."""
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    assert_failed(tenant.delivery(), error, status_code)
    assert_scheduled(tenant)


def succeeds(tenant: Tenant, hook: Receiver) -> Delivery:
    """Send an event to a receiver and assert that it arrived."""
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    delivery = tenant.delivery()
    assert delivery.status is Status.SUCCEEDED
    assert tenant.executions() == []
    return delivery


def next_one_arrives(tenant: Tenant, hook: Receiver) -> None:
    """Assert that the last result does not disturb the receiver's next event."""
    hook.answer_with(Answer(202))
    assert tenant.dispatch(tenant.message("txn_next")) == []
    assert hook.requests[-1].json["transaction_id"] == "txn_next"
    [following] = [one for one in tenant.deliveries() if one.transaction_id == "txn_next"]
    assert [attempt.status_code for attempt in following.attempts] == [202]
