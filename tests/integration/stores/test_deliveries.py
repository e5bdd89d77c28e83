"""The contract of the delivery stores, held against the fakes and against DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from webhooks.domain.delivery import Claim, DeliveryKey, FailureReason, Status, delivery_id
from webhooks.domain.event import Event, EventClaim, EventType, Holder
from webhooks.ports import DeliveryQuery

if TYPE_CHECKING:
    from support.stores import Clock, Stores
    from webhooks.domain.delivery import Delivery

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"body": b'{"a":"' + b"x" * 5000 + b'"}'},
        {"body": '{"a":"\\u0000 \\ud800 ü \U0001f600"}'.encode()},
        {"status": Status.EXHAUSTED, "next_attempt_at_ms": None, "reason": "timeout"},
        {"attempts": (), "status": Status.WAITING, "next_attempt_at_ms": None},
        {"short": True, "unstarted": True, "claim": Claim("inv_1", samples.NOW_MS, 2)},
        {
            "attempts": (
                samples.attempt(1, status_code=None, error=FailureReason.TIMEOUT, response_body=""),
                samples.attempt(2, response_body="é\\x00 " + "y" * 1000),
            )
        },
    ],
)
def test_a_delivery_comes_back_as_it_was_put_in(stores: Stores, changes: dict[str, Any]) -> None:
    delivery = samples.delivery(**changes)
    assert stores.deliveries.create(delivery) == delivery
    assert stores.deliveries.get(delivery.key) == delivery
    assert stores.deliveries.get_many([delivery.key]) == {delivery.key: delivery}


def test_creating_a_delivery_twice_returns_the_first(stores: Stores) -> None:
    first = samples.delivery()
    second = samples.delivery(attempts=(samples.attempt(started_at_ms=samples.NOW_MS + 9),))
    assert stores.deliveries.create(first) == first
    assert stores.deliveries.create(second) == first
    assert stores.deliveries.get(first.key) == first


def test_a_failure_never_overwrites_a_success(stores: Stores) -> None:
    success = _succeeded(samples.delivery(attempts=(), next_attempt_at_ms=None))
    assert stores.deliveries.put_settled([success]) == []
    failure = samples.delivery()
    assert stores.deliveries.create(failure) == success
    assert not stores.deliveries.update(failure, before=samples.delivery())
    assert stores.deliveries.get(success.key) == success


def test_a_success_is_written_over_a_failure(stores: Stores) -> None:
    stores.deliveries.create(samples.delivery())
    success = _succeeded(samples.delivery(attempts=(), next_attempt_at_ms=None))
    assert stores.deliveries.put_settled([success]) == []
    assert stores.deliveries.get(success.key) == success


def test_more_deliveries_than_one_request_takes_are_written_and_read(stores: Stores) -> None:
    deliveries = [_succeeded(samples.delivery(number)) for number in range(1, 121)]
    assert stores.deliveries.put_settled(deliveries) == []
    keys = [delivery.key for delivery in deliveries]
    absent = DeliveryKey("acc_1", samples.WEBHOOK_ID, "00000000-0000-7000-8000-000000000000")
    assert stores.deliveries.get_many([*keys, absent]) == dict(zip(keys, deliveries, strict=True))


def test_an_attempt_is_recorded_over_a_delivery_under_way(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    after = delivery.after(samples.attempt(2), Status.EXHAUSTED)
    assert stores.deliveries.update(after, before=samples.delivery())
    assert stores.deliveries.get(delivery.key) == after


def test_recording_the_same_attempt_again_is_known_as_done(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    after = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    assert stores.deliveries.update(after, before=samples.delivery())
    assert stores.deliveries.update(after, before=samples.delivery())
    stored = stores.deliveries.get(delivery.key)
    assert stored is not None
    assert [attempt.number for attempt in stored.attempts] == [1, 2]


def test_the_slower_of_two_recorders_learns_it(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    faster = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    slower = delivery.after(samples.attempt(2, duration_ms=99), Status.RETRYING, samples.NOW_MS)
    assert stores.deliveries.update(faster, before=samples.delivery())
    assert not stores.deliveries.update(slower, before=samples.delivery())
    assert stores.deliveries.get(delivery.key) == faster


def test_when_a_delivery_is_due_is_part_of_what_it_was_read_as(stores: Stores) -> None:
    due = samples.delivery(status=Status.EXHAUSTED, next_attempt_at_ms=samples.NOW_MS)
    stores.deliveries.create(due)
    told = replace(due, next_attempt_at_ms=None)
    by_hand = due.after(samples.attempt(2, manual=True), Status.EXHAUSTED, samples.NOW_MS)
    assert stores.deliveries.update(told, before=due)
    assert not stores.deliveries.update(by_hand, before=due)
    again = replace(told, next_attempt_at_ms=samples.NOW_MS + 1)
    assert stores.deliveries.update(again, before=told)
    assert not stores.deliveries.update(by_hand, before=told)
    assert stores.deliveries.get(due.key) == again


def test_an_absent_delivery_cannot_be_updated(stores: Stores) -> None:
    assert not stores.deliveries.update(samples.delivery(), before=samples.delivery())
    assert stores.deliveries.get(samples.delivery().key) is None


def test_a_hundred_recorders_of_one_attempt_leave_one(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    rivals = [
        delivery.after(samples.attempt(2, duration_ms=number), Status.EXHAUSTED)
        for number in range(100)
    ]
    with ThreadPoolExecutor(16) as pool:
        results = list(
            pool.map(
                lambda rival: stores.deliveries.update(rival, before=samples.delivery()), rivals
            )
        )
    assert results.count(True) == 1
    assert stores.deliveries.get(delivery.key) == rivals[results.index(True)]


def test_a_delivery_is_kept_for_its_retention_from_the_last_that_happened(
    dynamodb_stores: Stores, clock: Clock
) -> None:
    store = dynamodb_stores.deliveries
    waiting_ms = samples.NOW_MS + 40 * DAY_MS
    delivery = samples.delivery(next_attempt_at_ms=waiting_ms)
    store.create(delivery)
    clock.seconds = waiting_ms / 1000
    assert store.get(delivery.key) == delivery
    late = samples.attempt(2, started_at_ms=waiting_ms)
    exhausted = delivery.after(late, Status.EXHAUSTED)
    assert store.update(exhausted, before=delivery)
    clock.seconds = waiting_ms / 1000 + 30 * DAY_MS / 1000 - 1
    assert store.get(delivery.key) == exhausted
    assert store.get_many([delivery.key]) == {delivery.key: exhausted}
    clock.seconds += 1
    assert store.get(delivery.key) is None
    assert store.get_many([delivery.key]) == {}
    again = samples.delivery(created_at_ms=int(clock.seconds * 1000))
    assert store.create(again) == again


@pytest.mark.parametrize("waits_days", [0, 40])
def test_what_is_started_again_and_again_is_kept_no_longer_for_it_and_no_less(
    dynamodb_stores: Stores, clock: Clock, waits_days: int
) -> None:
    """Also if a schedule's delay is longer than the retention."""
    store = dynamodb_stores.deliveries
    due_ms = samples.NOW_MS + waits_days * DAY_MS
    delivery = samples.delivery(next_attempt_at_ms=due_ms)
    store.create(delivery)
    for days in range(30):
        clock.seconds = due_ms / 1000 + days * DAY_MS / 1000
        again = delivery.restarted(due_ms + (days + 1) * DAY_MS)
        assert store.update(again, before=delivery)
        assert store.get(delivery.key) == again
        delivery = again
    assert delivery.restarts == 30
    clock.seconds = due_ms / 1000 + 30 * DAY_MS / 1000 - 1
    assert store.get(delivery.key) == delivery
    clock.seconds += 1
    assert store.get(delivery.key) is None

    clock.seconds -= 1
    attempted = delivery.after(
        samples.attempt(2, started_at_ms=int(clock.seconds * 1000)), Status.EXHAUSTED
    )
    assert store.update(attempted, before=delivery)
    clock.seconds += 29 * DAY_MS / 1000
    assert store.get(delivery.key) == attempted
    assert attempted.restarts == 0


def first_ms(stores: Stores, event: Event) -> int:
    """Return the time that a claim settles, for one batch after the other."""
    return stores.deliveries.claim(event, Holder("one", samples.NOW_MS)).occurred_at_ms


def test_the_first_copys_time_holds_for_all_copies_of_an_event(stores: Stores) -> None:
    first = _event(samples.NOW_MS)
    assert first_ms(stores, first) == samples.NOW_MS
    assert first_ms(stores, _event(samples.NOW_MS + 9)) == samples.NOW_MS
    assert first_ms(stores, first) == samples.NOW_MS
    other = replace(_event(samples.NOW_MS + 9), account_id="acc_2")
    assert first_ms(stores, other) == samples.NOW_MS + 9


@pytest.mark.parametrize("later_ms", [0, 9])
def test_an_event_is_held_for_the_batch_that_claimed_it_first(
    stores: Stores, later_ms: int
) -> None:
    """A copy that came at the very same time is a copy like any other."""
    now_ms = samples.NOW_MS
    copy = _event(now_ms + later_ms)
    claim = stores.deliveries.claim
    assert claim(_event(now_ms), Holder("one", now_ms)) == EventClaim(now_ms)
    assert claim(copy, Holder("two", now_ms + 50)) == EventClaim(now_ms, held=True)
    # The answer to the first claim was lost, or its batch has the copy too.
    assert claim(_event(now_ms), Holder("one", now_ms + 50)) == EventClaim(now_ms)
    assert claim(copy, Holder("one", now_ms + 50)) == EventClaim(now_ms)
    # A message that failed before has no holder.
    assert claim(copy, Holder("two", now_ms + 50, take_over=True)) == EventClaim(now_ms)
    until_ms = now_ms + 60_000 + 50
    assert claim(copy, Holder("three", until_ms)) == EventClaim(now_ms)
    other = replace(copy, account_id="acc_2")
    assert claim(other, Holder("two", now_ms)) == EventClaim(copy.occurred_at_ms)


def test_of_many_claims_at_once_one_batch_has_the_event(stores: Stores) -> None:
    holders = [Holder(f"batch-{number}", samples.NOW_MS) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        claims = list(
            pool.map(
                lambda holder: stores.deliveries.claim(_event(samples.NOW_MS), holder), holders
            )
        )
    assert sum(not claim.held for claim in claims) == 1


def test_a_claim_of_the_version_before_holds_nothing(dynamodb_stores: Stores) -> None:
    store: Any = dynamodb_stores.deliveries
    event = _event(samples.NOW_MS)
    item = {
        "owner": {"S": f"{event.account_id}#event"},
        "delivery_id": {"S": event.id},
        "occurred_at": {"N": str(samples.NOW_MS)},
    }
    store._client.put_item(TableName="DeliveriesTable", Item=item)
    for copy in (event, _event(samples.NOW_MS + 9)):
        claim = store.claim(copy, Holder("two", samples.NOW_MS))
        assert claim == EventClaim(samples.NOW_MS)


def test_a_manual_attempt_is_recorded_over_a_settled_delivery(stores: Stores) -> None:
    exhausted = samples.delivery(status=Status.EXHAUSTED, next_attempt_at_ms=None)
    stores.deliveries.create(exhausted)
    again = exhausted.after(
        samples.attempt(2, status_code=200, error=None, manual=True), Status.SUCCEEDED
    )
    assert not stores.deliveries.update(again, before=samples.delivery())
    assert stores.deliveries.update(again, before=exhausted)
    assert stores.deliveries.get(again.key) == again
    assert stores.log.page(_query(status=Status.EXHAUSTED), 10).items == []


def _hourly(count: int, **changes: Any) -> list[Delivery]:
    """One delivery an hour, oldest first, every third exhausted and every other bounced."""
    deliveries = []
    for hour in range(count):
        values = {
            "id": delivery_id(f"evt_{hour}", samples.NOW_MS + hour * 3_600_000, samples.WEBHOOK_ID),
            "event_id": f"evt_{hour}",
            "event_type": "email.bounced" if hour % 2 else "email.delivered",
            **changes,
        }
        exhausted = samples.delivery(
            **values, status=Status.EXHAUSTED, next_attempt_at_ms=None, reason="timeout"
        )
        deliveries.append(exhausted if hour % 3 == 0 else _succeeded(samples.delivery(**values)))
    return deliveries


def _query(**filters: Any) -> DeliveryQuery:
    return DeliveryQuery("acc_1", samples.WEBHOOK_ID, **filters)


def _pages(stores: Stores, query: DeliveryQuery, limit: int) -> list[Delivery]:
    found: list[Delivery] = []
    before = None
    for _ in range(100):
        page = stores.log.page(query, limit, before)
        assert len(page.items) <= limit
        found += page.items
        before = page.next
        if before is None:
            return found
    pytest.fail("the pages do not end")


@pytest.mark.parametrize("limit", [1, 4, 30])
@pytest.mark.parametrize(
    ("filters", "hours"),
    [
        ({}, range(30)),
        ({"status": Status.EXHAUSTED}, range(0, 30, 3)),
        ({"status": Status.SUCCEEDED}, [hour for hour in range(30) if hour % 3]),
        ({"status": Status.WAITING}, []),
        ({"event_type": "email.bounced"}, range(1, 30, 2)),
        ({"status": Status.EXHAUSTED, "event_type": "email.bounced"}, range(3, 30, 6)),
        ({"since_ms": samples.NOW_MS + 5 * 3_600_000}, range(5, 30)),
        ({"until_ms": samples.NOW_MS + 5 * 3_600_000}, range(6)),
        (
            {
                "since_ms": samples.NOW_MS + 2 * 3_600_000,
                "until_ms": samples.NOW_MS + 8 * 3_600_000,
                "status": Status.EXHAUSTED,
            },
            (3, 6),
        ),
    ],
)
def test_the_log_shows_what_matches_newest_first_on_any_page_size(
    stores: Stores, limit: int, filters: dict[str, Any], hours: Any
) -> None:
    deliveries = _hourly(30)
    for delivery in [*deliveries, samples.delivery(2), samples.delivery(account_id="acc_2")]:
        stores.deliveries.create(delivery)
    expected = [deliveries[hour] for hour in reversed(list(hours))]
    assert _pages(stores, _query(**filters), limit) == expected


def _event(occurred_at_ms: int) -> Event:
    return Event(
        account_id="acc_1",
        id=samples.EVENT_ID,
        type=EventType.DELIVERED,
        transaction_id="txn_1",
        timestamp="2025-12-21T10:30:00.000Z",
        occurred_at_ms=occurred_at_ms,
        body=b"{}",
        id_fixes_time=False,
    )


def _succeeded(delivery: Any) -> Any:
    attempt = samples.attempt(1, status_code=200, error=None, response_body="")
    return replace(delivery, attempts=(attempt,), status=Status.SUCCEEDED, next_attempt_at_ms=None)
