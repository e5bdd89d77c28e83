from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.service_fixture import World
from webhooks.domain.delivery import Status
from webhooks.domain.health import (
    CLEAN,
    DISABLE_AFTER_MS,
    FAILURES_TO_OPEN,
    NOTICE_MS,
    WARN_AFTER_MS,
    Circuit,
    Comeback,
    Health,
    HealthState,
    RecoveryKey,
    Window,
)
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

SUCCESS = samples.attempt(status_code=200, error=None)
DAY_MS = 86_400_000


@pytest.fixture
def world() -> World:
    world = World()
    world.add()
    return world


def fail(world: World, count: int = 1) -> None:
    world.health.report(world.webhook(), failures(count))


def failures(count: int) -> list[Attempt]:
    return [samples.attempt(number + 1) for number in range(count)]


def test_ten_failures_in_a_row_open_the_circuit_once(world: World) -> None:
    for _ in range(FAILURES_TO_OPEN - 1):
        fail(world)
    assert world.webhook().health.circuit is Circuit.CLOSED
    assert world.recoveries.started == []

    for _ in range(3):
        fail(world)

    health = world.webhook().health
    assert (health.circuit, health.failures) == (Circuit.OPEN, FAILURES_TO_OPEN + 2)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert world.recoveries.started == [(key, 30.0)]
    assert health.recovery_due_at_ms == samples.NOW_MS + 30_000
    assert world.operational_events.types == ["webhook.down"]
    assert world.health_store.writes.count("open") == 1


def test_a_batch_counts_every_failure_in_one_write(world: World) -> None:
    fail(world, FAILURES_TO_OPEN - 1)
    assert world.webhook().health.failures == FAILURES_TO_OPEN - 1
    fail(world, 4)
    assert world.webhook().health.circuit is Circuit.OPEN
    assert world.health_store.writes == ["failed", "failed", "open"]


def test_a_batch_with_one_success_is_a_success(world: World) -> None:
    fail(world, FAILURES_TO_OPEN - 1)
    world.health.report(world.webhook(), [*failures(5), SUCCESS])
    health = world.webhook().health
    assert (health.failures, health.circuit) == (0, Circuit.CLOSED)


def test_a_success_of_a_clean_webhook_costs_no_write(world: World) -> None:
    world.health.report(world.webhook(), [SUCCESS])
    world.health.report(world.webhook(), [])
    assert world.health_store.writes == []


def test_a_success_begins_the_count_anew(world: World) -> None:
    fail(world, FAILURES_TO_OPEN - 1)
    world.health.report(world.webhook(), [SUCCESS])
    fail(world, FAILURES_TO_OPEN - 1)
    assert world.webhook().health.circuit is Circuit.CLOSED
    assert world.operational_events.types == []


def test_a_success_while_down_begins_to_drain_and_says_so_once(world: World) -> None:
    fail(world, FAILURES_TO_OPEN)
    down = world.webhook()
    world.now_ms += 5_000

    for _ in range(3):
        world.health.report(down, [SUCCESS])

    assert world.webhook().health == Health(
        circuit=Circuit.DRAINING,
        recovery_id="recovery-1",
        recovery_due_at_ms=samples.NOW_MS + 30_000,
        draining_since_ms=world.now_ms,
        window=Window(world.now_ms, 0, 0),
        probation=True,
    )
    assert world.operational_events.types == ["webhook.down", "webhook.recovered"]
    facts = world.operational_events.published[-1].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z"}


@pytest.mark.parametrize("disabled", [False, True])
def test_that_it_is_back_is_told_whoever_set_it_right(world: World, disabled: bool) -> None:
    """Its owner, who gave it another url or enabled it again: that began a clean record."""
    fail(world, FAILURES_TO_OPEN)
    if disabled:
        world.health_store.disable("acc_1", samples.WEBHOOK_ID, "failing", world.now_ms)
    world.now_ms += 60_000
    changes = WebhookChanges(url="https://new.example.com/hook", active=True)
    world.store.update("acc_1", samples.WEBHOOK_ID, changes, world.now_ms, "recovery-2")
    assert world.operational_events.types == ["webhook.down"]
    for _ in range(2):
        world.health.report(world.webhook(), [SUCCESS])
    assert world.operational_events.types == ["webhook.down", "webhook.recovered"]
    facts = world.operational_events.published[-1].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z"}
    assert world.health_store.writes.count("succeeded") == 1


def test_a_webhook_that_fails_again_while_draining_goes_on_in_its_one_recovery(
    world: World,
) -> None:
    fail(world, FAILURES_TO_OPEN)
    world.health.report(world.webhook(), [SUCCESS])
    fail(world, FAILURES_TO_OPEN)

    health = world.webhook().health
    assert (health.circuit, health.recovery_id) == (Circuit.OPEN, "recovery-1")
    assert len(world.recoveries.started) == 1
    assert world.operational_events.types == ["webhook.down", "webhook.recovered", "webhook.down"]


def test_a_thousand_failures_at_once_are_one_opening_one_recovery_one_notice(
    world: World,
) -> None:
    webhook = world.webhook()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: world.health.report(webhook, failures(1)), range(1000)))

    assert world.webhook().health.failures == 1000
    assert len(world.recoveries.started) == 1
    assert world.operational_events.types == ["webhook.down"]
    assert world.telemetry.counts["WebhooksDown"] == 1


def test_a_recovery_that_nobody_started_is_started_by_the_next_failure(world: World) -> None:
    world.recoveries.failures.plan("start", True)
    fail(world, FAILURES_TO_OPEN)
    assert world.webhook().health.circuit is Circuit.OPEN
    assert world.recoveries.started == []
    assert world.operational_events.types == ["webhook.down"]

    fail(world)
    assert world.recoveries.started == []
    world.now_ms += 30_000
    fail(world)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert world.recoveries.started == [(key, 0)]


def test_a_recovery_that_goes_on_is_not_started_again(world: World) -> None:
    fail(world, FAILURES_TO_OPEN)
    world.now_ms += 29_999
    fail(world)
    world.health.ensure_recovery(world.webhook())
    assert len(world.recoveries.started) == 1


def test_a_webhook_is_warned_of_once_after_four_days(world: World) -> None:
    fail(world)
    world.now_ms += WARN_AFTER_MS - 1
    fail(world)
    assert world.operational_events.types == []

    world.now_ms += 1
    for _ in range(3):
        fail(world)

    assert world.operational_events.types == ["webhook.failing"]
    assert world.operational_events.published[0].facts == {
        "failing_since": "2025-12-21T10:30:00.000Z",
        "disabled_at": "2025-12-26T10:30:00.000Z",
    }
    assert world.webhook().active


def test_a_webhook_is_disabled_once_after_five_days(world: World) -> None:
    fail(world)
    world.now_ms += WARN_AFTER_MS
    fail(world)
    world.now_ms += NOTICE_MS - 1
    fail(world)
    assert world.webhook().active

    world.now_ms += 1
    webhook = world.webhook()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: world.health.report(webhook, failures(20)), range(100)))

    assert (world.webhook().active, world.webhook().disabled_reason) == (False, "failing")
    assert world.operational_events.types == ["webhook.failing", "webhook.disabled"]
    assert world.operational_events.published[-1].facts == {"reason": "failing"}
    assert world.recoveries.started == []


def test_a_webhook_that_nobody_looked_at_in_five_days_is_warned_of_first(world: World) -> None:
    fail(world)
    world.now_ms += DISABLE_AFTER_MS + DAY_MS
    fail(world)
    [warning] = world.operational_events.published
    assert (warning.type, warning.facts["disabled_at"]) == (
        "webhook.failing",
        "2025-12-28T10:30:00.000Z",
    )

    world.now_ms += NOTICE_MS - 1
    fail(world)
    assert world.webhook().active
    world.now_ms += 1
    fail(world)
    assert world.webhook().disabled_reason == "failing"
    assert world.operational_events.types == ["webhook.failing", "webhook.disabled"]


def test_a_webhook_that_was_warned_of_late_is_disabled_a_day_later(world: World) -> None:
    fail(world)
    world.now_ms += WARN_AFTER_MS + NOTICE_MS // 2
    fail(world)
    world.now_ms += NOTICE_MS // 2
    fail(world)
    assert world.webhook().active
    world.now_ms += NOTICE_MS // 2
    fail(world)
    assert not world.webhook().active


def test_a_success_in_five_days_of_failures_prevents_switching_off(world: World) -> None:
    fail(world)
    world.now_ms += 3 * DAY_MS
    world.health.report(world.webhook(), [SUCCESS])
    world.now_ms += 2 * DAY_MS
    fail(world)
    world.now_ms += WARN_AFTER_MS - 1
    fail(world)
    assert world.webhook().active
    assert world.operational_events.types == []


def test_a_success_between_the_last_failure_and_its_review_prevents_switching_off(
    world: World,
) -> None:
    fail(world)
    world.now_ms += WARN_AFTER_MS
    fail(world)
    world.now_ms += NOTICE_MS
    before_the_success = world.webhook()
    world.health.report(world.webhook(), [SUCCESS])
    assert not world.health.review(before_the_success)
    assert world.webhook().active
    assert world.operational_events.types == ["webhook.failing"]


def test_a_success_between_the_last_failure_and_its_review_prevents_a_warning(
    world: World,
) -> None:
    fail(world)
    world.now_ms += WARN_AFTER_MS
    before_the_success = world.webhook()
    world.health.report(world.webhook(), [SUCCESS])
    assert not world.health.review(before_the_success)
    assert world.operational_events.types == []


def test_a_webhook_that_is_disabled_already_is_not_reported_again(world: World) -> None:
    world.health.gone(world.webhook())
    fail(world)
    world.now_ms += DISABLE_AFTER_MS
    fail(world)
    assert world.webhook().disabled_reason == "gone"
    assert world.operational_events.types == ["webhook.disabled"]


def test_what_failed_at_an_older_url_says_nothing_about_the_new_one(world: World) -> None:
    before = world.webhook()
    changes = WebhookChanges(url="https://new.example.com/")
    world.store.update("acc_1", samples.WEBHOOK_ID, changes, samples.NOW_MS + 1)
    world.health.report(before, failures(FAILURES_TO_OPEN))
    assert world.webhook().health == CLEAN
    assert (world.operational_events.types, world.recoveries.started) == ([], [])
    world.health.report(world.webhook(), failures(FAILURES_TO_OPEN))
    assert world.operational_events.types == ["webhook.down"]


def test_a_webhook_that_was_deleted_is_not_made_again(world: World) -> None:
    deleted = world.webhook()
    world.store.delete("acc_1", samples.WEBHOOK_ID)
    world.health.report(deleted, failures(FAILURES_TO_OPEN))
    world.health.gone(deleted)
    assert world.store.webhooks == {}
    assert world.operational_events.types == []
    assert world.recoveries.started == []


def test_an_exhausted_delivery_is_told_with_what_an_owner_asks_first(world: World) -> None:
    exhausted = replace(samples.delivery(), status=Status.EXHAUSTED)
    world.health.exhausted(exhausted)
    [event] = world.operational_events.published
    assert event.facts == {
        "delivery_id": exhausted.id,
        "event_id": exhausted.event_id,
        "event_type": "email.delivered",
        "attempts": 1,
        "last_error": "http_status",
        "last_status_code": 500,
    }
    assert world.telemetry.counts["Exhausted"] == 1


def test_an_event_that_is_neither_published_nor_kept_is_in_the_log(world: World) -> None:
    world.operational_events.failures.plan("publish", True)
    world.kept_events.failures.plan("keep", True)
    fail(world, FAILURES_TO_OPEN)
    assert world.webhook().health.circuit is Circuit.OPEN
    assert len(world.recoveries.started) == 1
    assert world.telemetry.logged("webhook.down")[0]["failures"] == FAILURES_TO_OPEN
    [lost] = world.telemetry.logged("operational_event_lost")
    assert (lost["type"], lost["at_ms"]) == ("webhook.down", world.now_ms)
    assert lost["facts"] == {
        "failing_since": "2025-12-21T10:30:00.000Z",
        "failures": FAILURES_TO_OPEN,
    }
    assert world.telemetry.counts["LostOperationalEvents"] == 1


@pytest.mark.parametrize("method", ["failed", "open"])
def test_health_that_cannot_be_recorded_is_counted_and_raises_nothing(
    world: World, method: str
) -> None:
    world.health_store.failures.plan(method, True)
    fail(world, FAILURES_TO_OPEN)
    assert world.telemetry.counts["UnrecordedHealth"] == 1
    assert world.webhook().health.circuit is Circuit.CLOSED
    fail(world)
    assert (world.webhook().health.circuit is Circuit.OPEN) == (method == "open")


def test_a_recovery_that_could_not_be_started_is_left_for_the_sweeper(world: World) -> None:
    world.recoveries.failures.plan("start", True)
    fail(world, FAILURES_TO_OPEN)
    assert world.telemetry.counts["UnrecordedHealth"] == 1
    overdue = world.health_store.overdue(samples.NOW_MS + 30_001, 10)
    assert overdue == [RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")]


@pytest.mark.parametrize(
    ("health", "state", "changed"),
    [
        (Health(), HealthState.HEALTHY, False),
        (Health(failures=1), HealthState.FAILING, True),
        (Health(failures=10, circuit=Circuit.OPEN), HealthState.DOWN, True),
        (Health(circuit=Circuit.OPEN), HealthState.DOWN, True),
        (Health(circuit=Circuit.OPEN, comeback=Comeback.TRIAL), HealthState.DOWN, True),
        (Health(circuit=Circuit.OPEN, comeback=Comeback.SLOW), HealthState.RECOVERING, True),
        (Health(1, circuit=Circuit.OPEN, comeback=Comeback.SLOW), HealthState.DOWN, True),
        (Health(circuit=Circuit.DRAINING), HealthState.RECOVERING, False),
        (Health(failures=1, circuit=Circuit.DRAINING), HealthState.FAILING, True),
    ],
)
def test_a_health_in_one_word_and_whether_a_success_is_news(
    health: Health, state: HealthState, changed: bool
) -> None:
    assert (health.state, health.changed_by_success) == (state, changed)
