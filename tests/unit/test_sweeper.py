from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.sweeping import DUE_MS, GRACE_MS, World
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.ports import OverdueDelivery, Page
from webhooks.services.redriver import Redriven, Redriver


@pytest.fixture
def world() -> World:
    return World()


def test_an_overdue_abandoned_delivery_gets_a_new_execution(world: World) -> None:
    assert world.sweep() == (1, 0)
    assert world.stored() == replace(
        world.delivery,
        generation=1,
        next_attempt_at_ms=world.now_ms,
        restarts=1,
        unstarted=True,
    )
    assert world.scheduler.executions == {world.delivery.key: (2, 0)}
    assert world.telemetry.counts["OverdueDeliveries"] == 1
    assert world.telemetry.logged("delivery_overdue")[0]["delivery_id"] == world.delivery.id


def test_a_sweep_that_finds_nothing_counts_zero_for_the_alarm(world: World) -> None:
    world.now_ms = DUE_MS + GRACE_MS
    assert world.sweep() == (0, 0)
    assert world.telemetry.counts == {
        "OverdueDeliveries": 0,
        "OverdueRecoveries": 0,
        "OverdueJobs": 0,
    }
    assert world.stored() == world.delivery
    assert world.scheduler.calls == 0


def test_a_delivery_whose_execution_goes_on_is_left_to_it(world: World) -> None:
    world.scheduler.start(world.delivery, delay_seconds=0)
    assert world.sweep() == (0, 0)
    assert world.stored() == world.delivery


def test_a_delivery_whose_execution_was_stopped_is_started_again(world: World) -> None:
    world.scheduler.start(world.delivery, delay_seconds=0)
    world.scheduler.stop(world.delivery)
    assert world.sweep() == (1, 0)
    assert world.scheduler.running(world.stored())
    assert world.sweep() == (0, 0)


def test_the_old_execution_of_a_restarted_delivery_ends_without_an_attempt(world: World) -> None:
    world.sweep()
    assert world.retry(world.delivery.key, 2, 0).decision == "done"
    assert world.sender.posts == []
    assert world.retry(world.delivery.key, 2, 1).decision == "done"
    assert world.stored().status is Status.SUCCEEDED


def test_what_a_fault_keeps_from_its_attempt_is_started_again_less_and_less_often(
    world: World,
) -> None:
    """For example if its webhook's record cannot be read: each execution ends in a dead letter."""
    delays: list[float] = []
    start_ms = world.now_ms
    while world.now_ms - start_ms < 30 * 86_400_000:
        if world.sweep() == (1, 0):
            assert world.stored().next_attempt_at_ms == world.now_ms + delays_ms(world)
            delays.append(world.scheduler.executions[world.delivery.key][1])
            world.scheduler.stop(world.stored())
            assert world.sweep() == (0, 0)
        world.now_ms += 300_000
    assert delays[:9] == [0, *(600.0 * 2**n for n in range(8))]
    assert set(delays[9:]) == {86_400.0}
    assert len(delays) < 45


def delays_ms(world: World) -> int:
    return int(world.scheduler.executions[world.delivery.key][1] * 1000)


def test_after_an_attempt_the_first_restart_is_at_once_again(world: World) -> None:
    for _ in range(3):
        world.now_ms = (world.stored().next_attempt_at_ms or 0) + GRACE_MS + 1
        assert world.sweep() == (1, 0)
        world.scheduler.stop(world.stored())
        world.now_ms = (world.stored().next_attempt_at_ms or 0) + 1
        assert world.sweep() == (0, 0), "its start is seen to"
    assert world.stored().restarts == 3
    world.sender.answer = lambda *_: Outcome(FailureReason.TIMEOUT)
    assert world.retry(world.delivery.key, 2, 3).decision == "wait"
    assert world.stored().restarts == 0
    world.now_ms = (world.stored().next_attempt_at_ms or 0) + GRACE_MS + 1
    assert world.sweep() == (1, 0)
    assert world.stored().next_attempt_at_ms == world.now_ms


def test_an_operators_redrive_begins_at_once_after_any_sweep(world: World) -> None:
    """Also while an execution of the sweep's waits for a fault that is over by now."""
    redriver = Redriver(world.deliveries, world.scheduler, world.clock)
    waits = replace(world.delivery, restarts=9, next_attempt_at_ms=world.now_ms + 1)
    world.scheduler.start(world.put(waits), delay_seconds=86_400)
    assert redriver.redrive(world.delivery.key) is Redriven.STARTED
    assert world.stored().restarts == 0
    assert world.stored().next_attempt_at_ms == world.now_ms
    assert world.scheduler.executions == {world.delivery.key: (1, 0)}
    assert redriver.redrive(world.delivery.key) is Redriven.IN_PROGRESS


def test_one_of_the_sweeps_whose_attempt_is_due_is_left_to_it_by_a_redrive(world: World) -> None:
    due = replace(world.delivery, restarts=1, next_attempt_at_ms=world.now_ms)
    world.scheduler.start(world.put(due), delay_seconds=0)
    redriver = Redriver(world.deliveries, world.scheduler, world.clock)
    assert redriver.redrive(world.delivery.key) is Redriven.IN_PROGRESS
    assert world.stored() == due


def test_one_that_changed_since_the_index_was_written_is_left_alone(world: World) -> None:
    world.put(replace(world.delivery, status=Status.WAITING, next_attempt_at_ms=None))
    found = Page([OverdueDelivery(1, world.delivery.key)])
    world.overdue_deliveries.page = lambda *_: found  # type: ignore[method-assign]
    assert world.sweep() == (0, 0)
    del world.deliveries.deliveries[world.delivery.key]
    assert world.sweep() == (0, 0)
    assert world.scheduler.calls == 0


def test_a_writer_faster_than_the_sweep_keeps_the_delivery(world: World) -> None:
    running = world.scheduler.running

    def meanwhile(delivery: Delivery) -> bool:
        world.put(replace(delivery, status=Status.SUCCEEDED, next_attempt_at_ms=None))
        return running(delivery)

    world.scheduler.running = meanwhile  # type: ignore[method-assign]
    assert world.sweep() == (0, 0)
    assert world.stored().status is Status.SUCCEEDED
    assert world.scheduler.calls == 0


def test_a_start_that_fails_is_made_up_for_by_the_next_sweep(world: World) -> None:
    world.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        world.sweep()
    world.now_ms += 60_000
    assert world.sweep() == (0, 0)
    assert world.telemetry.counts["UnstartedDeliveries"] == 1
    assert world.stored().generation == 1
    assert world.scheduler.running(world.stored())
    assert not world.stored().unstarted


def test_an_overdue_recovery_is_replaced_by_a_new_one(world: World) -> None:
    world.put(replace(world.delivery, next_attempt_at_ms=world.now_ms))
    world.give_recovery()
    assert world.sweep() == (0, 1)
    health = world.webhook().health
    assert (health.recovery_id, health.recovery_due_at_ms) == ("recovery-1", world.now_ms)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert world.recoveries.started == [(key, 0)]
    assert world.telemetry.counts["OverdueRecoveries"] == 1
    assert world.sweep() == (0, 0)


def test_a_recovery_that_is_not_overdue_goes_on(world: World) -> None:
    world.give_recovery(recovery_due_at_ms=world.now_ms - GRACE_MS)
    assert world.sweep() == (1, 0)
    assert world.webhook().health.recovery_id == "old"
    assert world.recoveries.started == []


def test_what_does_not_fit_in_the_time_left_is_the_next_sweeps(world: World) -> None:
    world.give_recovery()
    world.remaining = 9.9
    assert world.sweep() == (0, 0)
    assert world.stored() == world.delivery
    world.remaining = 10.0
    assert world.sweep() == (1, 1)


def test_one_that_its_execution_ended_just_now_is_left_as_that_left_it(world: World) -> None:
    """Its recorded dead letter changes neither its status, its attempts nor its generation."""
    untold = world.put(replace(world.delivery, status=Status.EXHAUSTED))
    told = replace(untold, next_attempt_at_ms=None)

    def ends(delivery: Delivery) -> bool:
        assert delivery == untold
        world.put(told)
        return False

    world.scheduler.running = ends  # type: ignore[method-assign]
    assert world.sweep() == (0, 0)
    assert world.stored() == told
    assert world.scheduler.calls == 0
