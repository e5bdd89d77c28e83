from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.fakes import RETENTION_SECONDS
from support.world import World as Services
from webhooks.domain.delivery import Claim, Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit, Health, RecoveryKey
from webhooks.domain.overdue import GRACE_SECONDS
from webhooks.domain.timestamps import to_text
from webhooks.ports import OverdueDelivery, Page
from webhooks.services.jobs.sweep import Swept
from webhooks.services.redriver import Redriven, Redriver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from webhooks.domain.delivery import DeliveryKey

GRACE_MS = int(GRACE_SECONDS * 1000)
DUE_MS = samples.NOW_MS + 5_000


class World(Services):
    """A sweeper among fakes, and a webhook with a delivery that is due."""

    def __init__(self) -> None:
        super().__init__()
        self.add()
        self.delivery = self.put(samples.delivery(next_attempt_at_ms=DUE_MS))
        self.now_ms = DUE_MS + GRACE_MS + 1
        self.starts: list[tuple[Delivery, float]] = []
        self._start = self.scheduler.start
        self.scheduler.start = self.start  # type: ignore[method-assign]

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """Note what is started, on whichever machine."""
        self._start(delivery, delay_seconds=delay_seconds)
        self.starts.append((delivery, delay_seconds))

    def stored(self) -> Delivery:
        return self.deliveries.deliveries[self.delivery.key]

    def sweep(self) -> tuple[int, int]:
        swept = self.sweep_job.sweep(lambda: self.remaining)
        return swept.overdue_deliveries, swept.overdue_recoveries

    def give_recovery(self, **changes: object) -> RecoveryKey:
        health = Health(circuit=Circuit.OPEN, recovery_id="old", recovery_due_at_ms=DUE_MS)
        webhook = replace(self.webhook(), health=replace(health, **changes))  # type: ignore[arg-type]
        self.store.add(webhook, self.destination().secrets)
        return RecoveryKey("acc_1", webhook.id, "old")


@pytest.fixture
def world() -> World:
    return World()


def test_an_overdue_delivery_that_nobody_works_on_gets_a_new_execution(world: World) -> None:
    assert world.sweep() == (1, 0)
    assert world.stored() == replace(
        world.delivery,
        generation=1,
        next_attempt_at_ms=world.now_ms,
        restarts=1,
        unstarted=True,
    )
    assert world.scheduler.executions == {world.delivery.key: (2, 0)}
    assert world.observer.counts["OverdueDeliveries"] == 1
    assert world.observer.logged("delivery_overdue")[0]["delivery_id"] == world.delivery.id


def test_a_sweep_that_finds_nothing_counts_zero_for_the_alarm(world: World) -> None:
    world.now_ms = DUE_MS + GRACE_MS
    assert world.sweep() == (0, 0)
    assert world.observer.counts == {
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
    assert world.retrier.retry(world.delivery.key, 2, 0).decision == "done"
    assert world.sender.posts == []
    assert world.retrier.retry(world.delivery.key, 2, 1).decision == "done"
    assert world.stored().status is Status.SUCCEEDED


def test_what_a_fault_keeps_from_its_attempt_is_started_again_less_and_less_often(
    world: World,
) -> None:
    """As where its webhook's record cannot be read: each execution ends in a dead letter."""
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
    assert world.retrier.retry(world.delivery.key, 2, 3).decision == "wait"
    assert world.stored().restarts == 0
    world.now_ms = (world.stored().next_attempt_at_ms or 0) + GRACE_MS + 1
    assert world.sweep() == (1, 0)
    assert world.stored().next_attempt_at_ms == world.now_ms


def test_an_operators_redrive_begins_at_once_whatever_the_sweep_did(world: World) -> None:
    """Also while an execution of the sweep's waits for a fault that is over by now."""
    redriver = Redriver(world.deliveries, world.scheduler, world.clock)
    waits = replace(world.delivery, restarts=9, next_attempt_at_ms=world.now_ms + 1)
    world.scheduler.start(world.put(waits), delay_seconds=86_400)
    assert redriver.redrive(world.delivery.key) is Redriven.STARTED
    assert world.stored().restarts == 0
    assert world.stored().next_attempt_at_ms == world.now_ms
    assert world.scheduler.executions == {world.delivery.key: (1, 0)}
    assert redriver.redrive(world.delivery.key) is Redriven.UNDER_WAY


def test_one_of_the_sweeps_whose_attempt_is_due_is_left_to_it_by_a_redrive(world: World) -> None:
    due = replace(world.delivery, restarts=1, next_attempt_at_ms=world.now_ms)
    world.scheduler.start(world.put(due), delay_seconds=0)
    redriver = Redriver(world.deliveries, world.scheduler, world.clock)
    assert redriver.redrive(world.delivery.key) is Redriven.UNDER_WAY
    assert world.stored() == due


def test_one_that_changed_since_the_index_was_written_is_left_alone(world: World) -> None:
    world.put(replace(world.delivery, status=Status.WAITING, next_attempt_at_ms=None))
    found = Page([OverdueDelivery(1, world.delivery.key)])
    world.overdue_deliveries.page = lambda *_: found  # type: ignore[method-assign]
    assert world.sweep() == (0, 0)
    del world.deliveries.deliveries[world.delivery.key]
    assert world.sweep() == (0, 0)
    assert world.scheduler.calls == 0


def test_somebody_who_was_faster_than_the_sweep_keeps_the_delivery(world: World) -> None:
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
    assert world.observer.counts["UnstartedDeliveries"] == 1
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
    assert world.observer.counts["OverdueRecoveries"] == 1
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
    """Told of its dead letter, it has the same status, attempts and generation as before."""
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


def given(world: World, **changes: object) -> Delivery:
    """Store the world's delivery with changes, overdue by an hour."""
    world.now_ms = DUE_MS + 3_600_000
    world.delivery = world.put(replace(world.delivery, **changes))  # type: ignore[arg-type]
    return world.delivery


def test_an_unstarted_delivery_is_started_as_soon_as_it_is_due(world: World) -> None:
    unstarted = world.put(replace(world.delivery, short=True, unstarted=True))
    world.now_ms = DUE_MS
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    world.now_ms = DUE_MS + 1
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert world.starts == [(unstarted, 0)]
    assert world.stored() == replace(unstarted, unstarted=False), "the same generation"
    assert world.observer.counts["OverdueDeliveries"] == 0, "no alarm"
    assert world.observer.counts["UnstartedDeliveries"] == 1


def test_one_that_stays_unstarted_in_an_outage_is_tried_every_minute_without_a_write(
    world: World,
) -> None:
    unstarted = world.put(replace(world.delivery, short=True, unstarted=True))
    world.scheduler.failures.plan("start", *[True] * 30)
    world.now_ms = DUE_MS + 1
    for _ in range(30):
        with pytest.raises(UnavailableError):
            world.sweep()
        world.now_ms += 60_000
    assert world.stored() == unstarted
    assert world.deliveries.writes == []
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)


def test_a_short_delivery_that_was_lost_is_started_again_without_a_look(world: World) -> None:
    world.put(replace(world.delivery, short=True))
    world.scheduler.failures.plan("running", True)
    world.now_ms = DUE_MS + 60_000
    assert world.sweep() == (0, 0)
    world.now_ms += 1
    assert world.sweep() == (1, 0)
    assert world.stored().short
    assert world.stored().generation == 1
    assert world.starts == [(world.stored(), 0)]


def test_a_claim_that_died_is_the_sweeps_once_its_lease_is_over(world: World) -> None:
    claim = Claim("dead", DUE_MS + 90_000)
    world.put(replace(world.delivery, short=True, claim=claim))
    world.now_ms = DUE_MS + 89_999
    assert world.sweep() == (0, 0)
    world.now_ms = DUE_MS + 90_000
    assert world.sweep() == (1, 0)
    assert world.stored().claim == claim, "it is counted"


def test_one_that_was_claimed_thrice_in_vain_goes_on_on_standard(world: World) -> None:
    given(world, short=True, claim=Claim("dead", DUE_MS, 3))
    assert world.sweep() == (1, 0)
    assert not world.stored().short


def test_an_attempt_that_claims_meanwhile_is_left_alone(world: World) -> None:
    delivery = given(world, short=True)
    get_many = world.deliveries.get_many

    def meanwhile(keys: Sequence[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        found = get_many(keys)
        world.put(replace(delivery, claim=Claim("alive", world.now_ms + 90_000)))
        return found

    world.deliveries.get_many = meanwhile  # type: ignore[method-assign, assignment]
    assert world.sweep() == (0, 0)
    assert world.scheduler.calls == 0


def test_an_exhausted_delivery_that_is_due_is_handed_over_in_its_generation(
    world: World,
) -> None:
    untold = given(world, status=Status.EXHAUSTED, generation=2)
    world.scheduler.start(untold, delay_seconds=0)
    assert world.sweep() == (0, 0), "it goes on: the dead-letter queue may not take it yet"
    world.scheduler.stop(untold)
    assert world.sweep() == (1, 0)
    assert world.stored() == replace(
        untold, next_attempt_at_ms=world.now_ms, restarts=1, unstarted=True
    )
    assert world.scheduler.running(world.stored()), "under another name, which is free"


def test_a_sweep_that_is_cut_off_before_a_start_leaves_it_to_the_next_one(world: World) -> None:
    given(world, short=True)
    remaining = [45.0]
    update = world.deliveries.update

    def last(delivery: Delivery, *, before: Delivery) -> bool:
        remaining[0] = 9.0
        return update(delivery, before=before)

    world.deliveries.update = last  # type: ignore[method-assign]
    world.sweep_job.sweep(lambda: remaining[0])
    assert world.scheduler.calls == 0
    assert world.stored().generation == 1
    world.deliveries.update = update  # type: ignore[method-assign]
    world.now_ms += 60_000
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert world.stored().generation == 1
    assert [delivery.generation for delivery, _ in world.starts] == [1]


def test_one_that_dies_each_time_is_started_again_less_and_less_often(world: World) -> None:
    """As a short one whose executions never come to their claim."""
    delivery = given(world, short=True)
    starts = []
    start = world.scheduler.start

    def seen(delivery: Delivery, *, delay_seconds: float) -> None:
        starts.append(world.now_ms)
        start(delivery, delay_seconds=delay_seconds)

    world.scheduler.start = seen  # type: ignore[method-assign]
    begin_ms = world.now_ms
    for _ in range(24 * 60):
        world.sweep()
        world.scheduler.stop(world.stored())
        world.now_ms += 60_000
    assert [at - begin_ms for at in starts[:4]] == [0, 60_000, 120_000, 780_000]
    assert len(starts) < 25
    assert delivery.key in world.deliveries.deliveries


def test_a_waiting_delivery_whose_retention_ends_has_its_owner_notified_once(
    world: World,
) -> None:
    waiting = world.put(world.delivery.defer("webhook_disabled"))
    kept_until_ms = waiting.last_active_at_ms + RETENTION_SECONDS * 1000
    world.now_ms = kept_until_ms - 86_400_000
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    world.now_ms += 1
    assert world.sweep_job.sweep(lambda: 45) == Swept(expiring_deliveries=1)
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    assert world.stored() == replace(waiting, expiring=True)
    [event] = world.operational_events.published
    assert (event.type, event.webhook_id) == ("delivery.expiring", waiting.webhook_id)
    assert event.facts == {
        "delivery_id": waiting.id,
        "event_id": waiting.event_id,
        "event_type": waiting.event_type,
        "reason": "webhook_disabled",
        "expires_at": to_text(kept_until_ms),
    }
    assert world.observer.counts["ExpiringDeliveries"] == 1


def test_an_expiring_delivery_is_drained_as_any_other(world: World) -> None:
    world.put(replace(world.delivery.defer("webhook_disabled"), expiring=True))
    assert world.retrier.drain(world.destination(), world.stored()) is not None
    assert world.stored().status is Status.SUCCEEDED
    assert not world.stored().expiring
