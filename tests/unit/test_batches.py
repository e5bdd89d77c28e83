"""A message that failed through a fault of ours is sent again as a new one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support import samples
from support.batching import Queue, broken, event, fail, handle, posted
from support.service_fixture import World
from support.ses_records import text_of
from webhooks.domain.delivery import Status
from webhooks.domain.event import accept
from webhooks.domain.resending import (
    FEWEST_TRIES,
    GIVES_UP_AFTER_MS,
    Outgoing,
    carried,
)
from webhooks.domain.ses import SesAccounts
from webhooks.domain.shard import Part, Shard, to_message
from webhooks.services.dispatch.batches import (
    OLDEST_EVENT_AGE,
    SECONDS_FOR_SENDING,
)
from webhooks.services.dispatch.messages import QueueMessage

NOW_MS = samples.NOW_MS


@pytest.fixture
def world() -> World:
    made = World()
    made.add()
    return made


def test_a_message_that_failed_is_sent_again_and_is_done(world: World) -> None:
    fail(world, "acc_broken")
    world.now_ms += 2_000
    assert handle(world, broken(1), event(2)) == []
    [again] = world.queue.sent
    assert again == Outgoing(
        broken(1).body, "acc_broken", delay_seconds=5, arrived_at_ms=NOW_MS, tries=1
    )
    assert posted(world) == ["txn_2"]
    assert world.telemetry.counts["ResentMessages"] == 1
    assert world.received.deleted == []


def test_each_failure_grows_the_delay_and_counts_as_a_try(world: World) -> None:
    fail(world, "acc_broken")
    world.random = 1.0
    assert handle(world, broken(1, tries=8)) == []
    [again] = world.queue.sent
    assert (again.tries, again.delay_seconds) == (9, 900)


def test_a_message_that_cannot_be_sent_again_is_received_again(world: World) -> None:
    fail(world, "acc_broken")
    world.queue.refuse = {1}
    assert handle(world, broken(1), broken(2), event(3)) == ["m2"]
    assert [one.body for one in world.queue.sent] == [broken(1).body]


def test_with_no_time_to_send_a_failed_message_is_received_again(world: World) -> None:
    fail(world, "acc_broken")
    read, left = world.store.destinations, [60.0]

    def slowly(account_id: str, shard: Any = None) -> Any:
        left[0] = SECONDS_FOR_SENDING - 1
        return read(account_id, shard)

    world.store.destinations = slowly  # type: ignore[method-assign]
    assert world.batches.handle([broken(1)], lambda: left[0]) == ["m1"]
    assert world.queue.sent == []


def test_after_four_days_a_message_is_dead_lettered_with_what_a_redrive_needs(
    world: World,
) -> None:
    fail(world, "acc_broken")
    world.now_ms = NOW_MS + GIVES_UP_AFTER_MS + 1
    assert handle(world, broken(1, tries=300)) == []
    [rejected] = world.rejected.messages
    assert rejected.reason == "gave_up"
    assert (rejected.body, rejected.group) == (broken(1).body, "acc_broken")
    assert rejected.arrived_at_ms == NOW_MS
    assert world.queue.sent == []
    assert world.telemetry.counts["RejectedGaveUp"] == 1


def test_a_message_given_up_that_cannot_be_dead_lettered_is_received_again(world: World) -> None:
    fail(world, "acc_broken")
    world.now_ms = NOW_MS + GIVES_UP_AFTER_MS + 1
    world.rejected.refuse = {"m1"}
    assert handle(world, broken(1, tries=300)) == ["m1"]


@pytest.mark.parametrize("tries", [0, FEWEST_TRIES - 2])
def test_an_old_message_outlasts_a_short_fault_too(world: World, tries: int) -> None:
    """For example a message redriven after a week, when one read is slow."""
    fail(world, "acc_broken")
    world.now_ms = NOW_MS + 2 * GIVES_UP_AFTER_MS
    assert handle(world, broken(1, tries=tries)) == []
    assert [one.tries for one in world.queue.sent] == [tries + 1]
    assert world.rejected.messages == []


def test_the_age_of_the_oldest_event_is_measured_from_its_first_arrival(world: World) -> None:
    world.now_ms = NOW_MS + 90_000
    handle(world, event(1), event(2, arrived_at_ms=NOW_MS - 5_000))
    handle(world, event(3, arrived_at_ms=world.now_ms + 4_000))
    assert world.telemetry.times[OLDEST_EVENT_AGE] == [95_000, 0]


def test_half_an_hour_of_our_own_trouble_dead_letters_nothing(world: World) -> None:
    until_ms = NOW_MS + 30 * 60 * 1000
    read = world.store.destinations

    def destinations(account_id: str, shard: Any = None) -> Any:
        world.store.failures.plan("destinations", world.now_ms < until_ms)
        return read(account_id, shard)

    world.store.destinations = destinations  # type: ignore[method-assign]
    queue = Queue(world)
    queue.add(*(event(number) for number in range(30)))
    assert queue.run() == 0
    assert sorted(posted(world)) == sorted(f"txn_{number}" for number in range(30))
    assert world.rejected.messages == []
    assert world.now_ms < until_ms + 15 * 60 * 1000


@pytest.mark.parametrize("kind", ["bare", "ses", "array", "shard"])
def test_a_message_sent_again_makes_the_very_same_events(kind: str) -> None:
    """Only the message is kept: its claims, if it had any, are in another world."""
    at_once, failing, later = World(), World(), World()
    for one in (at_once, failing, later):
        one.ses_accounts = SesAccounts({}, "acc_1")
        one.add(events=("*",))
    message = QueueMessage("m0", text_of_kind(kind), NOW_MS, "acc_1")
    assert handle(at_once, message) == []
    assert at_once.sender.posts

    failing.now_ms += 1_500
    failing.deliveries.failures.plan("get_many", True)
    assert handle(failing, message) == []
    [sent] = failing.queue.sent
    later.now_ms += 3_600_000
    values = carried(sent.attributes, sent_at_ms=later.now_ms)
    assert handle(later, QueueMessage("m1", sent.body, values.arrived_at_ms, sent.group)) == []
    assert sorted(body for _, body, _ in later.sender.posts) == sorted(
        body for _, body, _ in at_once.sender.posts
    )
    assert later.deliveries.deliveries.keys() == at_once.deliveries.deliveries.keys()
    assert {one.status for one in later.deliveries.deliveries.values()} == {Status.SUCCEEDED}


def text_of_kind(kind: str) -> str:
    """A message whose ids and times are derived, as far as its kind derives them."""
    derived = samples.event_document(timestamp=None, transaction_id=None)
    match kind:
        case "ses":
            return text_of("delivery")
        case "array":
            return json.dumps([derived, {**derived, "event": "email.opened"}])
        case "shard":
            accepted = accept(derived, sent_at_ms=NOW_MS)
            shard = Shard(samples.webhook(1).id, samples.webhook(2).id)
            return to_message(Part(accepted, shard, NOW_MS))
    return json.dumps(derived)
