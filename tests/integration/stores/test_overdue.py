"""The contract of the stores of overdue work, held against fakes and DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.jobs import check, erasure, replay
from support.stores import on_dynamodb, overdue_keys
from webhooks.adapters.dynamodb.item_keys import delivery_key
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.jobs.run import Run

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
    """Also if many were due at the same moment."""
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
def test_finished_work_is_no_longer_overdue(stores: Stores, changes: dict[str, Any]) -> None:
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


def test_an_exhausted_delivery_without_its_notice_is_overdue(stores: Stores) -> None:
    untold = _due(1, NOW_MS - 1, status=Status.EXHAUSTED)
    stores.deliveries.create(untold)
    assert overdue_keys(stores, NOW_MS) == [untold.key]


RETENTION_MS = 30 * 86_400_000
DAY_MS = 86_400_000


def _waiting(number: int, **changes: Any) -> Delivery:
    delivery = replace(_due(number, NOW_MS, attempts=()), next_attempt_at_ms=None)
    return replace(delivery, status=Status.WAITING, reason="webhook_down", **changes)


def test_a_waiting_delivery_is_due_a_day_before_its_retention_ends(stores: Stores) -> None:
    waiting = _waiting(1)
    assert stores.deliveries.create(waiting) == waiting
    notice_ms = NOW_MS + RETENTION_MS - DAY_MS
    assert overdue_keys(stores, notice_ms) == []
    assert overdue_keys(stores, notice_ms + 1) == [waiting.key]
    assert stores.deliveries.get(waiting.key) == waiting, "that is no attempt's time"
    assert stores.deliveries.get_many([waiting.key]) == {waiting.key: waiting}


def test_an_attempt_of_a_waiting_delivery_moves_the_end_of_its_retention(stores: Stores) -> None:
    waiting = _waiting(1)
    stores.deliveries.create(waiting)
    probe = samples.attempt(number=1, started_at_ms=NOW_MS + 5 * DAY_MS, probe=True)
    probed = waiting.after(probe, Status.WAITING)
    assert stores.deliveries.update(probed, before=waiting)
    assert overdue_keys(stores, NOW_MS + RETENTION_MS) == []
    assert overdue_keys(stores, NOW_MS + RETENTION_MS + 4 * DAY_MS + 1) == [waiting.key]


def test_a_waiting_delivery_that_is_drained_leaves_the_index(stores: Stores) -> None:
    waiting = _waiting(1)
    stores.deliveries.create(waiting)
    attempt = samples.attempt(number=1, error=None, status_code=204)
    assert stores.deliveries.update(waiting.after(attempt, Status.SUCCEEDED), before=waiting)
    assert overdue_keys(stores, NOW_MS + 10 * RETENTION_MS) == []


def test_the_notice_of_an_expiring_delivery_is_noted_once(stores: Stores) -> None:
    waiting = _waiting(1)
    stores.deliveries.create(waiting)
    assert stores.deliveries.note_expiring(waiting)
    assert not stores.deliveries.note_expiring(waiting)
    assert overdue_keys(stores, NOW_MS + 10 * RETENTION_MS) == []
    noted = replace(waiting, expiring=True)
    assert stores.deliveries.get(waiting.key) == noted
    probed = noted.after(samples.attempt(number=1), Status.WAITING)
    assert stores.deliveries.update(probed, before=noted)
    assert overdue_keys(stores, NOW_MS + 10 * RETENTION_MS) == [waiting.key], "it is kept longer"


@pytest.mark.parametrize("changes", [{"status": Status.RETRYING}, {"generation": 1}])
def test_a_delivery_that_changed_meanwhile_is_not_noted(
    stores: Stores, changes: dict[str, Any]
) -> None:
    waiting = _waiting(1)
    stores.deliveries.create(replace(waiting, **changes))
    assert not stores.deliveries.note_expiring(waiting)
    assert not stores.deliveries.note_expiring(_waiting(2)), "nothing is made of an absent one"
    assert stores.deliveries.get(_waiting(2).key) is None


def test_a_waiting_record_of_the_version_before_is_read_and_changed(dynamodb: Any) -> None:
    """It is not in the index: its owner is not notified, as before."""
    stores = on_dynamodb(dynamodb, lambda: NOW_MS / 1000)
    waiting = _waiting(1)
    stores.deliveries.create(waiting)
    dynamodb.update_item(
        TableName="DeliveriesTable",
        Key=delivery_key(waiting.key),
        UpdateExpression="REMOVE due, next_attempt_at",
    )
    assert stores.deliveries.get(waiting.key) == waiting
    assert overdue_keys(stores, NOW_MS + 10 * RETENTION_MS) == []
    drained = waiting.after(samples.attempt(number=1, error=None), Status.SUCCEEDED)
    assert stores.deliveries.update(drained, before=waiting)


def test_running_jobs_are_overdue_by_the_time_of_their_next_step(stores: Stores) -> None:
    jobs: list[tuple[Any, Any]] = [
        (stores.erasures, erasure(1, run=Run(due_at_ms=NOW_MS + 3))),
        (stores.checks, check(2, run=Run(due_at_ms=NOW_MS + 1))),
        (stores.replays, replay(3, run=Run(due_at_ms=NOW_MS + 2))),
    ]
    for store, job in jobs:
        assert store.create(job)
    due = [jobs[1][1].key, jobs[2][1].key, jobs[0][1].key]
    assert list(stores.overdue_jobs.overdue(NOW_MS + 4, 10)) == due
    assert list(stores.overdue_jobs.overdue(NOW_MS + 4, 2)) == due[:2]
    assert list(stores.overdue_jobs.overdue(NOW_MS + 2, 10)) == due[:1]
    for store, job in jobs:
        found = store.get(job.key)
        assert found.run.due_at_ms == job.run.due_at_ms
    kept = replace(jobs[0][1], run=Run(due_at_ms=NOW_MS + 9), steps=1)
    assert stores.erasures.save(jobs[0][1], kept)
    assert list(stores.overdue_jobs.overdue(NOW_MS + 4, 10)) == due[:2]
    failed = jobs[2][1].ended(ReplayStatus.FAILED, NOW_MS)
    assert stores.replays.save(jobs[2][1], failed)
    assert list(stores.overdue_jobs.overdue(NOW_MS + 4, 10)) == due[:1]
    assert overdue_keys(stores, NOW_MS + 10) == [], "no delivery is among them"
