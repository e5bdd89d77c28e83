"""Attempts requested by hand: none of their failures counts against the receiver's health."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.fakes import FakeJobStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status, delivery_id
from webhooks.domain.health import CLEAN, DISABLE_AFTER_MS, FAILURES_TO_OPEN, Circuit
from webhooks.domain.jobs.replay import Replay, select
from webhooks.services.redriver import Redriver

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
TAKEN = Outcome(status_code=200)
MANY = FAILURES_TO_OPEN + 1
HOUR_MS = 3_600_000


@pytest.fixture
def services() -> ServiceFixture:
    services = ServiceFixture()
    services.add()
    services.sender.answer = lambda *_: REFUSED
    return services


def exhausted(services: ServiceFixture, count: int = MANY, **changes: object) -> list[Delivery]:
    deliveries = []
    for number in range(count):
        event_id = f"evt_{number}"
        one = samples.delivery(
            id=delivery_id(event_id, samples.NOW_MS - 1000 * (count - number), samples.WEBHOOK_ID),
            event_id=event_id,
            status=Status.EXHAUSTED,
            next_attempt_at_ms=None,
        )
        deliveries.append(services.put(replace(one, **changes)))  # type: ignore[arg-type]
    return deliveries


def resend(services: ServiceFixture) -> None:
    [poison] = exhausted(services, 1)
    for _ in range(MANY):
        assert not services.retrier.resend(poison.key).succeeded


def send_tests(services: ServiceFixture) -> None:
    """With all of their retries: a test is no real event."""
    tests = exhausted(
        services, status=Status.PENDING, attempts=(), next_attempt_at_ms=samples.NOW_MS, test=True
    )
    for attempt in (1, 2, 3):
        for one in tests:
            services.retry(one.key, attempt)


def replay(services: ServiceFixture) -> None:
    exhausted(services)
    store = FakeJobStore[Replay]()
    selection = select("2025-12-01T00:00:00Z", None, None, services.now_ms)
    record = Replay(
        "acc_1", samples.WEBHOOK_ID, "replay-1", selection, services.now_ms, services.now_ms
    )
    store.create(record)
    job = services.make_replay_job(store, per_second=MANY)
    assert job.step(record.key, lambda: 60.0) is None


def redrive(services: ServiceFixture) -> None:
    """With all of their retries: each has exhausted a schedule while others arrived."""
    redriver = Redriver(services.deliveries, services.scheduler, services.clock)
    for one in exhausted(services):
        assert redriver.redrive(one.key).done
        for attempt in (1, 2):
            services.retry(one.key, attempt, 1)


@pytest.mark.parametrize("ask", [resend, send_tests, replay, redrive])
def test_row_82_attempts_that_were_asked_for_take_no_webhook_down(
    services: ServiceFixture, ask: object
) -> None:
    ask(services)  # type: ignore[operator]
    assert len(services.sender.posts) >= MANY
    assert services.webhook().health == CLEAN
    assert services.health_store.writes == []
    assert services.operational_events.types in ([], ["delivery.exhausted"] * MANY)


def test_row_82_attempts_that_were_asked_for_disable_no_webhook(services: ServiceFixture) -> None:
    """Nor do they add to the failures of the schedule, in a row or in a window."""
    [poison] = exhausted(services, 1)
    services.health.report(services.webhook(), [samples.attempt()] * (FAILURES_TO_OPEN - 1))
    before = services.webhook().health
    for _ in range(20):
        services.retrier.resend(poison.key)
        services.now_ms += DISABLE_AFTER_MS // 10
    assert services.webhook().health == before
    assert services.webhook().active
    assert services.operational_events.types == []


def test_row_82_a_success_that_was_asked_for_has_new_events_sent_again(
    services: ServiceFixture,
) -> None:
    [one] = exhausted(services, 1)
    services.health.report(services.webhook(), [samples.attempt()] * FAILURES_TO_OPEN)
    services.sender.answer = lambda *_: TAKEN
    assert services.retrier.resend(one.key).succeeded
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.operational_events.types == ["webhook.down", "webhook.recovered"]


def test_row_82_successes_that_were_asked_for_outweigh_no_failures(
    services: ServiceFixture,
) -> None:
    """Otherwise an owner's loop of resends would keep a failing webhook from being down."""
    [one] = exhausted(services, 1)
    for _ in range(20):
        services.health.report(services.webhook(), [samples.attempt()] * 2)
        services.sender.answer = lambda *_: TAKEN
        services.retrier.resend(one.key)
    assert services.webhook().health.circuit is Circuit.OPEN


def test_row_82_gone_disables_whoever_asked(services: ServiceFixture) -> None:
    """A 410 is the receiver's own statement about its URL, and no failure to be counted."""
    [one] = exhausted(services, 1)
    services.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=410)
    assert not services.retrier.resend(one.key).succeeded
    assert services.webhook().disabled_reason == "gone"
