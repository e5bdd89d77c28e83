from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from unit.services.jobs.sweep_fixture import DUE_MS, GRACE_MS, SweepFixture
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.ports import OverdueDelivery, Page
from webhooks.services.redriver import Redriven, Redriver


@pytest.fixture
def services() -> SweepFixture:
    return SweepFixture()


def test_an_overdue_abandoned_delivery_gets_a_new_execution(services: SweepFixture) -> None:
    assert services.sweep() == (1, 0)
    assert services.stored() == replace(
        services.delivery,
        generation=1,
        next_attempt_at_ms=services.now_ms,
        restarts=1,
        unstarted=True,
    )
    assert services.scheduler.executions == {services.delivery.key: (2, 0)}
    assert services.telemetry.counts["OverdueDeliveries"] == 1
    assert services.telemetry.logged("delivery_overdue")[0]["delivery_id"] == services.delivery.id


def test_a_sweep_that_finds_nothing_counts_zero_for_the_alarm(services: SweepFixture) -> None:
    services.now_ms = DUE_MS + GRACE_MS
    assert services.sweep() == (0, 0)
    assert services.telemetry.counts == {
        "OverdueDeliveries": 0,
        "OverdueRecoveries": 0,
        "OverdueJobs": 0,
    }
    assert services.stored() == services.delivery
    assert services.scheduler.calls == 0


def test_a_delivery_whose_execution_goes_on_is_left_to_it(services: SweepFixture) -> None:
    services.scheduler.start(services.delivery, delay_seconds=0)
    assert services.sweep() == (0, 0)
    assert services.stored() == services.delivery


def test_a_delivery_whose_execution_was_stopped_is_started_again(services: SweepFixture) -> None:
    services.scheduler.start(services.delivery, delay_seconds=0)
    services.scheduler.stop(services.delivery)
    assert services.sweep() == (1, 0)
    assert services.scheduler.running(services.stored())
    assert services.sweep() == (0, 0)


def test_the_old_execution_of_a_restarted_delivery_ends_without_an_attempt(
    services: SweepFixture,
) -> None:
    services.sweep()
    assert services.retry(services.delivery.key, 2, 0).decision == "done"
    assert services.sender.posts == []
    assert services.retry(services.delivery.key, 2, 1).decision == "done"
    assert services.stored().status is Status.SUCCEEDED


def test_what_a_fault_keeps_from_its_attempt_is_started_again_less_and_less_often(
    services: SweepFixture,
) -> None:
    """For example if its webhook's record cannot be read: each execution ends in a dead letter."""
    delays: list[float] = []
    start_ms = services.now_ms
    while services.now_ms - start_ms < 30 * 86_400_000:
        if services.sweep() == (1, 0):
            assert services.stored().next_attempt_at_ms == services.now_ms + delays_ms(services)
            delays.append(services.scheduler.executions[services.delivery.key][1])
            services.scheduler.stop(services.stored())
            assert services.sweep() == (0, 0)
        services.now_ms += 300_000
    assert delays[:9] == [0, *(600.0 * 2**n for n in range(8))]
    assert set(delays[9:]) == {86_400.0}
    assert len(delays) < 45


def delays_ms(services: SweepFixture) -> int:
    return int(services.scheduler.executions[services.delivery.key][1] * 1000)


def test_after_an_attempt_the_first_restart_is_at_once_again(services: SweepFixture) -> None:
    for _ in range(3):
        services.now_ms = (services.stored().next_attempt_at_ms or 0) + GRACE_MS + 1
        assert services.sweep() == (1, 0)
        services.scheduler.stop(services.stored())
        services.now_ms = (services.stored().next_attempt_at_ms or 0) + 1
        assert services.sweep() == (0, 0), "its start is seen to"
    assert services.stored().restarts == 3
    services.sender.answer = lambda *_: Outcome(FailureReason.TIMEOUT)
    assert services.retry(services.delivery.key, 2, 3).decision == "wait"
    assert services.stored().restarts == 0
    services.now_ms = (services.stored().next_attempt_at_ms or 0) + GRACE_MS + 1
    assert services.sweep() == (1, 0)
    assert services.stored().next_attempt_at_ms == services.now_ms


def test_an_operators_redrive_begins_at_once_after_any_sweep(services: SweepFixture) -> None:
    """Also while an execution of the sweep's waits for a fault that is over by now."""
    redriver = Redriver(services.deliveries, services.scheduler, services.clock)
    waits = replace(services.delivery, restarts=9, next_attempt_at_ms=services.now_ms + 1)
    services.scheduler.start(services.put(waits), delay_seconds=86_400)
    assert redriver.redrive(services.delivery.key) is Redriven.STARTED
    assert services.stored().restarts == 0
    assert services.stored().next_attempt_at_ms == services.now_ms
    assert services.scheduler.executions == {services.delivery.key: (1, 0)}
    assert redriver.redrive(services.delivery.key) is Redriven.IN_PROGRESS


def test_one_of_the_sweeps_whose_attempt_is_due_is_left_to_it_by_a_redrive(
    services: SweepFixture,
) -> None:
    due = replace(services.delivery, restarts=1, next_attempt_at_ms=services.now_ms)
    services.scheduler.start(services.put(due), delay_seconds=0)
    redriver = Redriver(services.deliveries, services.scheduler, services.clock)
    assert redriver.redrive(services.delivery.key) is Redriven.IN_PROGRESS
    assert services.stored() == due


def test_one_that_changed_since_the_index_was_written_is_left_alone(services: SweepFixture) -> None:
    services.put(replace(services.delivery, status=Status.WAITING, next_attempt_at_ms=None))
    found = Page([OverdueDelivery(1, services.delivery.key)])
    services.overdue_deliveries.page = lambda *_: found  # type: ignore[method-assign]
    assert services.sweep() == (0, 0)
    del services.deliveries.deliveries[services.delivery.key]
    assert services.sweep() == (0, 0)
    assert services.scheduler.calls == 0


def test_a_writer_faster_than_the_sweep_keeps_the_delivery(services: SweepFixture) -> None:
    running = services.scheduler.running

    def meanwhile(delivery: Delivery) -> bool:
        services.put(replace(delivery, status=Status.SUCCEEDED, next_attempt_at_ms=None))
        return running(delivery)

    services.scheduler.running = meanwhile  # type: ignore[method-assign]
    assert services.sweep() == (0, 0)
    assert services.stored().status is Status.SUCCEEDED
    assert services.scheduler.calls == 0


def test_a_start_that_fails_is_made_up_for_by_the_next_sweep(services: SweepFixture) -> None:
    services.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        services.sweep()
    services.now_ms += 60_000
    assert services.sweep() == (0, 0)
    assert services.telemetry.counts["UnstartedDeliveries"] == 1
    assert services.stored().generation == 1
    assert services.scheduler.running(services.stored())
    assert not services.stored().unstarted


def test_an_overdue_recovery_is_replaced_by_a_new_one(services: SweepFixture) -> None:
    services.put(replace(services.delivery, next_attempt_at_ms=services.now_ms))
    services.give_recovery()
    assert services.sweep() == (0, 1)
    health = services.webhook().health
    assert (health.recovery_id, health.recovery_due_at_ms) == ("recovery-1", services.now_ms)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert services.recoveries.started == [(key, 0)]
    assert services.telemetry.counts["OverdueRecoveries"] == 1
    assert services.sweep() == (0, 0)


def test_a_recovery_that_is_not_overdue_goes_on(services: SweepFixture) -> None:
    services.give_recovery(recovery_due_at_ms=services.now_ms - GRACE_MS)
    assert services.sweep() == (1, 0)
    assert services.webhook().health.recovery_id == "old"
    assert services.recoveries.started == []


def test_what_does_not_fit_in_the_time_left_is_the_next_sweeps(services: SweepFixture) -> None:
    services.give_recovery()
    services.remaining = 9.9
    assert services.sweep() == (0, 0)
    assert services.stored() == services.delivery
    services.remaining = 10.0
    assert services.sweep() == (1, 1)


def test_one_that_its_execution_ended_just_now_is_left_as_that_left_it(
    services: SweepFixture,
) -> None:
    """Its recorded dead letter changes neither its status, its attempts nor its generation."""
    untold = services.put(replace(services.delivery, status=Status.EXHAUSTED))
    told = replace(untold, next_attempt_at_ms=None)

    def ends(delivery: Delivery) -> bool:
        assert delivery == untold
        services.put(told)
        return False

    services.scheduler.running = ends  # type: ignore[method-assign]
    assert services.sweep() == (0, 0)
    assert services.stored() == told
    assert services.scheduler.calls == 0
