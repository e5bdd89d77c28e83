"""A message of more than a hundred deliveries goes back on the queue in parts; no other does."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import REFUSED, TimedDispatchFixture
from webhooks.domain.delivery import Outcome
from webhooks.domain.shard import MAX_QUEUED_BYTES, MOST_AT_ONCE


@pytest.fixture
def services() -> TimedDispatchFixture:
    return TimedDispatchFixture()


def ses_record(recipients: int, account_id: str = "acc_1") -> str:
    mail = {
        "timestamp": "2025-12-21T10:30:00.000Z",
        "messageId": "m-1",
        "source": "a@b.example",
        "destination": [f"r{number}@example.com" for number in range(recipients)],
        "tags": {"account_id": [account_id]},
    }
    return json.dumps({"eventType": "Delivery", "mail": mail, "delivery": delivered(recipients)})


def delivered(recipients: int) -> dict[str, Any]:
    return {
        "timestamp": "2025-12-21T10:30:01.000Z",
        "recipients": [f"r{number}@example.com" for number in range(recipients)],
    }


def array(events: int, **changes: Any) -> str:
    texts = (samples.event_text(transaction_id=f"txn_{n}", **changes) for n in range(events))
    return f"[{','.join(texts)}]"


def deliver_all(services: TimedDispatchFixture) -> list[int]:
    """Handle the messages on the queue, ten at a time; returns the posts of each batch."""
    posts: list[int] = []
    waiting = services.taken()
    while waiting:
        batch, waiting = waiting[:10], waiting[10:]
        before = len(services.sender.posts)
        assert services.invoke(batch) == []
        posts.append(len(services.sender.posts) - before)
        waiting += services.taken()
    return posts


def assert_each_got_each_event_once(
    services: TimedDispatchFixture, webhooks: int, events: int
) -> None:
    sent = [(url, headers["webhook-id"]) for url, _, headers in services.sender.posts]
    assert len(sent) == len(set(sent)) == webhooks * events


@pytest.mark.parametrize(("recipients", "webhooks"), [(50, 6), (50, 5), (11, 10), (2, 51)])
def test_a_record_of_many_deliveries_is_sent_by_its_parts(
    services: TimedDispatchFixture, recipients: int, webhooks: int
) -> None:
    services.add(*range(1, webhooks + 1))
    assert services.invoke(services.messages(ses_record(recipients))) == []
    assert services.sender.posts == []
    assert services.telemetry.counts["Shards"] == len(services.queue.sent)
    posts = deliver_all(services)
    assert_each_got_each_event_once(services, webhooks, recipients)
    assert max(posts) <= MOST_AT_ONCE


def test_a_part_is_of_several_events_where_they_have_few_webhooks(
    services: TimedDispatchFixture,
) -> None:
    services.add(1, 2)
    assert services.invoke(services.messages(array(60))) == []
    assert [len(json.loads(one.body)) for one in services.queue.sent] == [5] * 12
    assert deliver_all(services) == [100, 20]
    assert_each_got_each_event_once(services, 2, 60)


@pytest.mark.parametrize("count", [1, 10])
def test_up_to_a_hundred_deliveries_of_a_message_need_no_queue(
    services: TimedDispatchFixture, count: int
) -> None:
    """Nor do ten such messages together: a message without time left goes back unchanged."""
    services.add(*range(1, 6))
    services.add(6, events=("email.opened",))
    assert services.invoke(services.messages(*[array(20)] * count)) == []
    assert services.queue.sent == []
    assert_each_got_each_event_once(services, 5, 20)


def test_the_parts_of_several_accounts_are_each_in_its_own_group(
    services: TimedDispatchFixture,
) -> None:
    services.add(1, 2, 3)
    services.add(1, 2, account_id="acc_2")
    texts = [array(25)[1:-1], array(25, account_id="acc_2")[1:-1]]
    assert services.invoke(services.messages(f"[{','.join(texts)}]")) == []
    groups = {
        (one.group, part["account_id"])
        for one in services.queue.sent
        for part in (json.loads(one.body) if one.body[0] == "[" else [json.loads(one.body)])
    }
    assert groups == {("acc_1", "acc_1"), ("acc_2", "acc_2")}
    deliver_all(services)
    assert Counter(one.account_id for one in services.stored()) == {"acc_1": 75, "acc_2": 50}


def test_parts_keep_what_their_message_carries(services: TimedDispatchFixture) -> None:
    services.add(1, 2, 3, 4, 5, 6)
    [message] = services.messages(ses_record(50))
    message = message._replace(arrived_at_ms=services.now_ms - 9_000, tries=2, suspicions=1)
    assert services.invoke([message]) == []
    carried = {(one.arrived_at_ms, one.tries, one.suspicions) for one in services.queue.sent}
    assert carried == {(services.now_ms - 9_000, 2, 0)}
    assert {one.delay_seconds for one in services.queue.sent} == {0}
    services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    deliver_all(services)
    assert set(services.telemetry.times["DeliveryLatency"]) == {9_040}


def test_the_quiet_accounts_message_does_not_wait_for_parts_to_be_sent(
    services: TimedDispatchFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.add(*range(1, 7))
    services.add(1, account_id="quiet")
    arrived = threading.Event()
    services.sender.answer = lambda *_: arrived.set() or Outcome(status_code=200)  # type: ignore[func-returns-value]
    put = services.queue.put

    def waiting(messages: Any) -> Any:
        assert arrived.wait(10)
        return put(messages)

    monkeypatch.setattr(services.queue, "put", waiting)
    quiet = samples.event_text(account_id="quiet")
    assert services.invoke(services.messages(*[ses_record(50)] * 1, quiet)) == []
    assert len(services.sender.posts) == 1
    assert len(services.queue.sent) == 50


def test_two_copies_of_a_record_in_a_batch_are_divided_once(services: TimedDispatchFixture) -> None:
    services.add(*range(1, 7))
    copies = services.messages(ses_record(50), ses_record(50))
    assert services.invoke(copies) == []
    assert len(services.queue.sent) == 50
    services.queue.refuse = {0}
    assert services.invoke(copies) == [one.id for one in copies]


def test_once_there_is_no_time_for_attempts_the_rest_of_the_parts_are_few_messages(
    services: TimedDispatchFixture,
) -> None:
    """The next dispatcher divides them: the kept time is enough for only a few requests."""
    services.one_thread()
    services.add(*range(1, 13))
    services.slow(services.queue, "put", 11.0)
    [message] = services.messages(array(100))
    assert services.invoke([message]) == []
    last = services.queue.sent[-1]
    assert len(json.loads(last.body)) > MOST_AT_ONCE
    assert len(last.body) <= MAX_QUEUED_BYTES
    assert services.telemetry.logged("message_failed") == []
    services.queue.__dict__.pop("put")
    deliver_all(services)
    assert_each_got_each_event_once(services, 12, 100)


def test_a_message_whose_parts_there_was_no_time_to_send_comes_again(
    services: TimedDispatchFixture,
) -> None:
    services.one_thread()
    services.add(*range(1, 13))
    services.slow(services.queue, "put", 52.0)
    [message] = services.messages(array(100))
    assert services.invoke([message]) == [message.id]
    services.queue.__dict__.pop("put")
    assert services.invoke([message]) == []
    deliver_all(services)
    assert_each_got_each_event_once(services, 12, 100)


def test_a_divided_message_again_after_a_crash_sends_nothing_twice(
    services: TimedDispatchFixture,
) -> None:
    services.add(*range(1, 7))
    [message] = services.messages(ses_record(50))
    assert services.invoke([message]) == []
    services.queue.sent = services.queue.sent[:13]
    deliver_all(services)
    assert services.invoke([message]) == []
    deliver_all(services)
    assert_each_got_each_event_once(services, 6, 50)


def test_what_is_left_of_a_part_names_its_webhooks_and_is_a_part_again(
    services: TimedDispatchFixture,
) -> None:
    services.one_thread()
    services.add(*range(1, 7))
    services.slow(services.sender, "post", 4.0)
    assert services.invoke(services.messages(ses_record(50))) == []
    assert sum(deliver_all(services)) == 300
    assert_each_got_each_event_once(services, 6, 50)
    assert services.telemetry.counts["PostponedDeliveries"] > 0


def test_parts_that_the_queue_is_slow_to_take_delay_no_other_webhooks_retry(
    services: TimedDispatchFixture,
) -> None:
    services.add(*range(1, 51))
    services.add(98, 99, account_id="quiet")
    services.sender.answer = lambda *_: REFUSED
    started, late = threading.Event(), threading.Event()
    start, put = services.scheduler.start, services.queue.put

    def start_and_tell(*args: Any, **kwargs: Any) -> None:
        start(*args, **kwargs)
        started.set()

    def put_after_it(messages: Any) -> Any:
        if not started.wait(3):
            late.set()
        return put(messages)

    services.scheduler.start = start_and_tell  # type: ignore[method-assign]
    services.queue.put = put_after_it  # type: ignore[method-assign]
    texts = array(16), samples.event_text(account_id="quiet")
    assert services.invoke(services.messages(*texts)) == []
    assert started.is_set()
    assert not late.is_set()
