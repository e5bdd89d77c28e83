"""Copies of an event during its first copy's delivery, held where it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import DispatchFixture
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.event import HOLD_SECONDS
from webhooks.services.dispatch.leftovers import HELD_DELAY_SECONDS
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.resending import Outgoing

TAKEN = Outcome(status_code=200, duration_ms=1)
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500, duration_ms=1)

CLAIMED: tuple[dict[str, Any], ...] = (
    {"timestamp": None},
    {"id": "evt_mine"},
    {"id": "evt_mine", "timestamp": None},
)
"""The changes that make an event's id leave its time open, so that it is claimed."""


@pytest.fixture
def services() -> DispatchFixture:
    services = DispatchFixture()
    services.add()
    return services


def dispatch(services: DispatchFixture, *messages: QueueMessage) -> list[str]:
    return services.dispatcher.dispatch(messages, lambda: services.remaining)


def arrived(sent: Outgoing, name: str = "again") -> QueueMessage:
    """Return the queue's form of a message that was sent again."""
    return QueueMessage(name, sent.body, sent.arrived_at_ms or 0, sent.group, tries=sent.tries)


def with_a_copy(
    services: DispatchFixture, first: QueueMessage, *copies: QueueMessage, outcome: Outcome = TAKEN
) -> None:
    """Handle a message, and copies of it in other dispatchers during its attempt."""
    waiting = list(copies)

    def answer(_: str, __: Mapping[str, str]) -> Outcome:
        while waiting:
            assert dispatch(services, waiting.pop()) == []
        return outcome

    services.sender.answer = answer
    assert dispatch(services, first) == []


@pytest.mark.parametrize("changes", CLAIMED)
@pytest.mark.parametrize("later_ms", [0, 50])
def test_a_copy_that_comes_meanwhile_is_not_sent_and_found_recorded_later(
    services: DispatchFixture, changes: dict[str, Any], later_ms: int
) -> None:
    text = samples.event_text(**changes)
    copy = QueueMessage("copy", text, services.now_ms + later_ms, group="acc_1")
    with_a_copy(services, QueueMessage("first", text, services.now_ms), copy)
    assert len(services.sender.posts) == 1
    assert services.telemetry.counts["HeldEvents"] == 1
    [sent] = services.queue.sent
    assert (sent.delay_seconds, sent.group) == (HELD_DELAY_SECONDS, "acc_1")
    services.now_ms += HELD_DELAY_SECONDS * 1000
    assert dispatch(services, arrived(sent)) == []
    assert len(services.sender.posts) == 1
    assert services.telemetry.counts["Duplicates"] == 1
    assert len(services.queue.sent) == 1
    assert services.only().status is Status.SUCCEEDED


def test_a_copy_is_delivered_where_the_first_one_never_was(services: DispatchFixture) -> None:
    """Its dispatcher was killed with the claim."""
    text = samples.event_text(timestamp=None)
    killed = QueueMessage("first", text, services.now_ms)
    services.deliveries.failures.plan("get_many", True)
    assert dispatch(services, killed) == ["first"]
    assert dispatch(services, QueueMessage("copy", text, services.now_ms + 50)) == []
    assert services.sender.posts == []
    [sent] = services.queue.sent
    assert dispatch(services, arrived(sent)) == []
    assert len(services.sender.posts) == 1
    # With the time of the first copy, like any later copy.
    assert services.only().status is Status.SUCCEEDED
    assert b"2025-12-21T10:30:00.000Z" in services.sender.posts[0][1]


def test_a_message_that_failed_before_is_not_held_by_itself(services: DispatchFixture) -> None:
    text = samples.event_text(timestamp=None)
    services.deliveries.failures.plan("get_many", True)
    assert dispatch(services, QueueMessage("first", text, services.now_ms)) == ["first"]
    again = QueueMessage("again", text, services.now_ms, tries=1)
    assert dispatch(services, again) == []
    assert len(services.sender.posts) == 1
    assert services.queue.sent == []


def test_a_suspect_is_not_held_by_the_dispatcher_that_it_ended(services: DispatchFixture) -> None:
    text = samples.event_text(timestamp=None)
    services.deliveries.failures.plan("get_many", True)
    dispatch(services, QueueMessage("first", text, services.now_ms))
    assert dispatch(services, QueueMessage("suspect", text, services.now_ms, suspicions=2)) == []
    assert len(services.sender.posts) == 1


def test_a_copy_that_comes_after_the_hold_is_found_recorded_at_once(
    services: DispatchFixture,
) -> None:
    text = samples.event_text(timestamp=None)
    assert dispatch(services, QueueMessage("first", text, services.now_ms)) == []
    services.now_ms += HOLD_SECONDS * 1000
    assert dispatch(services, QueueMessage("copy", text, services.now_ms)) == []
    assert (len(services.sender.posts), services.queue.sent) == (1, [])


def test_two_copies_in_one_batch_are_one(services: DispatchFixture) -> None:
    text = samples.event_text(timestamp=None)
    messages = [QueueMessage(name, text, services.now_ms) for name in ("one", "two")]
    assert dispatch(services, *messages) == []
    assert (len(services.sender.posts), services.queue.sent) == (1, [])


def test_of_an_array_only_the_event_that_is_held_waits(services: DispatchFixture) -> None:
    held = samples.event_text(id="held", transaction_id="txn_held")
    new = samples.event_text(id="new", transaction_id="txn_new")
    copy = QueueMessage("copy", f"[{new},{held}]", services.now_ms)
    with_a_copy(services, QueueMessage("first", held, services.now_ms), copy)
    assert {headers["webhook-id"] for _, _, headers in services.sender.posts} == {"held", "new"}
    assert len(services.sender.posts) == 2
    [sent] = services.queue.sent
    assert '"id":"held"' in sent.body
    assert '"id":"new"' not in sent.body


def test_a_first_attempt_that_fails_is_retried_by_its_schedule_alone(
    services: DispatchFixture,
) -> None:
    text = samples.event_text(timestamp=None)
    copy = QueueMessage("copy", text, services.now_ms + 50)
    with_a_copy(services, QueueMessage("first", text, services.now_ms), copy, outcome=REFUSED)
    services.sender.answer = None
    assert dispatch(services, arrived(services.queue.sent[0])) == []
    assert len(services.sender.posts) == 1
    assert services.only().status is Status.RETRYING


def test_an_event_whose_id_fixes_its_time_costs_no_claim_and_may_be_sent_twice(
    services: DispatchFixture,
) -> None:
    """Each record of SES is one: a claim would be a write more for every plain delivery."""
    text = samples.event_text()
    with_a_copy(
        services,
        QueueMessage("first", text, services.now_ms),
        QueueMessage("copy", text, services.now_ms + 50),
    )
    assert len(services.sender.posts) == 2
    (_, one, first), (_, two, second) = services.sender.posts
    assert one == two
    assert first["webhook-id"] == second["webhook-id"]
    assert (services.deliveries.claims, services.queue.sent) == ({}, [])
