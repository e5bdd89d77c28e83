"""Row 92: a copy of an event that comes while its first copy is delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.fault_harness import one_event
from support.faults import answer_lost
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.services.dispatch.leftovers import HELD_DELAY_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]

COPY = 2
"""Receives of the copy's message: the stand's messages have the same ids in each batch."""


def delayed(case: Case) -> list[dict[str, Any]]:
    """Return the queue's delayed messages."""
    return [
        entry
        for operation, body in case.stand.faults.sent
        if operation == "SendMessageBatch"
        for entry in body["Entries"]
        if entry.get("DelaySeconds") == HELD_DELAY_SECONDS
    ]


def while_it_is_sent(
    case: Case, receiver: MakeReceiver, message: str, status: int = 200
) -> Receiver:
    """Handle a message, and a copy of it in another worker before the receiver answers."""
    copies = [message]

    def answer(_: Request) -> Answer:
        if copies:
            other = case.stand.fresh(DispatcherServices)
            assert case.dispatch(copies.pop(), services=other, receive_count=COPY) == []
        return Answer(status)

    hook = receiver(answer)
    case.webhook(hook)
    assert case.dispatch(message) == []
    return hook


@pytest.mark.parametrize(
    "changes", [{"timestamp": None}, {"id": "evt-mine"}], ids=["no_timestamp", "own_id"]
)
@pytest.mark.parametrize("status", [200, 500])
def test_row_92_a_copy_of_a_claimed_event_is_held_and_found_recorded(
    case: Case, receiver: MakeReceiver, changes: dict[str, Any], status: int
) -> None:
    hook = while_it_is_sent(case, receiver, case.message(**changes), status)
    assert len(hook.requests) == 1
    [entry] = delayed(case)
    assert entry["MessageGroupId"] == case.account
    assert '"HeldEvents":[1.0]' in case.log.text
    assert case.dispatch(entry["MessageBody"]) == []
    assert len(hook.requests) == 1
    assert case.delivery().status is (Status.SUCCEEDED if status == 200 else Status.RETRYING)


def test_row_92_a_copy_of_an_event_that_is_not_claimed_is_sent_with_the_same_id_and_bytes(
    case: Case, receiver: MakeReceiver
) -> None:
    """Its id comes from its content, its time included; every record of SES is such an event."""
    hook = while_it_is_sent(case, receiver, case.message())
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    assert delayed(case) == []
    assert case.delivery().status is Status.SUCCEEDED


def test_row_92_the_answer_to_the_claim_is_lost_and_holds_nothing_up(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(200))
    case.webhook(hook)
    case.stand.faults.on("PutItem", answer_lost(), about=f"{case.account}#event", times=1)
    assert case.dispatch(case.message(timestamp=None)) == []
    assert case.stand.faults.count("PutItem", f"{case.account}#event") == 2
    assert (len(hook.requests), delayed(case)) == (1, [])


def test_row_92_a_copy_is_sent_where_the_first_one_never_was(
    case: Case, receiver: MakeReceiver
) -> None:
    """The batch that holds the event failed, and the copy waits for it in vain."""
    hook = receiver(Answer(200))
    case.webhook(hook)
    case.stand.faults.on("BatchGetItem", answer_lost(), about=case.account)
    message = case.message(timestamp=None)
    assert case.dispatch(message, shared_fate=True) == ["m0"]
    case.stand.faults.clear()
    assert case.dispatch(message, receive_count=COPY) == []
    assert hook.requests == []
    [entry] = delayed(case)
    assert case.dispatch(entry["MessageBody"]) == []
    assert len(hook.requests) == 1
