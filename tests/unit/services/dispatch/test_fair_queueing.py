"""Messages without a group: those of an account that floods the queue go back with its group."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.ses_records import bare
from unit.services.dispatch.dispatch_fixture import DispatchFixture, TimedDispatchFixture, event
from webhooks.domain.delivery import Status
from webhooks.domain.shard import MAX_QUEUED_BYTES, MOST_AT_ONCE, read_part
from webhooks.services.dispatch.batches import OLDEST_EVENT_AGE
from webhooks.services.dispatch.fair_queueing import MOST_UNGROUPED
from webhooks.services.dispatch.leftovers import UNREAD_DELAY_SECONDS
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.resending import Outgoing

MINUTE_MS = 60_000


@pytest.fixture
def services() -> DispatchFixture:
    made = DispatchFixture()
    made.add()
    made.add(2, account_id="acc_2")
    made.now_ms -= made.now_ms % MINUTE_MS
    return made


def messages(*numbers: int, account_id: str = "acc_1", **changes: Any) -> list[QueueMessage]:
    return [
        QueueMessage(
            f"{account_id}-{one}", event(one, account_id=account_id), samples.NOW_MS
        )._replace(**changes)
        for one in numbers
    ]


def dispatch(
    services: DispatchFixture, some: Sequence[QueueMessage], *, seconds: float = 60.0
) -> list[str]:
    return services.dispatcher.dispatch(some, lambda: seconds)


def flood(services: DispatchFixture) -> None:
    """Use up this process's share of the account's deliveries in this minute."""
    assert dispatch(services, messages(*range(1000, 1000 + MOST_UNGROUPED))) == []
    assert services.queue.sent == []
    assert len(services.sender.posts) == MOST_UNGROUPED
    services.sender.posts.clear()


def replace_put(
    services: DispatchFixture, put: Callable[[Sequence[Outgoing]], Sequence[int]]
) -> None:
    """Replace the queue's `put`."""
    queue: Any = services.queue
    queue.put = put


def posted(services: DispatchFixture) -> list[str]:
    """Return the events that were sent, sorted: a batch's events are sent at the same time."""
    return sorted(json.loads(body)["transaction_id"] for _, body, _ in services.sender.posts)


def come(sent: Sequence[Outgoing]) -> list[QueueMessage]:
    """Return messages as they come from a queue without groups."""
    return [
        QueueMessage(f"again-{number}", one.body, one.arrived_at_ms or 0, tries=one.tries)
        for number, one in enumerate(sent)
    ]


def test_past_thirty_in_a_minute_they_go_back_in_their_accounts_group(
    services: DispatchFixture,
) -> None:
    flood(services)
    assert dispatch(services, messages(1, tries=2, arrived_at_ms=samples.NOW_MS - 5)) == []
    assert services.sender.posts == []
    [back] = services.queue.sent
    assert back == back._replace(
        group="acc_1", arrived_at_ms=samples.NOW_MS - 5, delay_seconds=0, tries=2, delays=0
    )
    part = read_part(json.loads(back.body), sent_at_ms=services.now_ms)
    assert json.loads(part.event.body)["transaction_id"] == "txn_1"
    assert part.arrived_at_ms == samples.NOW_MS - 5
    assert services.telemetry.counts["GroupedMessages"] == 1


def test_one_that_was_put_back_is_delivered_whatever_the_queue_tells_of_groups(
    services: DispatchFixture,
) -> None:
    flood(services)
    dispatch(services, messages(1))
    back = come(services.queue.sent)
    services.queue.sent.clear()
    assert dispatch(services, back) == []
    assert services.queue.sent == []
    assert posted(services) == ["txn_1"]


def test_messages_with_a_group_are_neither_counted_nor_put_back(services: DispatchFixture) -> None:
    grouped = messages(*range(3 * MOST_UNGROUPED), group="any")
    assert dispatch(services, grouped) == []
    assert dispatch(services, messages(*range(200, 200 + MOST_UNGROUPED))) == []
    assert dispatch(services, messages(1, group="any")) == []
    assert services.queue.sent == []


def test_other_accounts_of_the_batch_are_delivered(services: DispatchFixture) -> None:
    flood(services)
    batch = messages(1, 2) + messages(3, account_id="acc_2") + messages(4)
    assert dispatch(services, batch) == []
    assert posted(services) == ["txn_3"]
    assert len(services.queue.sent) == 3


def test_records_of_ses_are_put_back_whichever_way_they_came(services: DispatchFixture) -> None:
    flood(services)
    record = bare("delivery")
    record["mail"]["tags"]["account_id"] = ["acc_1"]
    sns = {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(record)}
    bridge = {"detail-type": "Email Delivered", "source": "aws.ses", "detail": record}
    texts = [json.dumps(one) for one in (record, sns, bridge, [record, record])]
    batch = [QueueMessage(f"m{n}", text, samples.NOW_MS) for n, text in enumerate(texts)]
    assert dispatch(services, batch) == []
    assert services.sender.posts == []
    assert [one.group for one in services.queue.sent] == ["acc_1"] * 4
    assert dispatch(services, come(services.queue.sent)) == []
    # They are one event, five times.
    assert len(services.sender.posts) == 1


def test_a_batch_goes_back_in_one_request(services: DispatchFixture) -> None:
    flood(services)
    requests: list[int] = []
    put = services.queue.put

    def counting(some: Sequence[Outgoing]) -> Sequence[int]:
        requests.append(len(some))
        return put(some)

    replace_put(services, counting)
    dispatch(services, messages(*range(10)))
    assert requests == [10]


def test_an_array_is_one_message_and_goes_back_by_account(services: DispatchFixture) -> None:
    array = "[" + ",".join(event(one) for one in range(MOST_UNGROUPED + 10)) + "]"
    assert dispatch(services, [QueueMessage("m", array, samples.NOW_MS)]) == []
    assert services.queue.sent == []
    flooding = messages(*range(1000, 999 + MOST_UNGROUPED))
    dispatch(services, flooding)
    services.sender.posts.clear()
    both = f"[{event(1)},{event(2, account_id='acc_2')},{event(3)}]"
    assert dispatch(services, [QueueMessage("both", both, samples.NOW_MS)]) == []
    assert posted(services) == ["txn_2"]
    [back] = services.queue.sent
    assert [one["account_id"] for one in json.loads(back.body)] == ["acc_1"] * 2


def test_what_grows_past_a_message_goes_back_in_several_and_arrives_once(
    services: DispatchFixture,
) -> None:
    """A character of two bytes takes six in a part."""
    flood(services)
    large = [event(one, data={"to": "a@example.com", "note": "é" * 20_000}) for one in range(20)]
    array = json.dumps([json.loads(one) for one in large], ensure_ascii=False)
    assert len(array.encode()) < MAX_QUEUED_BYTES
    assert dispatch(services, [QueueMessage("m", array, samples.NOW_MS)]) == []
    assert services.sender.posts == []
    assert len(services.queue.sent) == 3
    assert all(one.size_bytes < MAX_QUEUED_BYTES for one in services.queue.sent)
    back = come(services.queue.sent)
    assert dispatch(services, back) == []
    assert posted(services) == sorted(f"txn_{one}" for one in range(20))


def test_many_events_of_a_message_go_back_by_the_hundred(services: DispatchFixture) -> None:
    flood(services)
    array = "[" + ",".join(event(one) for one in range(2 * MOST_AT_ONCE + 1)) + "]"
    dispatch(services, [QueueMessage("m", array, samples.NOW_MS)])
    counts = [len(json.loads(one.body)) for one in services.queue.sent[:2]]
    assert counts == [MOST_AT_ONCE] * 2
    assert len(services.queue.sent) == 3


def test_a_flood_that_goes_on_is_put_back_from_the_minutes_first_message(
    services: DispatchFixture,
) -> None:
    flood(services)
    dispatch(services, messages(1))
    services.now_ms += MINUTE_MS
    dispatch(services, messages(2))
    assert len(services.queue.sent) == 2
    # This minute's account was below the number; therefore the next one begins anew.
    services.now_ms += MINUTE_MS
    dispatch(services, messages(3))
    assert posted(services) == ["txn_3"]


def test_a_flood_is_forgotten_after_a_minute_without_a_batch(services: DispatchFixture) -> None:
    flood(services)
    dispatch(services, messages(1))
    services.now_ms += 2 * MINUTE_MS
    dispatch(services, messages(2))
    assert posted(services) == ["txn_2"]


def test_what_the_queue_does_not_take_is_delivered_and_nothing_twice(
    services: DispatchFixture,
) -> None:
    flood(services)
    services.queue.refuse = set(range(10))
    assert dispatch(services, messages(1, 2)) == []
    assert services.queue.sent == []
    assert posted(services) == ["txn_1", "txn_2"]
    # The next batches do not wait for that queue.
    services.queue.refuse = set()
    dispatch(services, messages(3))
    assert posted(services) == ["txn_1", "txn_2", "txn_3"]


def test_of_a_request_the_messages_that_were_not_taken_are_delivered(
    services: DispatchFixture,
) -> None:
    flood(services)
    services.queue.refuse = {1}
    assert dispatch(services, messages(1, 2, 3)) == []
    assert posted(services) == ["txn_2"]
    services.queue.refuse = set()
    assert dispatch(services, come(services.queue.sent)) == []
    assert Counter(posted(services)) == Counter({"txn_1": 1, "txn_2": 1, "txn_3": 1})


def test_a_copy_of_an_answer_that_was_lost_finds_its_record(services: DispatchFixture) -> None:
    """The queue accepted the message, and its answer was lost."""
    flood(services)
    put = services.queue.put

    def losing(some: Sequence[Outgoing]) -> Sequence[int]:
        put(some)
        return range(len(some))

    replace_put(services, losing)
    dispatch(services, messages(1))
    assert posted(services) == ["txn_1"]
    assert dispatch(services, come(services.queue.sent)) == []
    assert posted(services) == ["txn_1"]
    assert services.telemetry.counts["Duplicates"] == 1


def test_a_slow_queue_takes_no_more_of_the_batch_than_reads_do() -> None:
    """Each of these messages is a request of its own, and another account's event waits."""
    services = TimedDispatchFixture()
    dispatcher = services.one_thread()
    services.add()
    services.add(2, account_id="acc_2")
    services.now_ms -= services.now_ms % MINUTE_MS
    numbers = range(1000, 1000 + MOST_UNGROUPED)
    assert services.invoke(services.messages(*(event(one) for one in numbers))) == []
    services.sender.posts.clear()
    services.slow(services.queue, "put", 4.0)
    large = {"to": "a@example.com", "note": "x" * 50_000}
    arrays = [
        f"[{','.join(event(20 * one + other, data=large) for other in range(20))}]"
        for one in range(5)
    ]
    assert services.invoke(services.messages(*arrays, event(200, account_id="acc_2"))) == []
    assert services.remaining >= 60.0 - 2 * 4.0
    assert [one.group for one in services.queue.sent] == ["acc_1"] * 2
    assert "txn_200" in posted(services)
    assert dispatcher.dispatch(come(services.queue.sent), lambda: 60.0) == []
    assert posted(services) == sorted(f"txn_{one}" for one in [*range(100), 200])


def test_without_time_for_a_request_none_is_made(services: DispatchFixture) -> None:
    flood(services)
    # There is time to read the message, and none to begin its attempts.
    times = iter([60.0])
    assert services.dispatcher.dispatch(messages(1), lambda: next(times, 20.0)) == []
    [left] = services.queue.sent
    assert (left.group, left.delay_seconds) == ("acc_1", UNREAD_DELAY_SECONDS)
    assert services.telemetry.counts["GroupedMessages"] == 0


def test_an_event_that_is_claimed_is_put_back_with_its_time_and_is_not_held(
    services: DispatchFixture,
) -> None:
    flood(services)
    text = event(1, timestamp=None)
    dispatch(services, [QueueMessage("m", text, samples.NOW_MS)])
    [back] = services.queue.sent
    services.now_ms += 5_000
    assert dispatch(services, come([back])) == []
    [(_, body, _)] = services.sender.posts
    assert json.loads(body)["timestamp"] == "2025-12-21T10:30:00.000Z"
    assert "HeldEvents" not in services.telemetry.counts


def test_the_accounts_limit_counts_them_once() -> None:
    services = DispatchFixture(events_per_minute=MOST_UNGROUPED + 10)
    services.add()
    services.now_ms -= services.now_ms % MINUTE_MS
    flood(services)
    dispatch(services, messages(*range(11)))
    back = services.queue.sent.copy()
    assert len(back) == 11
    assert [one.delays for one in back] == [0] * 11
    services.queue.sent.clear()
    assert dispatch(services, come(back)) == []
    assert services.queue.sent == []
    assert len(services.sender.posts) == 11


def test_their_age_is_from_their_first_arrival(services: DispatchFixture) -> None:
    flood(services)
    dispatch(services, messages(1, arrived_at_ms=samples.NOW_MS - 90_000))
    back = come(services.queue.sent)
    before = len(services.telemetry.times[OLDEST_EVENT_AGE])
    assert services.batches.handle(back, lambda: 60.0) == []
    assert services.telemetry.times[OLDEST_EVENT_AGE][before:] == [
        services.now_ms - samples.NOW_MS + 90_000
    ]


def test_the_log_names_an_account_once_a_minute_and_the_metric_counts_all(
    services: DispatchFixture,
) -> None:
    flood(services)
    for number in range(3):
        dispatch(services, messages(number))
    assert services.telemetry.logged("messages_grouped") == [{"account_id": "acc_1"}]
    assert services.telemetry.counts["GroupedMessages"] == 3
    services.now_ms += MINUTE_MS
    dispatch(services, messages(4))
    assert len(services.telemetry.logged("messages_grouped")) == 2


def test_a_suspect_that_is_put_back_is_one_no_longer(services: DispatchFixture) -> None:
    flood(services)
    dispatch(services, messages(1, suspicions=1))
    [back] = services.queue.sent
    assert back.suspicions == 0


def test_all_of_a_flood_arrives_once(services: DispatchFixture) -> None:
    waiting = messages(*range(200))
    while waiting:
        assert dispatch(services, waiting[:10]) == []
        waiting = waiting[10:] + come(services.queue.sent)
        services.queue.sent.clear()
    assert posted(services) == sorted(f"txn_{one}" for one in range(200))
    assert {one.status for one in services.stored()} == {Status.SUCCEEDED}
