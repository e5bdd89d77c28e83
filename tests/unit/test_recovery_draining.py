"""A recovery drains the waiting deliveries, and settles before it ends."""

from __future__ import annotations

import pytest

from support import samples
from support.recovering import DRAINING, FIRST, KEY, RECOVERY_ID, REFUSED, World, settled, waiting
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.drain_rate import MAX_RATE
from webhooks.domain.health import FAILURES_TO_OPEN, SETTLE_SECONDS, Circuit, Health, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.ports import WebhookChanges
from webhooks.services.jobs.recovery import SECONDS_FOR_A_STEP


@pytest.fixture
def world() -> World:
    return World()


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


def test_a_drain_sends_what_its_host_may_get_and_waits_for_the_rest(world: World) -> None:
    world.recovery_rate = 50
    world.requests_per_host = 4
    deliveries = world.wait_for(10)
    world.drain()
    # Two without a reservation, and a second's turns.
    assert world.step() == DRAINING
    assert sorted(world.sent()) == [one.id for one in deliveries[:6]]
    assert world.step() == DRAINING
    assert len(world.sent()) == 6
    world.now_ms += 1000
    assert world.step() == DRAINING
    assert sorted(world.sent()) == [one.id for one in deliveries]


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


@pytest.mark.parametrize("status_code", [429, 503])
def test_a_step_of_draining_stops_with_a_response_that_asks_for_a_pause(
    world: World, status_code: int
) -> None:
    world.recovery_rate = 50
    first, *_ = world.wait_for(50)
    world.drain()
    asks = Outcome(FailureReason.HTTP_STATUS, status_code, retry_after_seconds=600)
    world.sender.answer = lambda _, headers: (
        asks if headers["X-SendComms-Delivery"] == first.id else Outcome(status_code=200)
    )
    world.step()
    # The rest of that step was on its way.
    assert len(world.sent()) == MAX_RATE
    waits = world.step()
    assert waits is not None
    assert (waits.seconds, len(world.sent())) == (600, MAX_RATE)


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
    """Each is attempted once and is the sweep's from then on, when it is due."""
    world.schedule = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
    deliveries = world.wait_for(3)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", *[True] * 1_000)
    for _ in range(40):
        world.step()
    stored = [world.stored(one) for one in deliveries]
    before = len(deliveries[0].attempts)
    assert [len(one.attempts) for one in stored] == [before + 1] * 3
    assert all(one.unstarted for one in stored)


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


@pytest.mark.parametrize("ahead_ms", [0, 600_000, -600_000])
def test_a_recovery_ends_only_when_no_function_can_hold_the_old_state(
    world: World, ahead_ms: int
) -> None:
    """Under any clock of the function that recorded the draining's start."""
    world.drain()
    since_ms = world.now_ms
    world.now_ms += ahead_ms
    step = world.step()
    assert step == RecoveryState(SETTLE_SECONDS, probe=0, settled=since_ms)
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.step(step) is None
    assert world.webhook().health == Health()
    assert world.telemetry.logged("recovery_ended")


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

    def meanwhile(key: RecoveryKey, draining_since_ms: int, **known: int | None) -> bool:
        world.be(Circuit.OPEN)
        return end(key, draining_since_ms, **known)

    world.health_store.end = meanwhile  # type: ignore[method-assign]
    assert world.step(before) == before
    assert world.webhook().health.recovery_id == RECOVERY_ID


def test_a_webhook_that_was_down_once_more_at_the_very_end_settles_once_more(world: World) -> None:
    """Between the look and the end it went down and came back: a dispatcher may have seen that."""
    world.drain()
    before = settled(world)
    end = world.health_store.end

    def meanwhile(key: RecoveryKey, draining_since_ms: int, **known: int | None) -> bool:
        world.now_ms += 1
        world.drain()
        return end(key, draining_since_ms, **known)

    world.health_store.end = meanwhile  # type: ignore[method-assign]
    assert world.step(before) == before
    world.health_store.end = end  # type: ignore[method-assign]
    late = world.put(waiting(1))
    assert world.step(before) == before
    assert world.stored(late).status is Status.SUCCEEDED
    assert world.step(before) == RecoveryState(SETTLE_SECONDS, probe=0, settled=world.now_ms)
