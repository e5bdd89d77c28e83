"""What the stores of overdue work promise, held against fakes and DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.stores import overdue_keys
from webhooks.domain.delivery import Delivery, Status, delivery_id

if TYPE_CHECKING:
    from support.stores import Stores

NOW_MS = samples.NOW_MS


def _due(number: int, due_ms: int, **changes: Any) -> Delivery:
    event_id = f"evt_{number}"
    return samples.delivery(
        id=delivery_id(event_id, NOW_MS, samples.WEBHOOK_ID),
        event_id=event_id,
        next_attempt_at_ms=due_ms,
        **changes,
    )


def test_what_was_due_before_a_time_is_found_whatever_its_id(stores: Stores) -> None:
    late = [_due(number, NOW_MS - 1 - number) for number in range(64)]
    for delivery in [*late, *(_due(100 + number, NOW_MS) for number in range(32))]:
        stores.deliveries.create(delivery)
    assert len({delivery.id[-1] for delivery in late}) == 16
    found = overdue_keys(stores, NOW_MS)
    assert sorted(found) == sorted(delivery.key for delivery in late)


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_overdue_work_is_found_page_by_page_the_longest_overdue_first(
    stores: Stores, limit: int
) -> None:
    """Also where many were due at the same moment."""
    due = [_due(number, NOW_MS - 1 - number // 32) for number in range(128)]
    for delivery in due:
        stores.deliveries.create(delivery)
    found = overdue_keys(stores, NOW_MS, limit=limit)
    assert sorted(found) == sorted(delivery.key for delivery in due)
    times = {delivery.key: delivery.next_attempt_at_ms for delivery in due}
    for partition in stores.overdue.partitions:
        mine = [times[key] for key in found if key.delivery_id.endswith(partition)]
        assert mine == sorted(mine, key=lambda at: at or 0)


def test_overdue_work_is_found_from_a_time_on(stores: Stores) -> None:
    due = [_due(number, NOW_MS - number) for number in range(1, 65)]
    for delivery in due:
        stores.deliveries.create(delivery)
    found = overdue_keys(stores, NOW_MS - 2, since_ms=NOW_MS - 40, limit=2)
    assert sorted(found) == sorted(delivery.key for delivery in due[2:40])


@pytest.mark.parametrize(
    "changes",
    [
        {"status": Status.WAITING, "next_attempt_at_ms": None, "reason": "webhook_down"},
        {"status": Status.EXHAUSTED, "next_attempt_at_ms": None, "reason": "timeout"},
        {"status": Status.CANCELLED, "next_attempt_at_ms": None, "reason": "webhook_deleted"},
    ],
)
def test_what_is_due_no_more_is_overdue_no_more(stores: Stores, changes: dict[str, Any]) -> None:
    delivery = _due(1, NOW_MS - 1)
    stores.deliveries.create(delivery)
    assert overdue_keys(stores, NOW_MS) == [delivery.key]
    assert stores.deliveries.update(replace(delivery, **changes), before=delivery)
    assert overdue_keys(stores, NOW_MS) == []


def test_a_success_put_over_an_overdue_delivery_is_overdue_no_more(stores: Stores) -> None:
    delivery = _due(1, NOW_MS - 1)
    stores.deliveries.create(delivery)
    success = replace(delivery, status=Status.SUCCEEDED, next_attempt_at_ms=None)
    assert stores.deliveries.put_settled([success]) == []
    assert overdue_keys(stores, NOW_MS) == []


def test_an_exhausted_delivery_that_nobody_told_of_is_overdue(stores: Stores) -> None:
    untold = _due(1, NOW_MS - 1, status=Status.EXHAUSTED)
    stores.deliveries.create(untold)
    assert overdue_keys(stores, NOW_MS) == [untold.key]
