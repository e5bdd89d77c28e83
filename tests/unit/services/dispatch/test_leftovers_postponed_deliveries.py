"""Deliveries without time left in an invocation go back alone, and no message fails."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import (
    REFUSED,
    TimedDispatchFixture,
    assert_each_got_each_event_once,
    event,
)
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit, Health
from webhooks.domain.shard import MAX_QUEUED_BYTES
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS_FOR_ATTEMPTS = 60 - 30 + 1
"""Attempts begin until 30 seconds are left."""


@pytest.fixture
def services() -> TimedDispatchFixture:
    made = TimedDispatchFixture()
    made.one_thread()
    return made


def test_a_postponed_delivery_is_all_that_goes_back_and_its_message_is_done(
    services: TimedDispatchFixture,
) -> None:
    services.add(*range(1, 41))
    services.slow(services.sender, "post", 1.0)
    assert services.invoke(services.messages(event(1))) == []
    assert len(services.sender.posts) == SECONDS_FOR_ATTEMPTS
    [left] = services.queue.sent
    posted = {url for url, _, _ in services.sender.posts}
    assert json.loads(left.body)["webhooks"] == [
        services.webhook(number).id
        for number in range(1, 41)
        if services.webhook(number).url not in posted
    ]
    assert services.invoke(services.taken()) == []
    assert services.queue.sent == []
    assert_each_got_each_event_once(services, 40, 1)


def test_it_keeps_its_arrival_its_group_and_its_tries(services: TimedDispatchFixture) -> None:
    services.add(*range(1, 41))
    services.slow(services.sender, "post", 1.0)
    message = QueueMessage(
        "m0",
        event(1, timestamp=None),
        services.now_ms - 5_000,
        group="other",
        tries=3,
        suspicions=1,
    )
    assert services.invoke([message]) == []
    [left] = services.queue.sent
    assert (left.group, left.delay_seconds) == ("acc_1", 0)
    assert (left.arrived_at_ms, left.tries, left.suspicions) == (services.now_ms - 5_000, 3, 0)
    services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    services.telemetry.times.clear()
    assert services.invoke(services.taken()) == []
    assert set(services.telemetry.times["DeliveryLatency"]) == {5_040}
    assert len({(body, one["webhook-id"]) for _, body, one in services.sender.posts}) == 1


def test_it_is_counted_and_logged_once_and_not_as_a_failure(services: TimedDispatchFixture) -> None:
    services.add(*range(1, 21))
    services.slow(services.sender, "post", 1.0)
    assert services.invoke(services.messages(event(1), event(2), event(3))) == []
    postponed = 3 * 20 - SECONDS_FOR_ATTEMPTS
    assert services.telemetry.counts["PostponedDeliveries"] == postponed
    assert services.telemetry.counts["FailedMessages"] == 0
    [line] = services.telemetry.logged("postponed")
    assert (line["deliveries"], line["events"], line["messages"]) == (postponed, 0, 2)
    assert services.telemetry.logged("message_failed") == []


def test_an_invocation_with_time_for_everything_says_nothing_of_it(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    assert services.invoke(services.messages(event(1))) == []
    assert "PostponedDeliveries" not in services.telemetry.counts
    assert services.telemetry.logged("postponed") == []


def test_what_is_left_of_a_message_is_few_messages(services: TimedDispatchFixture) -> None:
    """One for each message: up to a hundred deliveries fit in it, or as many as its bytes allow."""
    services.add(*range(1, 6))
    services.slow(services.deliveries, "get_many", 32.5)
    texts = [f"[{','.join(event(20 * n + k) for k in range(20))}]" for n in range(3)]
    assert services.invoke(services.messages(*texts)) == []
    assert services.sender.posts == []
    assert [len(json.loads(one.body)) for one in services.queue.sent] == [20, 20, 20]
    assert all(len(one.body) <= MAX_QUEUED_BYTES for one in services.queue.sent)


def test_large_events_that_are_left_are_messages_that_the_queue_takes(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    services.slow(services.deliveries, "get_many", 32.5)
    large = [event(n, data={"to": "a@b.example", "x": "\x7f" * 30_000}) for n in range(20)]
    assert services.invoke(services.messages(f"[{','.join(large)}]")) == []
    assert 1 < len(services.queue.sent) < 20
    assert all(len(one.body) <= MAX_QUEUED_BYTES for one in services.queue.sent)
    services.deliveries.__dict__.pop("get_many")
    assert services.invoke(services.taken()) == []
    assert_each_got_each_event_once(services, 1, 20)


@pytest.mark.parametrize("seed", range(5))
def test_everything_is_delivered_in_any_order_of_the_batches(
    services: TimedDispatchFixture, seed: int
) -> None:
    """And the message of a quiet account is among the first, wherever it stands in its batch."""
    shuffle = random.Random(seed).shuffle  # noqa: S311 (the same orders each time)
    services.add(*range(1, 7))
    services.add(99, account_id="quiet")
    services.slow(services.sender, "post", 4.0)
    waiting = services.messages(*map(event, range(9)), event(9, account_id="quiet"))
    while waiting:
        shuffle(waiting)
        before = len(services.sender.posts)
        batch, waiting = waiting[:10], waiting[10:]
        has_quiet = any("quiet" in one.body for one in batch)
        assert services.invoke(batch) == []
        first = [url for url, _, _ in services.sender.posts[before : before + 2]]
        assert (samples.webhook(99).url in first) == has_quiet
        waiting += services.taken()
    sent = [(url, headers["webhook-id"]) for url, _, headers in services.sender.posts]
    assert len(sent) == len(set(sent)) == 9 * 6 + 1
    assert {one.status for one in services.stored()} == {Status.SUCCEEDED}


def test_within_an_account_its_webhooks_take_turns(services: TimedDispatchFixture) -> None:
    services.add(1, 2, 3)
    services.slow(services.sender, "post", 3.5)
    assert services.invoke(services.messages(*map(event, range(10)))) == []
    urls = [url for url, _, _ in services.sender.posts]
    assert len(urls) == 9
    assert {urls.count(samples.webhook(number).url) for number in (1, 2, 3)} == {3}


@pytest.mark.parametrize("trouble", ["refused", "broken", "late"])
def test_a_message_fails_only_where_its_leftover_cannot_be_sent(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    services.add(*range(1, 41))
    services.add(1, account_id="acc_2")

    def put(*_: object) -> list[int]:
        if trouble == "broken":
            raise KeyError("x")
        return [0]

    monkeypatch.setattr(services.queue, "put", put)
    services.slow(services.sender, "post", 26.0 if trouble == "late" else 1.0)
    [first, other] = services.messages(event(1), event(2, account_id="acc_2"))
    assert services.invoke([first, other]) == [first.id]
    [line] = services.telemetry.logged("message_failed")
    assert line["message_ids"] == [first.id]
    posts = len(services.sender.posts)
    services.sender.__dict__.pop("post")
    assert services.invoke([first]) == []
    assert len(services.sender.posts) == 41 > posts


def test_two_copies_of_a_postponed_delivery_are_done_together(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.add(*range(1, 41))
    services.slow(services.sender, "post", 1.0)
    copies = services.messages(event(1), event(1))
    assert services.invoke(copies) == []
    assert len(services.queue.sent) == 1
    services.queue.sent.clear()
    services.deliveries.deliveries.clear()
    monkeypatch.setattr(services.queue, "put", lambda _: [0])
    assert services.invoke(copies) == [one.id for one in copies]


def test_what_was_recorded_before_goes_back_as_well_where_there_is_no_time_to_see_to_it(
    services: TimedDispatchFixture,
) -> None:
    services.add()
    services.sender.answer = lambda *_: REFUSED
    [message] = services.messages(event(1))
    assert services.invoke([message]) == []
    assert services.scheduler.calls == 1
    services.slow(services.deliveries, "get_many", 32.5)
    assert services.invoke([message]) == []
    assert services.scheduler.calls == 1
    services.deliveries.__dict__.pop("get_many")
    assert services.invoke(services.taken()) == []
    assert services.scheduler.calls == 2
    assert len(services.sender.posts) == 1


def test_deferring_takes_time_too(services: TimedDispatchFixture) -> None:
    services.add(health=Health(circuit=Circuit.OPEN, recovery_id="r"))
    services.slow(services.deliveries, "get_many", 32.5)
    assert services.invoke(services.messages(event(1))) == []
    assert services.stored() == []
    services.deliveries.__dict__.pop("get_many")
    assert services.invoke(services.taken()) == []
    assert services.only().status is Status.WAITING


def test_an_attempt_that_fails_through_our_fault_is_not_postponed(
    services: TimedDispatchFixture,
) -> None:
    services.add()

    def unavailable(_url: str, _headers: Mapping[str, str]) -> Outcome:
        msg = "out of file descriptors"
        raise UnavailableError(msg)

    services.sender.answer = unavailable
    [message] = services.messages(event(1))
    assert services.invoke([message]) == [message.id]
    assert services.queue.sent == []


def test_poison_does_not_hold_up_the_others_of_its_batch(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow dead-letter queue costs the batch's bad messages alone."""
    services.add()
    arrived = threading.Event()

    def answer(*_: object) -> Outcome:
        arrived.set()
        return Outcome(status_code=200)

    services.sender.answer = answer
    put = services.rejected.put

    def waiting(messages: Any) -> Any:
        assert arrived.wait(10)
        return put(messages)

    monkeypatch.setattr(services.rejected, "put", waiting)
    assert services.invoke(services.messages("poison", event(1))) == []
    assert len(services.rejected.messages) == len(services.sender.posts) == 1


def test_poison_that_there_is_no_time_to_reject_is_received_again(
    services: TimedDispatchFixture,
) -> None:
    services.slow(services.rejected, "put", 26.0)
    messages = services.messages(*[f"poison {number}" for number in range(4)])
    assert services.invoke(messages) == [one.id for one in messages[2:]]
    assert len(services.rejected.messages) == 2


def test_what_failed_of_a_webhook_is_retried_where_its_others_were_postponed_meanwhile(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.add()
    postponed = threading.Event()
    put = services.queue.put

    def put_and_tell(messages: Any) -> Any:
        postponed.set()
        return put(messages)

    def answer(*_: object) -> Outcome:
        services.remaining = 20.0
        assert postponed.wait(10)
        return REFUSED

    monkeypatch.setattr(services.queue, "put", put_and_tell)
    services.sender.answer = answer
    assert services.invoke(services.messages(*map(event, range(3)))) == []
    assert len(services.sender.posts) == 1
    assert services.telemetry.counts["PostponedDeliveries"] == 2
    assert list(services.scheduler.executions) == [one.key for one in services.stored()]
