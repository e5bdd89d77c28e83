"""The outcomes of an event that is sent to a receiver, and their consequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.receiver import Answer
from webhooks.domain.delivery import FailureReason, Status

if TYPE_CHECKING:
    from support.fault_harness import Case
    from support.receiver import Receiver
    from webhooks.domain.delivery import Delivery

HEAD = b"HTTP/1.1 200 OK\r\n"


def assert_failed(delivery: Delivery, error: FailureReason, status_code: int | None = None) -> None:
    """Assert that the delivery failed once, for this reason, and is to be tried again."""
    [attempt] = delivery.attempts
    assert (attempt.error, attempt.status_code) == (error, status_code)
    assert delivery.status is Status.RETRYING


def assert_scheduled(case: Case) -> None:
    """Assert that each of the account's failed deliveries has its execution."""
    waiting = {(one["delivery_id"], one["attempt"]) for one in case.executions()}
    failed = [one for one in case.deliveries() if one.status is not Status.SUCCEEDED]
    assert waiting == {(one.id, 2) for one in failed}


def fails(case: Case, hook: Receiver, error: FailureReason, status_code: int | None = None) -> None:
    """Send an event to a receiver, and assert that it failed with all consequences."""
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    assert_failed(case.delivery(), error, status_code)
    assert_scheduled(case)


def succeeds(case: Case, hook: Receiver) -> Delivery:
    """Send an event to a receiver and assert that it arrived."""
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    delivery = case.delivery()
    assert delivery.status is Status.SUCCEEDED
    assert case.executions() == []
    return delivery


def next_one_arrives(case: Case, hook: Receiver) -> None:
    """Assert that the last result does not disturb the receiver's next event."""
    hook.answer_with(Answer(202))
    assert case.dispatch(case.message("txn_next")) == []
    assert hook.requests[-1].json["transaction_id"] == "txn_next"
    [following] = [one for one in case.deliveries() if one.transaction_id == "txn_next"]
    assert [attempt.status_code for attempt in following.attempts] == [202]
