"""Deliveries without time left in an invocation go back alone, and no message fails."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.dispatching import REFUSED, TimedWorld, assert_each_got_each_event_once, event
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
def world() -> TimedWorld:
    made = TimedWorld()
    made.one_thread()
    return made


def test_a_postponed_delivery_is_all_that_goes_back_and_its_message_is_done(
    world: TimedWorld,
) -> None:
    world.add(*range(1, 41))
    world.slow(world.sender, "post", 1.0)
    assert world.invoke(world.messages(event(1))) == []
    assert len(world.sender.posts) == SECONDS_FOR_ATTEMPTS
    [left] = world.queue.sent
    posted = {url for url, _, _ in world.sender.posts}
    assert json.loads(left.body)["webhooks"] == [
        world.webhook(number).id
        for number in range(1, 41)
        if world.webhook(number).url not in posted
    ]
    assert world.invoke(world.taken()) == []
    assert world.queue.sent == []
    assert_each_got_each_event_once(world, 40, 1)


def test_it_keeps_its_arrival_its_group_and_its_tries(world: TimedWorld) -> None:
    world.add(*range(1, 41))
    world.slow(world.sender, "post", 1.0)
    message = QueueMessage(
        "m0", event(1, timestamp=None), world.now_ms - 5_000, group="other", tries=3, suspicions=1
    )
    assert world.invoke([message]) == []
    [left] = world.queue.sent
    assert (left.group, left.delay_seconds) == ("acc_1", 0)
    assert (left.arrived_at_ms, left.tries, left.suspicions) == (world.now_ms - 5_000, 3, 0)
    world.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    world.telemetry.times.clear()
    assert world.invoke(world.taken()) == []
    assert set(world.telemetry.times["DeliveryLatency"]) == {5_040}
    assert len({(body, one["webhook-id"]) for _, body, one in world.sender.posts}) == 1


def test_it_is_counted_and_logged_once_and_not_as_a_failure(world: TimedWorld) -> None:
    world.add(*range(1, 21))
    world.slow(world.sender, "post", 1.0)
    assert world.invoke(world.messages(event(1), event(2), event(3))) == []
    postponed = 3 * 20 - SECONDS_FOR_ATTEMPTS
    assert world.telemetry.counts["PostponedDeliveries"] == postponed
    assert world.telemetry.counts["FailedMessages"] == 0
    [line] = world.telemetry.logged("postponed")
    assert (line["deliveries"], line["events"], line["messages"]) == (postponed, 0, 2)
    assert world.telemetry.logged("message_failed") == []


def test_an_invocation_with_time_for_everything_says_nothing_of_it(world: TimedWorld) -> None:
    world.add()
    assert world.invoke(world.messages(event(1))) == []
    assert "PostponedDeliveries" not in world.telemetry.counts
    assert world.telemetry.logged("postponed") == []


def test_what_is_left_of_a_message_is_few_messages(world: TimedWorld) -> None:
    """One for each message: up to a hundred deliveries fit in it, or as many as its bytes allow."""
    world.add(*range(1, 6))
    world.slow(world.deliveries, "get_many", 32.5)
    texts = [f"[{','.join(event(20 * n + k) for k in range(20))}]" for n in range(3)]
    assert world.invoke(world.messages(*texts)) == []
    assert world.sender.posts == []
    assert [len(json.loads(one.body)) for one in world.queue.sent] == [20, 20, 20]
    assert all(len(one.body) <= MAX_QUEUED_BYTES for one in world.queue.sent)


def test_large_events_that_are_left_are_messages_that_the_queue_takes(world: TimedWorld) -> None:
    world.add()
    world.slow(world.deliveries, "get_many", 32.5)
    large = [event(n, data={"to": "a@b.example", "x": "\x7f" * 30_000}) for n in range(20)]
    assert world.invoke(world.messages(f"[{','.join(large)}]")) == []
    assert 1 < len(world.queue.sent) < 20
    assert all(len(one.body) <= MAX_QUEUED_BYTES for one in world.queue.sent)
    world.deliveries.__dict__.pop("get_many")
    assert world.invoke(world.taken()) == []
    assert_each_got_each_event_once(world, 1, 20)


@pytest.mark.parametrize("seed", range(5))
def test_everything_is_delivered_in_any_order_of_the_batches(world: TimedWorld, seed: int) -> None:
    """And the message of a quiet account is among the first, wherever it stands in its batch."""
    shuffle = random.Random(seed).shuffle  # noqa: S311 (the same orders each time)
    world.add(*range(1, 7))
    world.add(99, account_id="quiet")
    world.slow(world.sender, "post", 4.0)
    waiting = world.messages(*map(event, range(9)), event(9, account_id="quiet"))
    while waiting:
        shuffle(waiting)
        before = len(world.sender.posts)
        batch, waiting = waiting[:10], waiting[10:]
        has_quiet = any("quiet" in one.body for one in batch)
        assert world.invoke(batch) == []
        first = [url for url, _, _ in world.sender.posts[before : before + 2]]
        assert (samples.webhook(99).url in first) == has_quiet
        waiting += world.taken()
    sent = [(url, headers["webhook-id"]) for url, _, headers in world.sender.posts]
    assert len(sent) == len(set(sent)) == 9 * 6 + 1
    assert {one.status for one in world.stored()} == {Status.SUCCEEDED}


def test_within_an_account_its_webhooks_take_turns(world: TimedWorld) -> None:
    world.add(1, 2, 3)
    world.slow(world.sender, "post", 3.5)
    assert world.invoke(world.messages(*map(event, range(10)))) == []
    urls = [url for url, _, _ in world.sender.posts]
    assert len(urls) == 9
    assert {urls.count(samples.webhook(number).url) for number in (1, 2, 3)} == {3}


@pytest.mark.parametrize("trouble", ["refused", "broken", "late"])
def test_a_message_fails_only_where_its_leftover_cannot_be_sent(
    world: TimedWorld, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    world.add(*range(1, 41))
    world.add(1, account_id="acc_2")

    def put(*_: object) -> list[int]:
        if trouble == "broken":
            raise KeyError("x")
        return [0]

    monkeypatch.setattr(world.queue, "put", put)
    world.slow(world.sender, "post", 26.0 if trouble == "late" else 1.0)
    [first, other] = world.messages(event(1), event(2, account_id="acc_2"))
    assert world.invoke([first, other]) == [first.id]
    [line] = world.telemetry.logged("message_failed")
    assert line["message_ids"] == [first.id]
    posts = len(world.sender.posts)
    world.sender.__dict__.pop("post")
    assert world.invoke([first]) == []
    assert len(world.sender.posts) == 41 > posts


def test_two_copies_of_a_postponed_delivery_are_done_together(
    world: TimedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(*range(1, 41))
    world.slow(world.sender, "post", 1.0)
    copies = world.messages(event(1), event(1))
    assert world.invoke(copies) == []
    assert len(world.queue.sent) == 1
    world.queue.sent.clear()
    world.deliveries.deliveries.clear()
    monkeypatch.setattr(world.queue, "put", lambda _: [0])
    assert world.invoke(copies) == [one.id for one in copies]


def test_what_was_recorded_before_goes_back_as_well_where_there_is_no_time_to_see_to_it(
    world: TimedWorld,
) -> None:
    world.add()
    world.sender.answer = lambda *_: REFUSED
    [message] = world.messages(event(1))
    assert world.invoke([message]) == []
    assert world.scheduler.calls == 1
    world.slow(world.deliveries, "get_many", 32.5)
    assert world.invoke([message]) == []
    assert world.scheduler.calls == 1
    world.deliveries.__dict__.pop("get_many")
    assert world.invoke(world.taken()) == []
    assert world.scheduler.calls == 2
    assert len(world.sender.posts) == 1


def test_deferring_takes_time_too(world: TimedWorld) -> None:
    world.add(health=Health(circuit=Circuit.OPEN, recovery_id="r"))
    world.slow(world.deliveries, "get_many", 32.5)
    assert world.invoke(world.messages(event(1))) == []
    assert world.stored() == []
    world.deliveries.__dict__.pop("get_many")
    assert world.invoke(world.taken()) == []
    assert world.only().status is Status.WAITING


def test_an_attempt_that_fails_through_our_fault_is_not_postponed(world: TimedWorld) -> None:
    world.add()

    def unavailable(_url: str, _headers: Mapping[str, str]) -> Outcome:
        msg = "out of file descriptors"
        raise UnavailableError(msg)

    world.sender.answer = unavailable
    [message] = world.messages(event(1))
    assert world.invoke([message]) == [message.id]
    assert world.queue.sent == []


def test_poison_does_not_hold_up_the_others_of_its_batch(
    world: TimedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow dead-letter queue costs the batch's bad messages alone."""
    world.add()
    arrived = threading.Event()

    def answer(*_: object) -> Outcome:
        arrived.set()
        return Outcome(status_code=200)

    world.sender.answer = answer
    put = world.rejected.put

    def waiting(messages: Any) -> Any:
        assert arrived.wait(10)
        return put(messages)

    monkeypatch.setattr(world.rejected, "put", waiting)
    assert world.invoke(world.messages("poison", event(1))) == []
    assert len(world.rejected.messages) == len(world.sender.posts) == 1


def test_poison_that_there_is_no_time_to_reject_is_received_again(world: TimedWorld) -> None:
    world.slow(world.rejected, "put", 26.0)
    messages = world.messages(*[f"poison {number}" for number in range(4)])
    assert world.invoke(messages) == [one.id for one in messages[2:]]
    assert len(world.rejected.messages) == 2


def test_what_failed_of_a_webhook_is_retried_where_its_others_were_postponed_meanwhile(
    world: TimedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add()
    postponed = threading.Event()
    put = world.queue.put

    def put_and_tell(messages: Any) -> Any:
        postponed.set()
        return put(messages)

    def answer(*_: object) -> Outcome:
        world.remaining = 20.0
        assert postponed.wait(10)
        return REFUSED

    monkeypatch.setattr(world.queue, "put", put_and_tell)
    world.sender.answer = answer
    assert world.invoke(world.messages(*map(event, range(3)))) == []
    assert len(world.sender.posts) == 1
    assert world.telemetry.counts["PostponedDeliveries"] == 2
    assert list(world.scheduler.executions) == [one.key for one in world.stored()]
