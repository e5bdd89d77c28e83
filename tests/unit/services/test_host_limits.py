"""The limit of requests a second to a host, with one dispatcher and with several at once."""

from __future__ import annotations

import json
from collections import Counter
from urllib.parse import urlsplit

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import DispatchFixture, event
from unit.services.dispatch.fleet import Fleet
from webhooks.domain.delivery import Status
from webhooks.domain.health import Circuit, Health
from webhooks.domain.host_turns import (
    UNASKED_AT_ONCE,
    UNASKED_SECONDS,
    UNASKED_SHARE,
    Bucket,
    delays,
    line_ms,
)
from webhooks.domain.resending import ASKED
from webhooks.services.dispatch.event_limits import LONGEST_DELAY_SECONDS
from webhooks.services.dispatch.messages import QueueMessage
from webhooks.services.host_limits import PACED_ENDS_AFTER_MS, Turns

RATE = 20
UNASKED = 10
"""An invocation's requests without a reservation, also the bucket's capacity at 20 a second."""
URL = "https://shop.example.com/hook"


def made(rate: int = RATE, webhooks: int = 1, host: str = "shop.example.com") -> DispatchFixture:
    services = DispatchFixture(requests_per_host=rate)
    for number in range(1, webhooks + 1):
        services.add(number, url=f"https://{host}/hook{number}")
    return services


def messages(count: int, first: int = 0, **changes: object) -> list[QueueMessage]:
    return [
        QueueMessage(f"m{one}", event(one, **changes), samples.NOW_MS, "acc_1")
        for one in range(first, first + count)
    ]


def dispatch(services: DispatchFixture, some: list[QueueMessage]) -> None:
    assert services.dispatcher.dispatch(some, lambda: 60.0) == []


def hosts(services: DispatchFixture) -> Counter[str | None]:
    return Counter(urlsplit(url).hostname for url, _, _ in services.sender.posts)


def test_a_bucket_fills_slowly_and_holds_no_more_than_it_may() -> None:
    bucket = Bucket.full(200, 0.0)
    assert 200 * UNASKED_SECONDS == 100
    assert [bucket.take(7, 200, 0.0), bucket.take(70, 200, 0.0)] == [7, UNASKED_AT_ONCE]
    assert [bucket.take(10, 200, 0.0) for _ in range(9)] == [10] * 8 + [3]
    assert bucket.take(10, 200, 1.0) == 200 * UNASKED_SHARE == 4
    assert sum(bucket.take(10, 200, 3600.0) for _ in range(20)) == 100
    # A clock that goes back fills nothing.
    assert bucket.take(7, 200, 0.0) == 0


def test_turns_of_a_lot_are_kept_for_a_second() -> None:
    bucket = Bucket.full(1, 0.0)
    bucket.take(1, 1, 0.0)
    bucket.keep(5, 10.0)
    assert [bucket.take(2, 1, 10.9), bucket.take(2, 1, 11.0)] == [2, 0]


def test_turns_follow_each_other_at_the_rate() -> None:
    assert line_ms(50, 20) == 2500
    assert line_ms(1, 3) == 334
    found = delays(10_000, 100, 20, 10_000)
    assert found == [0] * 20 + [1] * 20 + [2] * 20 + [3] * 20 + [4] * 20
    assert delays(12_900, 2, 20, 10_000) == [2, 2]


def test_a_process_with_few_requests_to_a_host_asks_for_nothing() -> None:
    services = made(200)
    for batch in range(10):
        dispatch(services, messages(10, 10 * batch))
    assert len(services.sender.posts) == 100
    assert services.host_turns.writes == 0


def test_a_busy_process_asks_once_for_many() -> None:
    services = made(200)
    for batch in range(30):
        dispatch(services, messages(10, 10 * batch))
        services.now_ms += 50
    # A hundred without a reservation, then lots of fifty.
    assert len(services.sender.posts) == 300
    assert services.host_turns.writes <= 4


def test_what_is_above_the_rate_comes_again_in_its_turn_and_only_that() -> None:
    services = made(webhooks=5)
    services.add(9, account_id="acc_2", url="https://shop.example.com/")
    some = messages(20)
    other = QueueMessage("other", event(99, account_id="acc_2"), samples.NOW_MS, "acc_2")
    dispatch(services, [*some, other])
    # Ten are without a reservation, a second's turns are at once.
    assert len(services.sender.posts) == UNASKED + RATE + 1
    assert services.host_turns.writes == 1
    assert {(one.group, one.paced, one.delays) for one in services.queue.sent} == {("acc_1", 1, 0)}
    by_second: Counter[int] = Counter()
    for one in services.queue.sent:
        parts = json.loads(one.body)
        parts = parts if isinstance(parts, list) else [parts]
        by_second[one.delay_seconds] += sum(len(part["webhooks"]) for part in parts)
    assert by_second == {1: 20, 2: 20, 3: 20, 4: 10}
    assert services.telemetry.counts["PacedDeliveries"] == 70
    assert "PostponedDeliveries" not in services.telemetry.counts
    assert services.telemetry.logged("deliveries_paced") == [{"account_id": "acc_1", "rate": RATE}]


def test_what_has_its_turn_is_not_counted_again() -> None:
    services = made(webhooks=5)
    dispatch(services, messages(20))
    again = [
        QueueMessage(f"a{number}", one.body, samples.NOW_MS, one.group, paced=one.paced)
        for number, one in enumerate(services.queue.sent)
    ]
    services.queue.sent.clear()
    dispatch(services, again)
    assert services.queue.sent == []
    assert services.host_turns.writes == 1
    assert len(services.sender.posts) == 100


def test_an_account_of_its_own_has_a_line_of_its_own_and_so_has_a_host() -> None:
    services = made(webhooks=1)
    services.add(2, url="https://other.example.com/")
    services.add(3, account_id="acc_2", url="https://shop.example.com/")
    mine = messages(60)
    theirs = [
        QueueMessage(f"t{one}", event(one, account_id="acc_2"), samples.NOW_MS, "acc_2")
        for one in range(12)
    ]
    dispatch(services, [*mine, *theirs])
    assert hosts(services)["other.example.com"] == RATE + UNASKED
    assert hosts(services)["shop.example.com"] == RATE + UNASKED + 12
    assert len(services.host_turns.next_ms) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"health": Health(circuit=Circuit.OPEN, recovery_id="r")},
        {"health": Health(not_before_ms=samples.NOW_MS + 60_000)},
        {"health": Health(not_before_ms=samples.NOW_MS + 60_000, recovery_id="r")},
    ],
    ids=["disabled", "down", "paused", "paused with a recovery"],
)
def test_what_is_not_sent_takes_no_turn(changes: dict[str, object]) -> None:
    services = DispatchFixture(requests_per_host=RATE)
    services.add(1, url=URL, **changes)
    dispatch(services, messages(50))
    assert services.host_turns.writes == 0
    assert {one.status for one in services.stored()} == {Status.WAITING}
    assert len(services.stored()) == 50


def test_a_line_that_is_too_long_is_asked_again_later() -> None:
    services = made()
    now_ms = services.now_ms
    services.host_turns.next_ms["acc_1", "shop.example.com"] = (
        now_ms + LONGEST_DELAY_SECONDS * 1000 + 1
    )
    dispatch(services, messages(UNASKED + 1))
    assert len(services.sender.posts) == UNASKED
    [back] = services.queue.sent
    assert (back.paced, back.delay_seconds) == (ASKED, LONGEST_DELAY_SECONDS)
    # For no longer than a message may stay: then it is sent.
    arrived = now_ms - PACED_ENDS_AFTER_MS - 1
    part = json.loads(back.body) | {"arrived_at_ms": arrived}
    dispatch(services, [QueueMessage("old", json.dumps(part), arrived, "acc_1", paced=back.paced)])
    assert len(services.sender.posts) == UNASKED + 1
    # An old message without a reservation is an operator's redrive.
    services.queue.sent.clear()
    dispatch(services, [messages(1, first=70)[0]._replace(arrived_at_ms=arrived)])
    assert len(services.queue.sent) == 1


def test_where_the_line_cannot_be_had_all_is_sent() -> None:
    services = made()
    services.host_turns.failures.plan("reserve", True)
    dispatch(services, messages(50))
    assert len(services.sender.posts) == 50
    assert services.telemetry.logged("turns_not_reserved")


def test_a_flood_that_the_line_cannot_take_asks_again() -> None:
    """DynamoDB takes a thousand writes a second of one item."""
    services = made()
    dispatch(services, messages(UNASKED + 10 * RATE))
    posts = len(services.sender.posts)
    services.queue.sent.clear()
    services.host_turns.failures.plan("reserve", True)
    dispatch(services, messages(5, first=1000))
    assert len(services.sender.posts) == posts
    [(delay, paced)] = {(one.delay_seconds, one.paced) for one in services.queue.sent}
    assert (1 <= delay < 10, paced) == (True, ASKED)
    # If the line is over, as far as this process knows, nothing waits for it.
    services.now_ms += 10_000
    services.host_turns.failures.plan("reserve", True)
    dispatch(services, messages(50, first=2000))
    assert len(services.sender.posts) == posts + 50


@pytest.mark.parametrize("ahead_seconds", [0, 250, LONGEST_DELAY_SECONDS])
def test_no_batch_waits_longer_than_sqs_takes_however_low_the_rate(ahead_seconds: int) -> None:
    services = made(1, webhooks=90)
    services.host_turns.next_ms["acc_1", "shop.example.com"] = (
        services.now_ms + ahead_seconds * 1000
    )
    dispatch(services, messages(10))
    assert max(one.delay_seconds for one in services.queue.sent) <= LONGEST_DELAY_SECONDS
    turns, asked = Counter[int](), 0
    for one in services.queue.sent:
        parts = json.loads(one.body)
        parts = parts if isinstance(parts, list) else [parts]
        number = sum(len(part["webhooks"]) for part in parts)
        if one.paced == ASKED:
            asked += number
        else:
            turns[one.delay_seconds] += number
    assert set(turns.values()) <= {1}
    assert len(services.sender.posts) + sum(turns.values()) + asked == 900
    assert (sum(turns.values()) > 200) == (ahead_seconds < LONGEST_DELAY_SECONDS)


def test_without_a_rate_nothing_waits() -> None:
    services = made(0)
    dispatch(services, messages(300))
    assert len(services.sender.posts) == 300


@pytest.mark.parametrize("dispatchers", [4, 20])
def test_one_call_to_many_webhooks_of_a_host_is_sent_at_the_rate(dispatchers: int) -> None:
    """A hundred events to twenty webhooks of one host: two thousand requests."""
    rate = 100
    services = made(rate, webhooks=20)
    fleet = Fleet(services, dispatchers)
    fleet.publish(event(one) for one in range(100))
    seconds = fleet.run_out(60)
    sent = [(url, headers["webhook-id"]) for url, _, headers in services.sender.posts]
    assert len(sent) == len(set(sent)) == 2000
    unasked = dispatchers * rate * UNASKED_SECONDS
    assert seconds >= (2000 - unasked) / rate - 2
    # Ten batches, of each of which ten requests are without a reservation.
    assert fleet.posts[0] <= 10 * UNASKED_AT_ONCE + 2 * rate
    for second in range(len(fleet.posts)):
        for length in (1, 5, 10):
            window = sum(fleet.posts[second : second + length])
            refilled = dispatchers * rate * UNASKED_SHARE * length
            assert window <= rate * (length + 2) + unasked + refilled
    # Each delivery waits once at most: an event's message and the rest of it.
    assert fleet.messages <= 100 + 2000
    assert services.host_turns.writes <= 2000 / rate + 100


def test_a_job_gets_what_may_be_sent_now_and_waits_for_the_rest() -> None:
    services = made()
    limits = services.host_limits
    # Ten without a reservation, and a second's turns at most.
    assert limits.turns("acc_1", URL, 15) == Turns(15)
    found = limits.turns("acc_1", URL, 5)
    assert (found.now, found.wait_seconds) == (0, 1.0)
    assert limits.turns("acc_1", "https://other.example.com", 100) == Turns(RATE + UNASKED)
    services.now_ms += 1000
    assert limits.turns("acc_1", URL, 5) == Turns(5)


def test_a_job_is_never_kept_from_all_by_a_line_that_does_not_end() -> None:
    services = made(200)
    services.host_turns.next_ms["acc_1", "shop.example.com"] = services.now_ms + 10**9
    assert services.host_limits.turns("acc_1", URL, 50) == Turns(10)
    services.now_ms += 1000
    for _ in range(9):
        services.host_limits.turns("acc_1", URL, 50)
    services.now_ms += 1000
    assert services.host_limits.turns("acc_1", URL, 50) == Turns(8)


def test_each_event_arrives_once() -> None:
    services = made(50, webhooks=7)
    fleet = Fleet(services, 3)
    fleet.publish(event(one) for one in range(40))
    fleet.run_out(60)
    sent = [(url, headers["webhook-id"]) for url, _, headers in services.sender.posts]
    assert len(sent) == len(set(sent)) == 280
