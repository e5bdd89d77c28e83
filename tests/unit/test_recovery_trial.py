"""A recovery's trial of a webhook that accepts some, and of a webhook that its owner enabled."""

from __future__ import annotations

import pytest

from support import samples
from support.recovering import DRAINING, KEY, REFUSED, World
from webhooks.domain.delivery import Status
from webhooks.domain.drain_rate import PATIENCE
from webhooks.domain.health import Circuit, Comeback
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.ports import WebhookChanges
from webhooks.services.retrier import Decision


@pytest.fixture
def world() -> World:
    world = World(recovery_schedule=(30.0, 60.0, 900.0), recovery_rate=50)
    world.be(Circuit.OPEN, comeback=Comeback.TRIAL, down_since_ms=world.now_ms)
    return world


def go_on(world: World, step: RecoveryState, times: int) -> list[float]:
    """Make steps of a recovery; returns the pauses after them."""
    pauses = []
    for _ in range(times):
        after = world.step(step)
        assert after is not None
        step = after
        pauses.append(step.seconds)
    return pauses


def test_each_delivery_that_is_taken_on_trial_halves_the_pause_until_it_passes(
    world: World,
) -> None:
    world.wait_for(20)
    assert go_on(world, RecoveryState(0), 5) == [15.0, 7.5, 3.75, 1.875, 1.0]
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == ["webhook.recovered"]
    # And the draining is slow at first, one delivery a second.
    posts = len(world.sender.posts)
    step = world.step(DRAINING._replace(pace=1.0))
    assert step is not None
    assert step.pace == pytest.approx(1.1)
    assert len(world.sender.posts) == posts + 1


@pytest.mark.parametrize("before", [RecoveryState(0, 2, pace=25.0), DRAINING._replace(pace=1.0)])
def test_a_trial_begins_at_its_own_pace_whatever_the_draining_before_it_had(
    world: World, before: RecoveryState
) -> None:
    world.wait_for(20)
    step = before if before.probe else world.step(before)
    assert step is not None
    after = world.step(step)
    assert after is not None
    assert (after.seconds, after.pace) == (15.0, 1 / 15)
    assert world.webhook().health.on_trial


def test_a_delivery_that_is_refused_passes_no_trial_at_any_pace(world: World) -> None:
    world.recovery_schedule = (1.0,)
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    assert go_on(world, RecoveryState(0), 3) == [1.0] * 3
    assert world.webhook().health.on_trial


def test_what_fails_on_trial_waits_on_and_starts_nothing(world: World) -> None:
    first, second = world.wait_for(2)
    world.sender.answer = lambda *_: REFUSED
    assert go_on(world, RecoveryState(0), 3) == [60.0, 60.0, 60.0]
    assert world.sent() == [first.id, second.id, first.id]
    assert world.stored(first).status is Status.WAITING
    assert world.stored(first).scheduled_attempts == 0
    assert world.scheduler.calls == 0
    assert world.webhook().health.on_trial


def test_one_that_takes_nothing_more_is_probed_as_a_dead_one(world: World) -> None:
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    pauses = go_on(world, RecoveryState(0), PATIENCE + 2)
    assert pauses == [60.0] * PATIENCE + [900.0] * 2


def test_a_trial_is_passed_when_nothing_is_left_waiting(world: World) -> None:
    world.wait_for(1)
    step = world.step()
    assert step == RecoveryState(15.0, 1, world.sent()[0], pace=1 / 15)
    assert world.webhook().health.on_trial
    assert world.step(step) == DRAINING._replace(pace=1.0)
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == ["webhook.recovered"]


def test_a_trial_with_nothing_to_try_is_not_passed(world: World) -> None:
    assert world.step() is not None
    assert world.webhook().health.on_trial


def test_a_retry_that_is_due_on_trial_waits_too(world: World) -> None:
    retrying = world.put(samples.delivery())
    verdict = world.retry(retrying.key, 2)
    assert verdict.decision is Decision.DONE
    stored = world.stored(retrying)
    assert (stored.status, stored.reason) == (Status.WAITING, "webhook_down")
    assert world.sent() == []


def test_a_webhook_that_is_enabled_is_drained_slowly_once_its_probe_is_taken(
    world: World,
) -> None:
    world.wait_for(3)
    world.be(Circuit.OPEN, comeback=Comeback.SLOW)
    assert world.step() == DRAINING._replace(pace=1.0)
    assert len(world.sent()) == 1
    assert world.operational_events.types == []


def test_a_webhook_that_is_enabled_with_nothing_waiting_gets_new_events_at_once(
    world: World,
) -> None:
    world.be(Circuit.OPEN, comeback=Comeback.SLOW)
    assert world.step() == DRAINING._replace(pace=1.0)
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.sent() == []


def test_a_recovery_that_would_end_as_its_owner_enables_the_webhook_goes_on(world: World) -> None:
    """Its owner keeps this one, and no other is started."""
    world.wait_for(1)
    world.store.update(*KEY[:2], WebhookChanges(active=False), world.now_ms)
    end = world.health_store.end

    def overtaken(key: object, since_ms: int) -> bool:
        world.store.update(*KEY[:2], WebhookChanges(active=True), world.now_ms)
        return end(KEY, since_ms)

    world.health_store.end = overtaken  # type: ignore[assignment,method-assign]
    assert world.step() == RecoveryState(1)
    assert world.step() is not None
    assert len(world.sent()) == 1
