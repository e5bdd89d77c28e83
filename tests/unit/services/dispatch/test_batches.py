"""A message that failed through a fault of ours is sent again as a new one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from support.ses_records import text_of
from unit.services.dispatch.batching import Queue, broken, event, fail, handle, posted
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
def services() -> ServiceFixture:
    made = ServiceFixture()
    made.add()
    return made


def test_a_message_that_failed_is_sent_again_and_is_done(services: ServiceFixture) -> None:
    fail(services, "acc_broken")
    services.now_ms += 2_000
    assert handle(services, broken(1), event(2)) == []
    [again] = services.queue.sent
    assert again == Outgoing(
        broken(1).body, "acc_broken", delay_seconds=5, arrived_at_ms=NOW_MS, tries=1
    )
    assert posted(services) == ["txn_2"]
    assert services.telemetry.counts["ResentMessages"] == 1
    assert services.received.deleted == []


def test_each_failure_grows_the_delay_and_counts_as_a_try(services: ServiceFixture) -> None:
    fail(services, "acc_broken")
    services.random = 1.0
    assert handle(services, broken(1, tries=8)) == []
    [again] = services.queue.sent
    assert (again.tries, again.delay_seconds) == (9, 900)


def test_a_message_that_cannot_be_sent_again_is_received_again(services: ServiceFixture) -> None:
    fail(services, "acc_broken")
    services.queue.refuse = {1}
    assert handle(services, broken(1), broken(2), event(3)) == ["m2"]
    assert [one.body for one in services.queue.sent] == [broken(1).body]


def test_with_no_time_to_send_a_failed_message_is_received_again(services: ServiceFixture) -> None:
    fail(services, "acc_broken")
    read, left = services.store.destinations, [60.0]

    def slowly(account_id: str, shard: Any = None) -> Any:
        left[0] = SECONDS_FOR_SENDING - 1
        return read(account_id, shard)

    services.store.destinations = slowly  # type: ignore[method-assign]
    assert services.batches.handle([broken(1)], lambda: left[0]) == ["m1"]
    assert services.queue.sent == []


def test_after_four_days_a_message_is_dead_lettered_with_what_a_redrive_needs(
    services: ServiceFixture,
) -> None:
    fail(services, "acc_broken")
    services.now_ms = NOW_MS + GIVES_UP_AFTER_MS + 1
    assert handle(services, broken(1, tries=300)) == []
    [rejected] = services.rejected.messages
    assert rejected.reason == "gave_up"
    assert (rejected.body, rejected.group) == (broken(1).body, "acc_broken")
    assert rejected.arrived_at_ms == NOW_MS
    assert services.queue.sent == []
    assert services.telemetry.counts["RejectedGaveUp"] == 1


def test_a_message_given_up_that_cannot_be_dead_lettered_is_received_again(
    services: ServiceFixture,
) -> None:
    fail(services, "acc_broken")
    services.now_ms = NOW_MS + GIVES_UP_AFTER_MS + 1
    services.rejected.refuse = {"m1"}
    assert handle(services, broken(1, tries=300)) == ["m1"]


@pytest.mark.parametrize("tries", [0, FEWEST_TRIES - 2])
def test_an_old_message_outlasts_a_short_fault_too(services: ServiceFixture, tries: int) -> None:
    """For example a message redriven after a week, when one read is slow."""
    fail(services, "acc_broken")
    services.now_ms = NOW_MS + 2 * GIVES_UP_AFTER_MS
    assert handle(services, broken(1, tries=tries)) == []
    assert [one.tries for one in services.queue.sent] == [tries + 1]
    assert services.rejected.messages == []


def test_the_age_of_the_oldest_event_is_measured_from_its_first_arrival(
    services: ServiceFixture,
) -> None:
    services.now_ms = NOW_MS + 90_000
    handle(services, event(1), event(2, arrived_at_ms=NOW_MS - 5_000))
    handle(services, event(3, arrived_at_ms=services.now_ms + 4_000))
    assert services.telemetry.times[OLDEST_EVENT_AGE] == [95_000, 0]


def test_half_an_hour_of_our_own_trouble_dead_letters_nothing(services: ServiceFixture) -> None:
    until_ms = NOW_MS + 30 * 60 * 1000
    read = services.store.destinations

    def destinations(account_id: str, shard: Any = None) -> Any:
        services.store.failures.plan("destinations", services.now_ms < until_ms)
        return read(account_id, shard)

    services.store.destinations = destinations  # type: ignore[method-assign]
    queue = Queue(services)
    queue.add(*(event(number) for number in range(30)))
    assert queue.run() == 0
    assert sorted(posted(services)) == sorted(f"txn_{number}" for number in range(30))
    assert services.rejected.messages == []
    assert services.now_ms < until_ms + 15 * 60 * 1000


@pytest.mark.parametrize("kind", ["bare", "ses", "array", "shard"])
def test_a_message_sent_again_makes_the_very_same_events(kind: str) -> None:
    """Only the message is kept: its claims, if it had any, are in another store."""
    at_once, failing, later = ServiceFixture(), ServiceFixture(), ServiceFixture()
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
