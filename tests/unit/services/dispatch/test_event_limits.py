"""The limit of an account's events a minute, with one dispatcher and with several at once."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.ses_records import bare
from unit.services.dispatch.dispatch_fixture import DispatchFixture, event
from unit.services.dispatch.fleet import Fleet
from webhooks.domain.delivery import Outcome
from webhooks.domain.lots import SHARES, share
from webhooks.domain.resending import FEWEST_TRIES
from webhooks.domain.shard import read_part
from webhooks.services.dispatch.event_limits import (
    LONGEST_DELAY_SECONDS,
    OVER_LIMIT_ENDS_AFTER_MS,
)
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.resending import Outgoing

MINUTE_MS = 60_000


def made(limit: int) -> DispatchFixture:
    services = DispatchFixture(events_per_minute=limit)
    services.add()
    services.now_ms -= services.now_ms % MINUTE_MS
    return services


def messages(
    *numbers: int, account_id: str = "acc_1", arrived_at_ms: int = samples.NOW_MS
) -> list[QueueMessage]:
    return [
        QueueMessage(
            f"m{account_id}{one}", event(one, account_id=account_id), arrived_at_ms, account_id
        )
        for one in numbers
    ]


def dispatch(services: DispatchFixture, some: list[QueueMessage]) -> list[str]:
    return services.dispatcher.dispatch(some, lambda: 60.0)


def posted(services: DispatchFixture) -> list[str]:
    return [json.loads(body)["transaction_id"] for _, body, _ in services.sender.posts]


def test_a_process_within_its_share_writes_nothing() -> None:
    services = made(2000)
    assert share(2000) == 2000 // SHARES == 10
    assert dispatch(services, messages(*range(10))) == []
    assert len(services.sender.posts) == 10
    assert services.rate_limit_store.writes == 0
    dispatch(services, messages(*range(10, 20)))
    assert services.rate_limit_store.writes == 1


def test_events_above_the_limit_come_again_and_the_others_of_the_batch_arrive() -> None:
    services = made(100)
    services.add(2, account_id="acc_2")
    services.random = 0.5
    batch = messages(*range(101)) + messages(200, 201, account_id="acc_2")
    assert dispatch(services, batch) == []
    # One is this process's share, and a hundred are counted.
    assert len(services.sender.posts) == 101 + 2
    assert services.queue.sent == []
    dispatch(services, messages(300, 301) + messages(202, account_id="acc_2"))
    assert posted(services)[103:] == ["txn_202"]
    assert [(one.group, one.delays, one.delay_seconds) for one in services.queue.sent] == [
        ("acc_1", 1, 90)
    ] * 2
    assert [one.arrived_at_ms for one in services.queue.sent] == [samples.NOW_MS] * 2
    assert services.telemetry.counts["OverLimitEvents"] == 2
    assert services.telemetry.logged("events_over_limit") == [{"account_id": "acc_1", "limit": 100}]


def test_they_are_on_the_queue_before_slow_attempts_end(monkeypatch: pytest.MonkeyPatch) -> None:
    services = made(4)
    queued = threading.Event()
    put = services.queue.put

    def noting(some: Sequence[Outgoing]) -> Sequence[int]:
        queued.set()
        return put(some)

    monkeypatch.setattr(services.queue, "put", noting)
    waited: list[bool] = []

    def slow(*_: object) -> Outcome:
        waited.append(queued.wait(10))
        return Outcome(status_code=200)

    services.sender.answer = slow
    assert dispatch(services, messages(*range(10))) == []
    assert all(waited)
    assert 1 < len(waited) < 10


def test_it_comes_again_as_the_same_event_and_is_counted_then() -> None:
    services = made(100)
    dispatch(services, messages(*range(101)))
    dispatch(services, messages(101))
    [back] = services.queue.sent
    part = read_part(json.loads(back.body), sent_at_ms=services.now_ms)
    assert json.loads(part.event.body)["transaction_id"] == "txn_101"
    services.queue.sent.clear()
    again = QueueMessage("again", back.body, samples.NOW_MS, "acc_1", delays=back.delays)
    dispatch(services, [again])
    assert [one.delays for one in services.queue.sent] == [2]
    services.now_ms += MINUTE_MS
    dispatch(services, [again])
    assert posted(services)[-1] == "txn_101"


def test_the_logs_line_comes_once_a_minute_and_the_metric_counts_all() -> None:
    services = made(100)
    dispatch(services, messages(*range(101)))
    for number in range(3):
        dispatch(services, messages(200 + number))
    assert len(services.telemetry.logged("events_over_limit")) == 1
    services.now_ms += MINUTE_MS
    dispatch(services, messages(*range(300, 402)))
    assert len(services.telemetry.logged("events_over_limit")) == 2
    assert services.telemetry.counts["OverLimitEvents"] == 4


def test_the_delay_is_by_the_place_in_line_and_no_longer_than_it_may_be() -> None:
    services = made(100)
    dispatch(services, messages(*range(101)))
    delays = []
    for start in range(1000, 2200, 100):
        services.queue.sent.clear()
        dispatch(services, messages(*range(start, start + 100)))
        delays.append(max(one.delay_seconds for one in services.queue.sent))
    assert delays[:3] == [60, 120, 180]
    assert delays == sorted(delays)
    assert max(delays) <= LONGEST_DELAY_SECONDS


def test_a_copy_that_is_held_is_counted_when_it_comes() -> None:
    """Otherwise each event published twice, with an id, would exceed the limit."""
    services = made(100)
    dispatch(services, messages(*range(101)))
    own_id = event(101, id="evt_mine")
    dispatch(services, [QueueMessage("first", own_id, samples.NOW_MS, "acc_1")])
    dispatch(services, [QueueMessage("copy", own_id, samples.NOW_MS, "acc_1")])
    assert services.telemetry.counts["HeldEvents"] == 1
    first, copy = services.queue.sent
    services.queue.sent.clear()
    again = QueueMessage("again", copy.body, samples.NOW_MS, "acc_1", delays=copy.delays)
    dispatch(services, [again])
    assert len(services.sender.posts) == 101
    [delayed] = services.queue.sent
    assert delayed.body == first.body
    services.now_ms += MINUTE_MS
    dispatch(services, [again])
    assert posted(services)[101:] == ["txn_101"]


def test_records_of_ses_count_too() -> None:
    services = made(20)
    services.add(3, account_id="default")
    batch = []
    for number in range(22):
        record = bare("delivery")
        record["mail"]["messageId"] = f"ses-{number}"
        record["mail"]["tags"] = {}
        batch.append(QueueMessage(f"m{number}", json.dumps(record), samples.NOW_MS))
    assert dispatch(services, batch) == []
    assert len(services.sender.posts) == 21
    assert [(one.group, one.delays) for one in services.queue.sent] == [("default", 1)]


def test_an_array_is_delivered_in_part() -> None:
    services = made(100)
    array = json.dumps([json.loads(event(one)) for one in range(150)])
    # More than a hundred deliveries are divided; these are counted once, when they are read.
    assert dispatch(services, [QueueMessage("m", array, samples.NOW_MS, "acc_1")]) == []
    over = [one for one in services.queue.sent if one.delays]
    shards = [one for one in services.queue.sent if not one.delays]
    assert sum(len(json.loads(one.body)) if one.body[0] == "[" else 1 for one in over) == 49
    services.queue.sent.clear()
    for number, one in enumerate(shards):
        dispatch(services, [QueueMessage(f"s{number}", one.body, samples.NOW_MS, one.group)])
    assert len(services.sender.posts) == 101
    assert services.queue.sent == []


def test_after_fourteen_days_it_is_dead_lettered_with_its_reason() -> None:
    services = made(100)
    dispatch(services, messages(*range(101)))
    dispatch(services, messages(101))
    [back] = services.queue.sent
    services.queue.sent.clear()
    arrived_at_ms = services.now_ms - OVER_LIMIT_ENDS_AFTER_MS - 1
    old = QueueMessage("old", back.body, arrived_at_ms, "acc_1", delays=FEWEST_TRIES)
    assert dispatch(services, [old, old._replace(id="fresh", delays=FEWEST_TRIES - 1)]) == []
    [rejected] = services.rejected.messages
    assert (rejected.message_id, rejected.reason, rejected.group) == ("old", "over_limit", "acc_1")
    assert rejected.arrived_at_ms is not None and rejected.arrived_at_ms <= arrived_at_ms
    assert services.telemetry.counts["RejectedOverLimit"] == 1
    assert [one.delays for one in services.queue.sent] == [FEWEST_TRIES]
    # A dead-lettered message can be sent again unchanged.
    services.now_ms += MINUTE_MS
    dispatch(services, [QueueMessage("redriven", rejected.body, arrived_at_ms, "acc_1")])
    assert posted(services)[-1] == "txn_101"


def test_an_event_that_the_dead_letter_queue_does_not_take_is_not_done() -> None:
    services = made(100)
    dispatch(services, messages(*range(101)))
    dispatch(services, messages(101))
    [back] = services.queue.sent
    services.rejected.refuse.add("old")
    arrived_at_ms = services.now_ms - OVER_LIMIT_ENDS_AFTER_MS - 1
    old = QueueMessage("old", back.body, arrived_at_ms, "acc_1", delays=FEWEST_TRIES)
    assert dispatch(services, [old]) == ["old"]


def test_where_the_count_cannot_be_had_events_go_through() -> None:
    services = made(100)
    services.rate_limit_store.failures.plan("add", True)
    assert dispatch(services, messages(*range(150))) == []
    assert services.queue.sent == []
    assert len(services.sender.posts) == 150
    assert services.telemetry.logged("events_not_counted")


def test_a_flood_that_the_counter_cannot_take_stays_above_the_limit() -> None:
    """DynamoDB takes a thousand writes a second of one item."""
    services = made(100)
    dispatch(services, messages(*range(102)))
    posts = len(services.sender.posts)
    delays = []
    for start in range(200, 500, 100):
        services.rate_limit_store.failures.plan("add", True)
        services.queue.sent.clear()
        dispatch(services, messages(*range(start, start + 100)))
        delays.append(max(one.delay_seconds for one in services.queue.sent))
    assert len(services.sender.posts) == posts
    # Each behind the ones before it, the first of which is the second in line.
    assert delays == [120, 180, 240]
    # Nothing is known of another account, nor of another minute.
    for account_id, minutes in (("acc_2", 0), ("acc_1", 1)):
        services.now_ms += minutes * MINUTE_MS
        services.add(2, account_id="acc_2")
        services.rate_limit_store.failures.plan("add", True)
        dispatch(services, messages(*range(600, 610), account_id=account_id))
        posts += 10
        assert len(services.sender.posts) == posts


def test_without_a_limit_nothing_is_counted() -> None:
    services = made(0)
    dispatch(services, messages(*range(300)))
    assert len(services.sender.posts) == 300
    assert services.rate_limit_store.writes == 0


def test_a_held_back_message_is_no_sign_of_a_slow_stack() -> None:
    services = made(100)
    old = messages(1, arrived_at_ms=services.now_ms - 3_600_000)[0]._replace(delays=3)
    assert services.batches.handle([old], lambda: 60.0) == []
    assert services.telemetry.times.get("OldestEventAge") == [0]
    assert "DeliveryLatency" not in services.telemetry.times


@pytest.mark.parametrize("dispatchers", [1, 5, 50])
def test_several_dispatchers_pass_the_limit_by_no_more_than_a_share_each(dispatchers: int) -> None:
    limit = 1000
    services = made(limit)
    services.random = 0.3
    fleet = Fleet(services, dispatchers)
    fleet.publish(event(one) for one in range(3000))
    fleet.run(60)
    first = len(services.sender.posts)
    assert limit <= first <= limit + dispatchers * share(limit)
    fleet.run_out(60 * 12)
    assert sorted(posted(services)) == sorted(f"txn_{one}" for one in range(3000))
    for minute in range(0, len(fleet.posts), 60):
        assert sum(fleet.posts[minute : minute + 60]) <= limit + dispatchers * share(limit)
    # An event above the limit returns few times, not at every second.
    assert fleet.messages < 3 * 3000
