from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.recovering import DRAINING, FIRST, KEY, RECOVERY_ID, REFUSED, World, waiting
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import (
    FAILURES_TO_OPEN,
    NOTICE_MS,
    SETTLE_SECONDS,
    WARN_AFTER_MS,
    Circuit,
    Health,
    RecoveryKey,
)
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.webhook import Secrets
from webhooks.ports import Page, WebhookChanges
from webhooks.services.jobs.recovery import SECONDS_FOR_A_STEP

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery

GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410)


@pytest.fixture
def world() -> World:
    return World()


def test_a_webhook_that_is_down_is_probed_with_the_oldest_that_waits(world: World) -> None:
    oldest, second, _ = world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED

    assert world.step() == RecoveryState(60.0, probe=2, after=oldest.id)

    assert world.sent() == [oldest.id]
    assert world.stored(oldest) == oldest.after(
        samples.attempt(probe=True, duration_ms=0, response_body=""), Status.WAITING
    )
    assert world.stored(second) == second
    assert world.webhook().health.failures == FAILURES_TO_OPEN + 1


def test_each_probe_is_of_another_delivery_and_then_of_the_oldest_again(world: World) -> None:
    first, second, third = world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED
    step: RecoveryState | None = FIRST
    for _ in range(5):
        assert step is not None
        step = world.step(step)
    assert world.sent() == [first.id, second.id, third.id, first.id, second.id]


def test_the_last_delay_of_the_schedule_repeats_for_as_long_as_the_webhook_is_down(
    world: World,
) -> None:
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    delays = [world.step(RecoveryState(0, probe)) for probe in (1, 2, 500)]
    assert [step and step.seconds for step in delays] == [60.0, 60.0, 60.0]


def test_probes_are_jittered_and_never_early(world: World) -> None:
    world.random = 1.0
    step = world.step()
    assert step is not None
    assert step.seconds == pytest.approx(66.0)


def test_with_nothing_to_probe_with_it_waits_for_what_comes(world: World) -> None:
    step = world.step(RecoveryState(0, 1, "an-id-that-is-gone"))
    assert step == RecoveryState(60.0, probe=2)
    assert world.sent() == []


def test_a_probe_that_is_taken_begins_to_drain_at_once(world: World) -> None:
    oldest, *_ = world.wait_for(3)
    assert world.step() == DRAINING
    assert world.stored(oldest).status is Status.SUCCEEDED
    assert world.stored(oldest).reason is None
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == ["webhook.recovered"]


def test_a_probe_that_says_gone_ends_in_a_webhook_that_is_disabled(world: World) -> None:
    [oldest] = world.wait_for(1)
    world.sender.answer = lambda *_: GONE
    assert world.step() is not None
    assert world.webhook().disabled_reason == "gone"
    assert world.stored(oldest).status is Status.WAITING
    assert world.step() is None
    assert world.webhook().health.recovery_id is None
    assert len(world.sent()) == 1


def test_a_webhook_that_was_down_for_five_days_is_disabled_unprobed(world: World) -> None:
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    world.now_ms += WARN_AFTER_MS
    assert world.step() is not None
    assert len(world.sent()) == 1
    world.sender.posts.clear()

    world.now_ms += NOTICE_MS
    assert world.step() == RecoveryState(1)
    assert world.webhook().disabled_reason == "failing"
    assert world.step() is None
    assert world.sent() == []
    assert world.operational_events.types == ["webhook.failing", "webhook.disabled"]


def test_what_waits_is_sent_oldest_first_at_the_rate(world: World) -> None:
    deliveries = world.wait_for(7)
    world.drain()
    sent = []
    for _ in range(3):
        assert world.step() == DRAINING
        sent.append(sorted(world.sent()))
        world.sender.posts.clear()
    ids = [delivery.id for delivery in deliveries]
    assert sent == [ids[:3], ids[3:6], ids[6:]]
    assert {world.stored(one).status for one in deliveries} == {Status.SUCCEEDED}


def test_one_that_fails_in_draining_goes_back_to_its_schedule(world: World) -> None:
    first, second = world.wait_for(2)
    world.drain()
    world.sender.answer = lambda _, headers: (
        REFUSED if headers["X-SendComms-Delivery"] == first.id else Outcome(status_code=200)
    )
    assert world.step() == DRAINING
    back = world.stored(first)
    assert (back.status, back.generation, back.reason) == (Status.RETRYING, 1, None)
    assert back.next_attempt_at_ms == samples.NOW_MS + 5_000
    assert world.scheduler.executions == {first.key: (2, 5.0)}
    assert world.stored(second).status is Status.SUCCEEDED


def test_draining_stops_where_every_one_of_a_batch_fails(world: World) -> None:
    world.recovery_rate = 50
    world.wait_for(40)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    assert world.step() == DRAINING._replace(pace=8.0)
    assert len(world.sent()) == 16
    health = world.webhook().health
    assert (health.circuit, health.recovery_id) == (Circuit.OPEN, RECOVERY_ID)
    assert world.recoveries.started == []
    assert world.operational_events.types == ["webhook.down"]


def test_draining_goes_on_past_some_that_fail(world: World) -> None:
    world.recovery_rate = 50
    deliveries = world.wait_for(40)
    world.drain()
    refused = {one.id for one in deliveries[::4]}
    world.sender.answer = lambda _, headers: (
        REFUSED if headers["X-SendComms-Delivery"] in refused else Outcome(status_code=200)
    )
    assert world.step() == DRAINING
    assert len(world.sent()) == 40
    assert world.webhook().health.circuit is Circuit.DRAINING


def test_a_receiver_that_is_down_again_is_left_in_peace_though_no_schedule_can_be_started(
    world: World,
) -> None:
    """Each step would otherwise make another attempt of the schedule, seconds after the last."""
    world.schedule = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
    deliveries = world.wait_for(3)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", *[True] * 1_000)
    for _ in range(40):
        with contextlib.suppress(UnavailableError):
            world.step()
    assert world.webhook().health.circuit is Circuit.OPEN
    attempts = [one for each in deliveries for one in world.stored(each).attempts]
    assert sum(attempt.scheduled for attempt in attempts) <= FAILURES_TO_OPEN + len(deliveries)


def test_draining_stops_in_time(world: World) -> None:
    world.recovery_rate = 50
    world.wait_for(40)
    world.drain()
    left = iter([SECONDS_FOR_A_STEP, SECONDS_FOR_A_STEP - 1])
    assert world.recovery_job.advance(KEY, FIRST, lambda: next(left)) == DRAINING
    assert len(world.sent()) == 16


@pytest.mark.parametrize("change", ["another recovery", "disabled", "deleted", "renamed"])
def test_a_slow_step_goes_on_only_while_it_is_its_recoverys(change: str) -> None:
    world = World(recovery_rate=50)
    world.wait_for(50)
    world.drain()

    def slow(*_: object) -> Outcome:
        if world.now_ms == samples.NOW_MS:
            changes = WebhookChanges(active=change != "disabled", description="new")
            another = "recovery-9" if change == "another recovery" else None
            world.store.update("acc_1", samples.WEBHOOK_ID, changes, world.now_ms, another)
            if change == "deleted":
                world.store.delete("acc_1", samples.WEBHOOK_ID)
        world.now_ms = samples.NOW_MS + 1000
        return Outcome(status_code=200, duration_ms=1000)

    world.sender.answer = slow
    world.step()
    assert len(world.sent()) == (50 if change == "renamed" else 16)


@pytest.mark.parametrize(("found_out_by", "pace"), [("draining", 4.0), ("dispatcher", 25.0)])
def test_a_webhook_that_is_down_again_is_left_alone_before_its_first_probe(
    world: World, found_out_by: str, pace: float
) -> None:
    world.recovery_rate = 50
    world.wait_for(60)
    world.drain()
    world.random = 1.0
    if found_out_by == "draining":
        world.sender.answer = lambda *_: REFUSED
    step = world.step()
    if found_out_by == "dispatcher":
        world.health.report(world.webhook(), [samples.attempt()] * FAILURES_TO_OPEN)
    assert world.webhook().health.circuit is Circuit.OPEN
    world.sender.posts.clear()
    world.sender.answer = None

    assert step is not None
    step = world.step(step)

    assert step == RecoveryState(33.0, probe=1, pace=pace)
    assert world.sent() == []
    assert world.webhook().health.recovery_due_at_ms >= world.now_ms + 33_000
    assert world.step(step) == DRAINING._replace(pace=pace)
    assert len(world.sent()) == 1


def settled(world: World) -> RecoveryState:
    """The state after the wait in which whoever saw the webhook down came to an end."""
    return RecoveryState(1, probe=0, settled=world.webhook().health.draining_since_ms)


@pytest.mark.parametrize("ahead_ms", [0, 600_000, -600_000])
def test_a_recovery_ends_only_when_no_function_can_hold_the_old_state(
    world: World, ahead_ms: int
) -> None:
    """Whatever the clock of the function that noted since when it drains."""
    world.drain()
    since_ms = world.now_ms
    world.now_ms += ahead_ms
    step = world.step()
    assert step == RecoveryState(SETTLE_SECONDS, probe=0, settled=since_ms)
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.step(step) is None
    assert world.webhook().health == Health()
    assert world.observer.logged("recovery_ended")


def test_one_that_a_slow_dispatcher_deferred_late_is_sent(world: World) -> None:
    world.drain()
    late = world.put(waiting(1))
    assert world.step(settled(world)) == settled(world)
    assert world.stored(late).status is Status.SUCCEEDED
    assert world.step(settled(world)) is None


def test_a_webhook_that_fails_again_at_the_very_end_is_probed_on(world: World) -> None:
    world.drain()
    before = settled(world)
    end = world.health_store.end

    def meanwhile(key: RecoveryKey, draining_since_ms: int) -> bool:
        world.be(Circuit.OPEN)
        return end(key, draining_since_ms)

    world.health_store.end = meanwhile  # type: ignore[method-assign]
    assert world.step(before) == before
    assert world.webhook().health.recovery_id == RECOVERY_ID


def test_a_webhook_that_was_down_once_more_at_the_very_end_settles_once_more(world: World) -> None:
    """Between the look and the end it went down and came back: a dispatcher may have seen that."""
    world.drain()
    before = settled(world)
    end = world.health_store.end

    def meanwhile(key: RecoveryKey, draining_since_ms: int) -> bool:
        world.now_ms += 1
        world.drain()
        return end(key, draining_since_ms)

    world.health_store.end = meanwhile  # type: ignore[method-assign]
    assert world.step(before) == before
    world.health_store.end = end  # type: ignore[method-assign]
    late = world.put(waiting(1))
    assert world.step(before) == before
    assert world.stored(late).status is Status.SUCCEEDED
    assert world.step(before) == RecoveryState(SETTLE_SECONDS, probe=0, settled=world.now_ms)


def test_what_the_index_has_and_is_no_more_so_keeps_nothing_from_its_turn(world: World) -> None:
    """An item past its time to live is in the index for days, and no store returns it."""
    oldest, second = world.wait_for(2)
    batch = world.walk.batch

    def expired_first(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([], oldest.id) if oldest in found.items else found

    world.walk.batch = expired_first  # type: ignore[method-assign]
    world.recovery_rate = 1
    assert world.step() == DRAINING
    assert world.sent() == [second.id]
    assert world.step(settled(world)) is None


def test_a_probe_goes_past_what_is_no_more_so_page_by_page(world: World) -> None:
    """One at a time it would come to its end before the first that still waits."""
    *expired, living = world.wait_for(7)
    batch = world.walk.batch

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    world.walk.batch = without_expired  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, *[SECONDS_FOR_A_STEP - 1] * 9])
    assert world.recovery_job.advance(KEY, FIRST, lambda: next(left)) == DRAINING
    assert world.sent() == [living.id]
    assert len(expired) == 2 * world.recovery_rate


def test_a_long_walk_past_what_is_no_more_so_stops_in_time(world: World) -> None:
    world.drain()
    world.walk.batch = lambda *_: Page([], "more")  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, SECONDS_FOR_A_STEP - 1])
    assert world.recovery_job.advance(KEY, FIRST, lambda: next(left)) == RecoveryState(
        1, probe=0, past="more"
    )


def test_a_walk_that_takes_more_than_a_step_goes_on_where_it_was(world: World) -> None:
    """Were it to begin anew each time, it would never come to what waits at its end."""
    *expired, living = world.wait_for(7)
    world.drain()
    batch = world.walk.batch

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    world.walk.batch = without_expired  # type: ignore[method-assign]

    def short_step(before: RecoveryState) -> RecoveryState | None:
        left = iter([60.0, SECONDS_FOR_A_STEP - 1])
        return world.recovery_job.advance(KEY, before, lambda: next(left))

    step: RecoveryState | None = FIRST
    steps = []
    for _ in range(5):
        assert step is not None
        step = short_step(step)
        steps.append(step)
    third, sixth = expired[2].id, expired[5].id
    whole_way = [DRAINING._replace(past=third), DRAINING._replace(past=sixth)]
    # Then it is sent; nothing more is there; and all of it once more, in a while.
    assert steps == [*whole_way, whole_way[1], RecoveryState(60.0, probe=0), whole_way[0]]
    assert world.sent() == [living.id]
    assert world.webhook().health.circuit is Circuit.DRAINING


def test_a_recovery_whose_place_was_taken_ends_and_touches_nothing(world: World) -> None:
    world.wait_for(1)
    world.health_store.replace(KEY, "another", world.now_ms)
    assert world.step() is None
    assert world.sent() == []
    assert world.webhook().health.recovery_id == "another"


def test_a_recovery_of_a_webhook_that_is_disabled_ends_and_keeps_what_waits(world: World) -> None:
    [kept] = world.wait_for(1)
    changes = WebhookChanges(active=False)
    world.store.update("acc_1", samples.WEBHOOK_ID, changes, world.now_ms)
    assert world.step() is None
    assert world.sent() == []
    assert world.stored(kept) == kept
    assert world.webhook().health.recovery_id is None


def test_what_waits_for_a_deleted_webhook_is_cancelled_bit_by_bit(world: World) -> None:
    deliveries = world.wait_for(60)
    world.store.delete("acc_1", samples.WEBHOOK_ID)
    assert world.step() == RecoveryState(1)
    assert [world.stored(one).status for one in deliveries].count(Status.CANCELLED) == 50
    assert world.step() == RecoveryState(1)
    assert {world.stored(one).reason for one in deliveries} == {"webhook_deleted"}
    assert world.step() is None
    assert world.sent() == []


def test_a_cancellation_that_takes_more_than_a_step_goes_on_where_it_was(world: World) -> None:
    world.store.delete("acc_1", samples.WEBHOOK_ID)
    world.remaining = SECONDS_FOR_A_STEP - 1
    after: list[str | None] = []

    def expired(*values: Any) -> Page[Delivery]:
        after.append(values[-1])
        return Page([], "far" if len(after) < 3 else None)

    world.walk.batch = expired  # type: ignore[assignment]
    step = world.step()
    assert step == RecoveryState(1, past="far")
    assert world.step(step) == step
    assert world.step(step) is None
    assert after == [None, "far", "far"]


def test_a_webhook_without_a_secret_is_waited_for_unsent(world: World) -> None:
    world.wait_for(1)
    world.store.add(world.webhook(), Secrets(None))
    assert world.step(RecoveryState(0, 4, "after")) == RecoveryState(60.0, 4, "after")
    assert world.sent() == []
    assert world.observer.counts["SecretMissing"] == 1


def test_too_little_time_is_our_own_trouble_and_sends_nothing(world: World) -> None:
    world.wait_for(1)
    world.remaining = SECONDS_FOR_A_STEP - 0.1
    with pytest.raises(UnavailableError, match="too few"):
        world.step()
    assert world.sent() == []


@pytest.mark.parametrize("broken", ["walk", "record"])
def test_a_step_that_our_own_side_broke_off_is_made_again(world: World, broken: str) -> None:
    deliveries = world.wait_for(2)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    if broken == "record":
        world.deliveries.failures.plan("update", True, True)
    else:
        world.walk.failures.plan("batch", True)
    with pytest.raises(UnavailableError):
        world.step()
    assert world.step() == DRAINING
    assert [len(world.stored(one).attempts) for one in deliveries] == [1, 1]


def test_one_whose_execution_could_not_be_started_is_found_by_the_sweeper(world: World) -> None:
    [delivery] = world.wait_for(1)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        world.step()
    assert world.step() is not None
    world.now_ms += 700_000
    world.sweep_job.sweep(lambda: world.remaining)
    assert world.scheduler.running(world.stored(delivery))


def test_its_next_step_is_noted_far_enough_ahead_to_be_noted_seldom(world: World) -> None:
    deliveries = world.wait_for(30)
    world.drain()
    steps = 0
    while world.stored(deliveries[-1]).status is Status.WAITING:
        world.step()
        world.now_ms += 1000
        steps += 1
    assert steps == 10
    assert world.health_store.writes.count("keep") == 1
    assert world.webhook().health.recovery_due_at_ms > world.now_ms


@pytest.mark.parametrize(("schedule", "second"), [((0.0,), 1.0), ((30.0, 60.0, 0.0), 60.0)])
def test_no_schedule_has_a_webhook_probed_without_a_pause(
    schedule: tuple[float, ...], second: float
) -> None:
    world = World(recovery_schedule=schedule)
    world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED
    delays = [world.step(RecoveryState(0, probe)) for probe in (1, 2, 3, 500)]
    assert [step and step.seconds for step in delays] == [second, 1.0, 1.0, 1.0]


def test_no_schedule_has_a_missing_secret_looked_for_without_a_pause() -> None:
    world = World(recovery_schedule=(30.0, 0.0))
    world.store.add(world.webhook(), Secrets(None))
    assert world.step(RecoveryState(0, 500)) == RecoveryState(1, 500)


def test_no_schedule_has_a_long_way_gone_anew_without_a_pause() -> None:
    world = World(recovery_schedule=(30.0, 0.0))
    world.drain()
    assert world.step(RecoveryState(0, past="far")) == DRAINING
