"""A recovery drains the waiting deliveries, and settles before it ends."""

from __future__ import annotations

import pytest

from support import samples
from unit.services.jobs.recovery_fixture import (
    DRAINING,
    FIRST,
    KEY,
    RECOVERY_ID,
    REFUSED,
    RecoveryFixture,
    settled,
    waiting,
)
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.drain_rate import MAX_RATE
from webhooks.domain.health import FAILURES_TO_OPEN, SETTLE_SECONDS, Circuit, Health, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.ports import WebhookChanges
from webhooks.services.jobs.recovery import SECONDS_FOR_A_STEP


@pytest.fixture
def services() -> RecoveryFixture:
    return RecoveryFixture()


def test_what_waits_is_sent_oldest_first_at_the_rate(services: RecoveryFixture) -> None:
    deliveries = services.wait_for(7)
    services.drain()
    sent = []
    for _ in range(3):
        assert services.step() == DRAINING
        sent.append(sorted(services.sent()))
        services.sender.posts.clear()
    ids = [delivery.id for delivery in deliveries]
    assert sent == [ids[:3], ids[3:6], ids[6:]]
    assert {services.stored(one).status for one in deliveries} == {Status.SUCCEEDED}


def test_a_drain_sends_what_its_host_may_get_and_waits_for_the_rest(
    services: RecoveryFixture,
) -> None:
    services.recovery_rate = 50
    services.requests_per_host = 4
    deliveries = services.wait_for(10)
    services.drain()
    # Two without a reservation, and a second's turns.
    assert services.step() == DRAINING
    assert sorted(services.sent()) == [one.id for one in deliveries[:6]]
    assert services.step() == DRAINING
    assert len(services.sent()) == 6
    services.now_ms += 1000
    assert services.step() == DRAINING
    assert sorted(services.sent()) == [one.id for one in deliveries]


def test_one_that_fails_in_draining_goes_back_to_its_schedule(services: RecoveryFixture) -> None:
    first, second = services.wait_for(2)
    services.drain()
    services.sender.answer = lambda _, headers: (
        REFUSED if headers["X-SendComms-Delivery"] == first.id else Outcome(status_code=200)
    )
    assert services.step() == DRAINING
    back = services.stored(first)
    assert (back.status, back.generation, back.reason) == (Status.RETRYING, 1, None)
    assert back.next_attempt_at_ms == samples.NOW_MS + 5_000
    assert services.scheduler.executions == {first.key: (2, 5.0)}
    assert services.stored(second).status is Status.SUCCEEDED


@pytest.mark.parametrize("status_code", [429, 503])
def test_a_step_of_draining_stops_with_a_response_that_asks_for_a_pause(
    services: RecoveryFixture, status_code: int
) -> None:
    services.recovery_rate = 50
    first, *_ = services.wait_for(50)
    services.drain()
    asks = Outcome(FailureReason.HTTP_STATUS, status_code, retry_after_seconds=600)
    services.sender.answer = lambda _, headers: (
        asks if headers["X-SendComms-Delivery"] == first.id else Outcome(status_code=200)
    )
    services.step()
    # The rest of that step was on its way.
    assert len(services.sent()) == MAX_RATE
    waits = services.step()
    assert waits is not None
    assert (waits.seconds, len(services.sent())) == (600, MAX_RATE)


def test_draining_stops_where_every_one_of_a_batch_fails(services: RecoveryFixture) -> None:
    services.recovery_rate = 50
    services.wait_for(40)
    services.drain()
    services.sender.answer = lambda *_: REFUSED
    assert services.step() == DRAINING._replace(pace=8.0)
    assert len(services.sent()) == 16
    health = services.webhook().health
    assert (health.circuit, health.recovery_id) == (Circuit.OPEN, RECOVERY_ID)
    assert services.recoveries.started == []
    assert services.operational_events.types == ["webhook.down"]


def test_draining_goes_on_past_some_that_fail(services: RecoveryFixture) -> None:
    services.recovery_rate = 50
    deliveries = services.wait_for(40)
    services.drain()
    refused = {one.id for one in deliveries[::4]}
    services.sender.answer = lambda _, headers: (
        REFUSED if headers["X-SendComms-Delivery"] in refused else Outcome(status_code=200)
    )
    assert services.step() == DRAINING
    assert len(services.sent()) == 40
    assert services.webhook().health.circuit is Circuit.DRAINING


def test_a_receiver_that_is_down_again_is_left_in_peace_though_no_schedule_can_be_started(
    services: RecoveryFixture,
) -> None:
    """Each is attempted once and is the sweep's from then on, when it is due."""
    services.schedule = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
    deliveries = services.wait_for(3)
    services.drain()
    services.sender.answer = lambda *_: REFUSED
    services.scheduler.failures.plan("start", *[True] * 1_000)
    for _ in range(40):
        services.step()
    stored = [services.stored(one) for one in deliveries]
    before = len(deliveries[0].attempts)
    assert [len(one.attempts) for one in stored] == [before + 1] * 3
    assert all(one.unstarted for one in stored)


def test_draining_stops_in_time(services: RecoveryFixture) -> None:
    services.recovery_rate = 50
    services.wait_for(40)
    services.drain()
    left = iter([SECONDS_FOR_A_STEP, SECONDS_FOR_A_STEP - 1])
    assert services.recovery_job.advance(KEY, FIRST, lambda: next(left)) == DRAINING
    assert len(services.sent()) == 16


@pytest.mark.parametrize("change", ["another recovery", "disabled", "deleted", "renamed"])
def test_a_slow_step_goes_on_only_while_it_is_its_recoverys(change: str) -> None:
    services = RecoveryFixture(recovery_rate=50)
    services.wait_for(50)
    services.drain()

    def slow(*_: object) -> Outcome:
        if services.now_ms == samples.NOW_MS:
            changes = WebhookChanges(active=change != "disabled", description="new")
            another = "recovery-9" if change == "another recovery" else None
            services.store.update("acc_1", samples.WEBHOOK_ID, changes, services.now_ms, another)
            if change == "deleted":
                services.store.delete("acc_1", samples.WEBHOOK_ID)
        services.now_ms = samples.NOW_MS + 1000
        return Outcome(status_code=200, duration_ms=1000)

    services.sender.answer = slow
    services.step()
    assert len(services.sent()) == (50 if change == "renamed" else 16)


@pytest.mark.parametrize(("found_out_by", "pace"), [("draining", 4.0), ("dispatcher", 25.0)])
def test_a_webhook_that_is_down_again_is_left_alone_before_its_first_probe(
    services: RecoveryFixture, found_out_by: str, pace: float
) -> None:
    services.recovery_rate = 50
    services.wait_for(60)
    services.drain()
    services.random = 1.0
    if found_out_by == "draining":
        services.sender.answer = lambda *_: REFUSED
    step = services.step()
    if found_out_by == "dispatcher":
        services.health.report(services.webhook(), [samples.attempt()] * FAILURES_TO_OPEN)
    assert services.webhook().health.circuit is Circuit.OPEN
    services.sender.posts.clear()
    services.sender.answer = None

    assert step is not None
    step = services.step(step)

    assert step == RecoveryState(33.0, probe=1, pace=pace)
    assert services.sent() == []
    assert services.webhook().health.recovery_due_at_ms >= services.now_ms + 33_000
    assert services.step(step) == DRAINING._replace(pace=pace)
    assert len(services.sent()) == 1


@pytest.mark.parametrize("ahead_ms", [0, 600_000, -600_000])
def test_a_recovery_ends_only_when_no_function_can_hold_the_old_state(
    services: RecoveryFixture, ahead_ms: int
) -> None:
    """Under any clock of the function that recorded the draining's start."""
    services.drain()
    since_ms = services.now_ms
    services.now_ms += ahead_ms
    step = services.step()
    assert step == RecoveryState(SETTLE_SECONDS, probe=0, settled=since_ms)
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.step(step) is None
    assert services.webhook().health == Health()
    assert services.telemetry.logged("recovery_ended")


def test_one_that_a_slow_dispatcher_deferred_late_is_sent(services: RecoveryFixture) -> None:
    services.drain()
    late = services.put(waiting(1))
    assert services.step(settled(services)) == settled(services)
    assert services.stored(late).status is Status.SUCCEEDED
    assert services.step(settled(services)) is None


def test_a_webhook_that_fails_again_at_the_very_end_is_probed_on(services: RecoveryFixture) -> None:
    services.drain()
    before = settled(services)
    end = services.health_store.end

    def meanwhile(key: RecoveryKey, draining_since_ms: int, **known: int | None) -> bool:
        services.be(Circuit.OPEN)
        return end(key, draining_since_ms, **known)

    services.health_store.end = meanwhile  # type: ignore[method-assign]
    assert services.step(before) == before
    assert services.webhook().health.recovery_id == RECOVERY_ID


def test_a_webhook_that_was_down_once_more_at_the_very_end_settles_once_more(
    services: RecoveryFixture,
) -> None:
    """Between the look and the end it went down and came back: a dispatcher may have seen that."""
    services.drain()
    before = settled(services)
    end = services.health_store.end

    def meanwhile(key: RecoveryKey, draining_since_ms: int, **known: int | None) -> bool:
        services.now_ms += 1
        services.drain()
        return end(key, draining_since_ms, **known)

    services.health_store.end = meanwhile  # type: ignore[method-assign]
    assert services.step(before) == before
    services.health_store.end = end  # type: ignore[method-assign]
    late = services.put(waiting(1))
    assert services.step(before) == before
    assert services.stored(late).status is Status.SUCCEEDED
    assert services.step(before) == RecoveryState(SETTLE_SECONDS, probe=0, settled=services.now_ms)
