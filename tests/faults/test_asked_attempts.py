"""Attempts requested by hand: none of their failures counts against the receiver's health."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.fakes import FakeJobStore
from support.service_fixture import World
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status, delivery_id
from webhooks.domain.health import CLEAN, DISABLE_AFTER_MS, FAILURES_TO_OPEN, Circuit
from webhooks.domain.jobs.replay import Replay, select
from webhooks.services.redriver import Redriver

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
TAKEN = Outcome(status_code=200)
MANY = FAILURES_TO_OPEN + 1
HOUR_MS = 3_600_000


@pytest.fixture
def world() -> World:
    world = World()
    world.add()
    world.sender.answer = lambda *_: REFUSED
    return world


def exhausted(world: World, count: int = MANY, **changes: object) -> list[Delivery]:
    deliveries = []
    for number in range(count):
        event_id = f"evt_{number}"
        one = samples.delivery(
            id=delivery_id(event_id, samples.NOW_MS - 1000 * (count - number), samples.WEBHOOK_ID),
            event_id=event_id,
            status=Status.EXHAUSTED,
            next_attempt_at_ms=None,
        )
        deliveries.append(world.put(replace(one, **changes)))  # type: ignore[arg-type]
    return deliveries


def resend(world: World) -> None:
    [poison] = exhausted(world, 1)
    for _ in range(MANY):
        assert not world.retrier.resend(poison.key).succeeded


def send_tests(world: World) -> None:
    """With all of their retries: a test is no real event."""
    tests = exhausted(
        world, status=Status.PENDING, attempts=(), next_attempt_at_ms=samples.NOW_MS, test=True
    )
    for attempt in (1, 2, 3):
        for one in tests:
            world.retry(one.key, attempt)


def replay(world: World) -> None:
    exhausted(world)
    store = FakeJobStore[Replay]()
    selection = select("2025-12-01T00:00:00Z", None, None, world.now_ms)
    record = Replay("acc_1", samples.WEBHOOK_ID, "replay-1", selection, world.now_ms, world.now_ms)
    store.create(record)
    job = world.make_replay_job(store, per_second=MANY)
    assert job.step(record.key, lambda: 60.0) is None


def redrive(world: World) -> None:
    """With all of their retries: each has exhausted a schedule while others arrived."""
    redriver = Redriver(world.deliveries, world.scheduler, world.clock)
    for one in exhausted(world):
        assert redriver.redrive(one.key).done
        for attempt in (1, 2):
            world.retry(one.key, attempt, 1)


@pytest.mark.parametrize("ask", [resend, send_tests, replay, redrive])
def test_row_82_attempts_that_were_asked_for_take_no_webhook_down(
    world: World, ask: object
) -> None:
    ask(world)  # type: ignore[operator]
    assert len(world.sender.posts) >= MANY
    assert world.webhook().health == CLEAN
    assert world.health_store.writes == []
    assert world.operational_events.types in ([], ["delivery.exhausted"] * MANY)


def test_row_82_attempts_that_were_asked_for_disable_no_webhook(world: World) -> None:
    """Nor do they add to the failures of the schedule, in a row or in a window."""
    [poison] = exhausted(world, 1)
    world.health.report(world.webhook(), [samples.attempt()] * (FAILURES_TO_OPEN - 1))
    before = world.webhook().health
    for _ in range(20):
        world.retrier.resend(poison.key)
        world.now_ms += DISABLE_AFTER_MS // 10
    assert world.webhook().health == before
    assert world.webhook().active
    assert world.operational_events.types == []


def test_row_82_a_success_that_was_asked_for_has_new_events_sent_again(world: World) -> None:
    [one] = exhausted(world, 1)
    world.health.report(world.webhook(), [samples.attempt()] * FAILURES_TO_OPEN)
    world.sender.answer = lambda *_: TAKEN
    assert world.retrier.resend(one.key).succeeded
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == ["webhook.down", "webhook.recovered"]


def test_row_82_successes_that_were_asked_for_outweigh_no_failures(world: World) -> None:
    """Otherwise an owner's loop of resends would keep a failing webhook from being down."""
    [one] = exhausted(world, 1)
    for _ in range(20):
        world.health.report(world.webhook(), [samples.attempt()] * 2)
        world.sender.answer = lambda *_: TAKEN
        world.retrier.resend(one.key)
    assert world.webhook().health.circuit is Circuit.OPEN


def test_row_82_gone_disables_whoever_asked(world: World) -> None:
    """A 410 is the receiver's own statement about its URL, and no failure to be counted."""
    [one] = exhausted(world, 1)
    world.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=410)
    assert not world.retrier.resend(one.key).succeeded
    assert world.webhook().disabled_reason == "gone"
