"""All overdue work has its turn in this sweep or in one of the next, next to any other work."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit, Health
from webhooks.domain.webhook import Secrets
from webhooks.services.jobs.quota import STARTS_AT_ONCE, STARTS_PER_SECOND, Quota
from webhooks.services.jobs.sweep_deliveries import SWEPT_AT_ONCE
from webhooks.services.jobs.turn import SECONDS_FOR_A_CALL

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_MS = 3_600_000
SECONDS_A_CALL = 0.02
FUNCTION_SECONDS = 45.0
"""The worker's time-out in the template."""


class SlowSweepFixture(ServiceFixture):
    """A sweeper among fakes whose calls take time."""

    def __init__(self) -> None:
        super().__init__()
        self.add()
        self.used = 0.0
        self.delivery_sweep._random = random.Random(1).random  # noqa: S311 (a test's)
        for on, methods in {
            self.deliveries: ("get", "get_many", "update"),
            self.scheduler: ("start", "running"),
            self.overdue_deliveries: ("page",),
            self.health_store: ("overdue", "replace"),
            self.overdue_jobs: ("overdue",),
            self.recoveries: ("start",),
        }.items():
            for method in methods:
                setattr(on, method, self.taking_time(getattr(on, method)))

    def quota(self, per_second: float, at_once: int) -> Quota:
        return Quota(
            per_second,
            at_once,
            clock=lambda: self.now_ms / 1000 + self.used,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.used += seconds

    def taking_time(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any, **kwargs: Any) -> Any:
            self.used += SECONDS_A_CALL
            return call(*args, **kwargs)

        return slow

    def sweep(self) -> tuple[int, int]:
        self.used = 0.0
        swept = self.sweep_job.sweep(lambda: FUNCTION_SECONDS - self.used)
        return swept.overdue_deliveries, swept.overdue_recoveries

    def overdue(self, number: int, ago_ms: int = HOUR_MS, *, works: bool = False) -> Delivery:
        """Store a delivery that was due some time ago, and whose execution may go on."""
        event_id = f"evt_{number}"
        delivery = self.put(
            samples.delivery(
                id=delivery_id(event_id, samples.NOW_MS + number, samples.WEBHOOK_ID),
                event_id=event_id,
                next_attempt_at_ms=self.now_ms - ago_ms,
            )
        )
        if works:
            self.scheduler.start(delivery, delay_seconds=0)
        return delivery

    def overdue_recoveries(self, count: int) -> None:
        """Add webhooks whose recoveries stand still."""
        for number in range(1, count + 1):
            health = Health(
                circuit=Circuit.OPEN,
                recovery_id=f"old-{number}",
                recovery_due_at_ms=self.now_ms - HOUR_MS,
            )
            self.store.add(samples.webhook(number, health=health), Secrets(samples.SECRET))

    def started(self, delivery: Delivery) -> bool:
        return self.deliveries.deliveries[delivery.key].generation > 0


@pytest.fixture
def services() -> SlowSweepFixture:
    return SlowSweepFixture()


def test_a_sweep_that_finds_nothing_asks_each_partition_once(services: SlowSweepFixture) -> None:
    assert services.sweep() == (0, 0)
    assert services.used == pytest.approx(18 * SECONDS_A_CALL)
    assert services.telemetry.counts == {
        "OverdueDeliveries": 0,
        "OverdueRecoveries": 0,
        "OverdueJobs": 0,
    }


def test_thousands_that_are_worked_on_keep_nothing_from_its_turn(
    services: SlowSweepFixture,
) -> None:
    """The case of an outage of ours, through which Step Functions tries the steps again."""
    for number in range(2000):
        services.overdue(number, HOUR_MS + number, works=True)
    lost = [services.overdue(3000 + number, HOUR_MS // 2) for number in range(200)]
    services.overdue_recoveries(1)
    assert services.sweep()[1] == 1
    for _ in range(11):
        services.now_ms += 300_000
        services.sweep()
        assert services.used < 35.1
    assert all(services.started(delivery) for delivery in lost)


def test_what_lies_among_thousands_that_are_worked_on_is_found_in_an_hour(
    services: SlowSweepFixture,
) -> None:
    lost = [services.overdue(number, HOUR_MS + number * 2000) for number in range(0, 1000, 100)]
    for number in range(1000):
        services.overdue(5000 + number, HOUR_MS + number * 2000, works=True)
    for _ in range(60):
        if all(services.started(delivery) for delivery in lost):
            break
        services.sweep()
        services.now_ms += 60_000
    assert sum(services.started(delivery) for delivery in lost) == len(lost)


def test_all_that_is_overdue_is_looked_at_where_there_is_time(services: SlowSweepFixture) -> None:
    """Behind the first page it begins anywhere, and reaches the earlier items too."""
    lost = [services.overdue(number, HOUR_MS + number // 20) for number in range(100)]
    assert services.sweep() == (len(lost), 0)
    assert all(services.started(delivery) for delivery in lost)


def test_recoveries_leave_jobs_and_deliveries_three_quarters_of_the_time(
    services: SlowSweepFixture,
) -> None:
    lost = [services.overdue(number) for number in range(20)]
    services.overdue_recoveries(400)
    deliveries, recoveries = services.sweep()
    assert deliveries == len(lost)
    assert 200 < recoveries < 240
    for _ in range(3):
        recoveries += services.sweep()[1]
    assert recoveries == 400


def test_no_partition_is_the_last_each_time(services: SlowSweepFixture) -> None:
    lost = [services.overdue(number) for number in range(400)]
    first: set[str] = set()
    for _ in range(20):
        before = {delivery.id for delivery in lost if services.started(delivery)}
        services.sweep_job.sweep(lambda: 36.1 - services.used)
        services.used = 0.0
        now = {delivery.id for delivery in lost if services.started(delivery)}
        first.update(found[-1] for found in now - before)
    assert len(first) > 8


def test_a_sweep_starts_no_more_than_so_many_again_after_a_look(services: SlowSweepFixture) -> None:
    for number in range(2 * SWEPT_AT_ONCE):
        services.overdue(number)
    restarted = services.sweep_job.sweep(lambda: 60).overdue_deliveries
    assert SWEPT_AT_ONCE <= restarted < SWEPT_AT_ONCE + 8


@pytest.mark.parametrize("short", [True, False])
def test_all_that_could_not_be_started_is_started_by_one_sweep(
    services: SlowSweepFixture, short: bool
) -> None:
    """Thousands after minutes without Step Functions: an attempt is two minutes late at most."""
    count = 4 * SWEPT_AT_ONCE
    for number in range(count):
        delivery = services.overdue(number, 30_000)
        services.put(replace(delivery, unstarted=True, short=short))
    assert services.sweep_job.sweep(lambda: 60).unstarted_deliveries == count
    assert services.scheduler.calls == count


def test_starts_on_standard_keep_their_quota(services: SlowSweepFixture) -> None:
    for number in range(1000):
        services.put(replace(services.overdue(number, 30_000), unstarted=True))
    services.sweep_job.sweep(lambda: SECONDS_FOR_A_CALL + 3 - services.used)
    services.used = 0.0
    started = services.scheduler.calls
    assert started < STARTS_AT_ONCE + 3 * STARTS_PER_SECOND
    assert services.sweep_job.sweep(lambda: 60).unstarted_deliveries == 1000 - started


def test_unreadable_work_is_passed_and_reported_each_time(services: SlowSweepFixture) -> None:
    broken = [services.overdue(number, 2 * HOUR_MS) for number in range(20)]
    services.deliveries.unreadable = {delivery.key for delivery in broken}
    lost = [services.overdue(100 + number) for number in range(20)]
    services.overdue_recoveries(1)
    assert services.sweep() == (len(lost), 1)
    named = {line["delivery_id"] for line in services.telemetry.logged("record_unreadable")}
    assert named == {delivery.id for delivery in broken}
    assert services.telemetry.counts["UnreadableRecords"] == len(broken)
    assert services.sweep() == (0, 0)
    assert services.telemetry.counts["UnreadableRecords"] == 2 * len(broken)


def test_one_that_fails_keeps_no_other_from_its_turn_and_is_raised(
    services: SlowSweepFixture,
) -> None:
    lost = [services.overdue(number) for number in range(20)]
    services.overdue_recoveries(1)
    update = services.deliveries.update

    def broken(delivery: Delivery, *, before: Delivery) -> bool:
        if delivery.key == lost[7].key:
            raise KeyError("what it quotes")
        return update(delivery, before=before)

    services.deliveries.update = broken  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        services.sweep()
    assert [services.started(delivery) for delivery in lost].count(False) == 1
    assert services.telemetry.counts["OverdueDeliveries"] == len(lost) - 1
    assert services.telemetry.counts["OverdueRecoveries"] == 1
    [line] = services.telemetry.logged("sweep_failed")
    assert line["error"] == "KeyError"


@pytest.mark.parametrize("part", ["recoveries", "a recovery", "a page", "deliveries", "a start"])
def test_a_part_that_our_own_side_fails_leaves_the_others_their_turn(
    services: SlowSweepFixture, part: str
) -> None:
    services.overdue_recoveries(2)
    lost = [services.overdue(number) for number in range(40)]
    on: Any = {
        "recoveries": (services.health_store, "overdue"),
        "a recovery": (services.recoveries, "start"),
        "a page": (services.overdue_deliveries, "page"),
        "deliveries": (services.deliveries, "get_many"),
        "a start": (services.scheduler, "start"),
    }[part]
    on[0].failures.plan(on[1], True)
    with pytest.raises(UnavailableError):
        services.sweep()
    counts = services.telemetry.counts
    assert counts["OverdueDeliveries"] >= len(lost) - 8
    expected = {"recoveries": 0, "a recovery": 1}.get(part, 2)
    assert counts.get("OverdueRecoveries", 0) == expected


@pytest.mark.parametrize("method", ["overdue", "page"])
def test_a_sweep_that_does_not_come_to_its_end_counts_no_zero(
    services: SlowSweepFixture, method: str
) -> None:
    """The alarm on missing sweeps must see it."""
    on: Any = services.health_store if method == "overdue" else services.overdue_deliveries
    on.failures.plan(method, True)
    with pytest.raises(UnavailableError):
        services.sweep()
    assert services.telemetry.counts == {}


def test_one_whose_restart_was_written_and_not_started_is_not_counted_twice(
    services: SlowSweepFixture,
) -> None:
    delivery = services.overdue(1)
    services.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        services.sweep()
    assert services.deliveries.deliveries[delivery.key] == replace(
        delivery,
        generation=1,
        restarts=1,
        next_attempt_at_ms=services.now_ms,
        unstarted=True,
    )
    assert delivery.status is Status.RETRYING
    assert services.telemetry.counts == {}
