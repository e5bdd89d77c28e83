"""A recovery's trial of a webhook that accepts some, and of a webhook that its owner enabled."""

from __future__ import annotations

import pytest

from support import samples
from unit.services.jobs.recovery_fixture import DRAINING, KEY, REFUSED, RecoveryFixture
from webhooks.domain.delivery import Status
from webhooks.domain.drain_rate import PATIENCE
from webhooks.domain.health import Circuit, Comeback
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.ports import WebhookChanges
from webhooks.services.retrier import Decision


@pytest.fixture
def services() -> RecoveryFixture:
    services = RecoveryFixture(recovery_schedule=(30.0, 60.0, 900.0), recovery_rate=50)
    services.be(Circuit.OPEN, comeback=Comeback.TRIAL, down_since_ms=services.now_ms)
    return services


def go_on(services: RecoveryFixture, step: RecoveryState, times: int) -> list[float]:
    """Make steps of a recovery; returns the pauses after them."""
    pauses = []
    for _ in range(times):
        after = services.step(step)
        assert after is not None
        step = after
        pauses.append(step.seconds)
    return pauses


def test_each_delivery_that_is_taken_on_trial_halves_the_pause_until_it_passes(
    services: RecoveryFixture,
) -> None:
    services.wait_for(20)
    assert go_on(services, RecoveryState(0), 5) == [15.0, 7.5, 3.75, 1.875, 1.0]
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.operational_events.types == ["webhook.recovered"]
    # And the draining is slow at first, one delivery a second.
    posts = len(services.sender.posts)
    step = services.step(DRAINING._replace(pace=1.0))
    assert step is not None
    assert step.pace == pytest.approx(1.1)
    assert len(services.sender.posts) == posts + 1


@pytest.mark.parametrize("before", [RecoveryState(0, 2, pace=25.0), DRAINING._replace(pace=1.0)])
def test_a_trial_begins_at_its_own_pace_whatever_the_draining_before_it_had(
    services: RecoveryFixture, before: RecoveryState
) -> None:
    services.wait_for(20)
    step = before if before.probe else services.step(before)
    assert step is not None
    after = services.step(step)
    assert after is not None
    assert (after.seconds, after.pace) == (15.0, 1 / 15)
    assert services.webhook().health.on_trial


def test_a_delivery_that_is_refused_passes_no_trial_at_any_pace(services: RecoveryFixture) -> None:
    services.recovery_schedule = (1.0,)
    services.wait_for(1)
    services.sender.answer = lambda *_: REFUSED
    assert go_on(services, RecoveryState(0), 3) == [1.0] * 3
    assert services.webhook().health.on_trial


def test_what_fails_on_trial_waits_on_and_starts_nothing(services: RecoveryFixture) -> None:
    first, second = services.wait_for(2)
    services.sender.answer = lambda *_: REFUSED
    assert go_on(services, RecoveryState(0), 3) == [60.0, 60.0, 60.0]
    assert services.sent() == [first.id, second.id, first.id]
    assert services.stored(first).status is Status.WAITING
    assert services.stored(first).scheduled_attempts == 0
    assert services.scheduler.calls == 0
    assert services.webhook().health.on_trial


def test_one_that_takes_nothing_more_is_probed_as_a_dead_one(services: RecoveryFixture) -> None:
    services.wait_for(1)
    services.sender.answer = lambda *_: REFUSED
    pauses = go_on(services, RecoveryState(0), PATIENCE + 2)
    assert pauses == [60.0] * PATIENCE + [900.0] * 2


def test_a_trial_is_passed_when_nothing_is_left_waiting(services: RecoveryFixture) -> None:
    services.wait_for(1)
    step = services.step()
    assert step == RecoveryState(15.0, 1, services.sent()[0], pace=1 / 15)
    assert services.webhook().health.on_trial
    assert services.step(step) == DRAINING._replace(pace=1.0)
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.operational_events.types == ["webhook.recovered"]


def test_a_trial_with_nothing_to_try_is_not_passed(services: RecoveryFixture) -> None:
    assert services.step() is not None
    assert services.webhook().health.on_trial


def test_a_retry_that_is_due_on_trial_waits_too(services: RecoveryFixture) -> None:
    retrying = services.put(samples.delivery())
    verdict = services.retry(retrying.key, 2)
    assert verdict.decision is Decision.DONE
    stored = services.stored(retrying)
    assert (stored.status, stored.reason) == (Status.WAITING, "webhook_down")
    assert services.sent() == []


def test_a_webhook_that_is_enabled_is_drained_slowly_once_its_probe_is_taken(
    services: RecoveryFixture,
) -> None:
    services.wait_for(3)
    services.be(Circuit.OPEN, comeback=Comeback.SLOW)
    assert services.step() == DRAINING._replace(pace=1.0)
    assert len(services.sent()) == 1
    assert services.operational_events.types == []


def test_a_webhook_that_is_enabled_with_nothing_waiting_gets_new_events_at_once(
    services: RecoveryFixture,
) -> None:
    services.be(Circuit.OPEN, comeback=Comeback.SLOW)
    assert services.step() == DRAINING._replace(pace=1.0)
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.sent() == []


def test_a_recovery_that_would_end_as_its_owner_enables_the_webhook_goes_on(
    services: RecoveryFixture,
) -> None:
    """Its owner keeps this one, and no other is started."""
    services.wait_for(1)
    services.store.update(*KEY[:2], WebhookChanges(active=False), services.now_ms)
    end = services.health_store.end

    def overtaken(key: object, since_ms: int) -> bool:
        services.store.update(*KEY[:2], WebhookChanges(active=True), services.now_ms)
        return end(KEY, since_ms)

    services.health_store.end = overtaken  # type: ignore[assignment,method-assign]
    assert services.step() == RecoveryState(1)
    assert services.step() is not None
    assert len(services.sent()) == 1
