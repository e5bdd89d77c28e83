"""Copies of an event during its first copy's delivery, held where it costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.dispatching import World
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
def world() -> World:
    world = World()
    world.add()
    return world


def dispatch(world: World, *messages: QueueMessage) -> list[str]:
    return world.dispatcher.dispatch(messages, lambda: world.remaining)


def arrived(sent: Outgoing, name: str = "again") -> QueueMessage:
    """Return the queue's form of a message that was sent again."""
    return QueueMessage(name, sent.body, sent.arrived_at_ms or 0, sent.group, tries=sent.tries)


def with_a_copy(
    world: World, first: QueueMessage, *copies: QueueMessage, outcome: Outcome = TAKEN
) -> None:
    """Handle a message, and copies of it in other dispatchers during its attempt."""
    waiting = list(copies)

    def answer(_: str, __: Mapping[str, str]) -> Outcome:
        while waiting:
            assert dispatch(world, waiting.pop()) == []
        return outcome

    world.sender.answer = answer
    assert dispatch(world, first) == []


@pytest.mark.parametrize("changes", CLAIMED)
@pytest.mark.parametrize("later_ms", [0, 50])
def test_a_copy_that_comes_meanwhile_is_not_sent_and_found_recorded_later(
    world: World, changes: dict[str, Any], later_ms: int
) -> None:
    text = samples.event_text(**changes)
    copy = QueueMessage("copy", text, world.now_ms + later_ms, group="acc_1")
    with_a_copy(world, QueueMessage("first", text, world.now_ms), copy)
    assert len(world.sender.posts) == 1
    assert world.telemetry.counts["HeldEvents"] == 1
    [sent] = world.queue.sent
    assert (sent.delay_seconds, sent.group) == (HELD_DELAY_SECONDS, "acc_1")
    world.now_ms += HELD_DELAY_SECONDS * 1000
    assert dispatch(world, arrived(sent)) == []
    assert len(world.sender.posts) == 1
    assert world.telemetry.counts["Duplicates"] == 1
    assert len(world.queue.sent) == 1
    assert world.only().status is Status.SUCCEEDED


def test_a_copy_is_delivered_where_the_first_one_never_was(world: World) -> None:
    """Its dispatcher was killed with the claim."""
    text = samples.event_text(timestamp=None)
    killed = QueueMessage("first", text, world.now_ms)
    world.deliveries.failures.plan("get_many", True)
    assert dispatch(world, killed) == ["first"]
    assert dispatch(world, QueueMessage("copy", text, world.now_ms + 50)) == []
    assert world.sender.posts == []
    [sent] = world.queue.sent
    assert dispatch(world, arrived(sent)) == []
    assert len(world.sender.posts) == 1
    # With the time of the first copy, like any later copy.
    assert world.only().status is Status.SUCCEEDED
    assert b"2025-12-21T10:30:00.000Z" in world.sender.posts[0][1]


def test_a_message_that_failed_before_is_not_held_by_itself(world: World) -> None:
    text = samples.event_text(timestamp=None)
    world.deliveries.failures.plan("get_many", True)
    assert dispatch(world, QueueMessage("first", text, world.now_ms)) == ["first"]
    again = QueueMessage("again", text, world.now_ms, tries=1)
    assert dispatch(world, again) == []
    assert len(world.sender.posts) == 1
    assert world.queue.sent == []


def test_a_suspect_is_not_held_by_the_dispatcher_that_it_ended(world: World) -> None:
    text = samples.event_text(timestamp=None)
    world.deliveries.failures.plan("get_many", True)
    dispatch(world, QueueMessage("first", text, world.now_ms))
    assert dispatch(world, QueueMessage("suspect", text, world.now_ms, suspicions=2)) == []
    assert len(world.sender.posts) == 1


def test_a_copy_that_comes_after_the_hold_is_found_recorded_at_once(world: World) -> None:
    text = samples.event_text(timestamp=None)
    assert dispatch(world, QueueMessage("first", text, world.now_ms)) == []
    world.now_ms += HOLD_SECONDS * 1000
    assert dispatch(world, QueueMessage("copy", text, world.now_ms)) == []
    assert (len(world.sender.posts), world.queue.sent) == (1, [])


def test_two_copies_in_one_batch_are_one(world: World) -> None:
    text = samples.event_text(timestamp=None)
    messages = [QueueMessage(name, text, world.now_ms) for name in ("one", "two")]
    assert dispatch(world, *messages) == []
    assert (len(world.sender.posts), world.queue.sent) == (1, [])


def test_of_an_array_only_the_event_that_is_held_waits(world: World) -> None:
    held = samples.event_text(id="held", transaction_id="txn_held")
    new = samples.event_text(id="new", transaction_id="txn_new")
    copy = QueueMessage("copy", f"[{new},{held}]", world.now_ms)
    with_a_copy(world, QueueMessage("first", held, world.now_ms), copy)
    assert {headers["webhook-id"] for _, _, headers in world.sender.posts} == {"held", "new"}
    assert len(world.sender.posts) == 2
    [sent] = world.queue.sent
    assert '"id":"held"' in sent.body
    assert '"id":"new"' not in sent.body


def test_a_first_attempt_that_fails_is_retried_by_its_schedule_alone(world: World) -> None:
    text = samples.event_text(timestamp=None)
    copy = QueueMessage("copy", text, world.now_ms + 50)
    with_a_copy(world, QueueMessage("first", text, world.now_ms), copy, outcome=REFUSED)
    world.sender.answer = None
    assert dispatch(world, arrived(world.queue.sent[0])) == []
    assert len(world.sender.posts) == 1
    assert world.only().status is Status.RETRYING


def test_an_event_whose_id_fixes_its_time_costs_no_claim_and_may_be_sent_twice(
    world: World,
) -> None:
    """Each record of SES is one: a claim would be a write more for every plain delivery."""
    text = samples.event_text()
    with_a_copy(
        world,
        QueueMessage("first", text, world.now_ms),
        QueueMessage("copy", text, world.now_ms + 50),
    )
    assert len(world.sender.posts) == 2
    (_, one, first), (_, two, second) = world.sender.posts
    assert one == two
    assert first["webhook-id"] == second["webhook-id"]
    assert (world.deliveries.claims, world.queue.sent) == ({}, [])
