from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.service_fixture import ServiceFixture
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
def fixture() -> ServiceFixture:
    fixture = ServiceFixture()
    fixture.add()
    return fixture


def fail(fixture: ServiceFixture, count: int = 1) -> None:
    fixture.health.report(fixture.webhook(), failures(count))


def failures(count: int) -> list[Attempt]:
    return [samples.attempt(number + 1) for number in range(count)]


def test_ten_failures_in_a_row_open_the_circuit_once(fixture: ServiceFixture) -> None:
    for _ in range(FAILURES_TO_OPEN - 1):
        fail(fixture)
    assert fixture.webhook().health.circuit is Circuit.CLOSED
    assert fixture.recoveries.started == []

    for _ in range(3):
        fail(fixture)

    health = fixture.webhook().health
    assert (health.circuit, health.failures) == (Circuit.OPEN, FAILURES_TO_OPEN + 2)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert fixture.recoveries.started == [(key, 30.0)]
    assert health.recovery_due_at_ms == samples.NOW_MS + 30_000
    assert fixture.operational_events.types == ["webhook.down"]
    assert fixture.health_store.writes.count("open") == 1


def test_a_batch_counts_every_failure_in_one_write(fixture: ServiceFixture) -> None:
    fail(fixture, FAILURES_TO_OPEN - 1)
    assert fixture.webhook().health.failures == FAILURES_TO_OPEN - 1
    fail(fixture, 4)
    assert fixture.webhook().health.circuit is Circuit.OPEN
    assert fixture.health_store.writes == ["failed", "failed", "open"]


def test_a_batch_with_one_success_is_a_success(fixture: ServiceFixture) -> None:
    fail(fixture, FAILURES_TO_OPEN - 1)
    fixture.health.report(fixture.webhook(), [*failures(5), SUCCESS])
    health = fixture.webhook().health
    assert (health.failures, health.circuit) == (0, Circuit.CLOSED)


def test_a_success_of_a_clean_webhook_costs_no_write(fixture: ServiceFixture) -> None:
    fixture.health.report(fixture.webhook(), [SUCCESS])
    fixture.health.report(fixture.webhook(), [])
    assert fixture.health_store.writes == []


def test_a_success_begins_the_count_anew(fixture: ServiceFixture) -> None:
    fail(fixture, FAILURES_TO_OPEN - 1)
    fixture.health.report(fixture.webhook(), [SUCCESS])
    fail(fixture, FAILURES_TO_OPEN - 1)
    assert fixture.webhook().health.circuit is Circuit.CLOSED
    assert fixture.operational_events.types == []


def test_a_success_while_down_begins_to_drain_and_says_so_once(fixture: ServiceFixture) -> None:
    fail(fixture, FAILURES_TO_OPEN)
    down = fixture.webhook()
    fixture.now_ms += 5_000

    for _ in range(3):
        fixture.health.report(down, [SUCCESS])

    assert fixture.webhook().health == Health(
        circuit=Circuit.DRAINING,
        recovery_id="recovery-1",
        recovery_due_at_ms=samples.NOW_MS + 30_000,
        draining_since_ms=fixture.now_ms,
        window=Window(fixture.now_ms, 0, 0),
        probation=True,
    )
    assert fixture.operational_events.types == ["webhook.down", "webhook.recovered"]
    facts = fixture.operational_events.published[-1].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z"}


@pytest.mark.parametrize("disabled", [False, True])
def test_that_it_is_back_is_told_whoever_set_it_right(
    fixture: ServiceFixture, disabled: bool
) -> None:
    """Its owner, who gave it another url or enabled it again: that began a clean record."""
    fail(fixture, FAILURES_TO_OPEN)
    if disabled:
        fixture.health_store.disable("acc_1", samples.WEBHOOK_ID, "failing", fixture.now_ms)
    fixture.now_ms += 60_000
    changes = WebhookChanges(url="https://new.example.com/hook", active=True)
    fixture.store.update("acc_1", samples.WEBHOOK_ID, changes, fixture.now_ms, "recovery-2")
    assert fixture.operational_events.types == ["webhook.down"]
    for _ in range(2):
        fixture.health.report(fixture.webhook(), [SUCCESS])
    assert fixture.operational_events.types == ["webhook.down", "webhook.recovered"]
    facts = fixture.operational_events.published[-1].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z"}
    assert fixture.health_store.writes.count("succeeded") == 1


def test_a_webhook_that_fails_again_while_draining_goes_on_in_its_one_recovery(
    fixture: ServiceFixture,
) -> None:
    fail(fixture, FAILURES_TO_OPEN)
    fixture.health.report(fixture.webhook(), [SUCCESS])
    fail(fixture, FAILURES_TO_OPEN)

    health = fixture.webhook().health
    assert (health.circuit, health.recovery_id) == (Circuit.OPEN, "recovery-1")
    assert len(fixture.recoveries.started) == 1
    assert fixture.operational_events.types == ["webhook.down", "webhook.recovered", "webhook.down"]


def test_a_thousand_failures_at_once_are_one_opening_one_recovery_one_notice(
    fixture: ServiceFixture,
) -> None:
    webhook = fixture.webhook()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: fixture.health.report(webhook, failures(1)), range(1000)))

    assert fixture.webhook().health.failures == 1000
    assert len(fixture.recoveries.started) == 1
    assert fixture.operational_events.types == ["webhook.down"]
    assert fixture.telemetry.counts["WebhooksDown"] == 1


def test_a_recovery_that_nobody_started_is_started_by_the_next_failure(
    fixture: ServiceFixture,
) -> None:
    fixture.recoveries.failures.plan("start", True)
    fail(fixture, FAILURES_TO_OPEN)
    assert fixture.webhook().health.circuit is Circuit.OPEN
    assert fixture.recoveries.started == []
    assert fixture.operational_events.types == ["webhook.down"]

    fail(fixture)
    assert fixture.recoveries.started == []
    fixture.now_ms += 30_000
    fail(fixture)
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert fixture.recoveries.started == [(key, 0)]


def test_a_recovery_that_goes_on_is_not_started_again(fixture: ServiceFixture) -> None:
    fail(fixture, FAILURES_TO_OPEN)
    fixture.now_ms += 29_999
    fail(fixture)
    fixture.health.ensure_recovery(fixture.webhook())
    assert len(fixture.recoveries.started) == 1


def test_a_webhook_is_warned_of_once_after_four_days(fixture: ServiceFixture) -> None:
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS - 1
    fail(fixture)
    assert fixture.operational_events.types == []

    fixture.now_ms += 1
    for _ in range(3):
        fail(fixture)

    assert fixture.operational_events.types == ["webhook.failing"]
    assert fixture.operational_events.published[0].facts == {
        "failing_since": "2025-12-21T10:30:00.000Z",
        "disabled_at": "2025-12-26T10:30:00.000Z",
    }
    assert fixture.webhook().active


def test_a_webhook_is_disabled_once_after_five_days(fixture: ServiceFixture) -> None:
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS
    fail(fixture)
    fixture.now_ms += NOTICE_MS - 1
    fail(fixture)
    assert fixture.webhook().active

    fixture.now_ms += 1
    webhook = fixture.webhook()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: fixture.health.report(webhook, failures(20)), range(100)))

    assert (fixture.webhook().active, fixture.webhook().disabled_reason) == (False, "failing")
    assert fixture.operational_events.types == ["webhook.failing", "webhook.disabled"]
    assert fixture.operational_events.published[-1].facts == {"reason": "failing"}
    assert fixture.recoveries.started == []


def test_a_webhook_that_nobody_looked_at_in_five_days_is_warned_of_first(
    fixture: ServiceFixture,
) -> None:
    fail(fixture)
    fixture.now_ms += DISABLE_AFTER_MS + DAY_MS
    fail(fixture)
    [warning] = fixture.operational_events.published
    assert (warning.type, warning.facts["disabled_at"]) == (
        "webhook.failing",
        "2025-12-28T10:30:00.000Z",
    )

    fixture.now_ms += NOTICE_MS - 1
    fail(fixture)
    assert fixture.webhook().active
    fixture.now_ms += 1
    fail(fixture)
    assert fixture.webhook().disabled_reason == "failing"
    assert fixture.operational_events.types == ["webhook.failing", "webhook.disabled"]


def test_a_webhook_that_was_warned_of_late_is_disabled_a_day_later(fixture: ServiceFixture) -> None:
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS + NOTICE_MS // 2
    fail(fixture)
    fixture.now_ms += NOTICE_MS // 2
    fail(fixture)
    assert fixture.webhook().active
    fixture.now_ms += NOTICE_MS // 2
    fail(fixture)
    assert not fixture.webhook().active


def test_a_success_in_five_days_of_failures_prevents_switching_off(fixture: ServiceFixture) -> None:
    fail(fixture)
    fixture.now_ms += 3 * DAY_MS
    fixture.health.report(fixture.webhook(), [SUCCESS])
    fixture.now_ms += 2 * DAY_MS
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS - 1
    fail(fixture)
    assert fixture.webhook().active
    assert fixture.operational_events.types == []


def test_a_success_between_the_last_failure_and_its_review_prevents_switching_off(
    fixture: ServiceFixture,
) -> None:
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS
    fail(fixture)
    fixture.now_ms += NOTICE_MS
    before_the_success = fixture.webhook()
    fixture.health.report(fixture.webhook(), [SUCCESS])
    assert not fixture.health.review(before_the_success)
    assert fixture.webhook().active
    assert fixture.operational_events.types == ["webhook.failing"]


def test_a_success_between_the_last_failure_and_its_review_prevents_a_warning(
    fixture: ServiceFixture,
) -> None:
    fail(fixture)
    fixture.now_ms += WARN_AFTER_MS
    before_the_success = fixture.webhook()
    fixture.health.report(fixture.webhook(), [SUCCESS])
    assert not fixture.health.review(before_the_success)
    assert fixture.operational_events.types == []


def test_a_webhook_that_is_disabled_already_is_not_reported_again(fixture: ServiceFixture) -> None:
    fixture.health.gone(fixture.webhook())
    fail(fixture)
    fixture.now_ms += DISABLE_AFTER_MS
    fail(fixture)
    assert fixture.webhook().disabled_reason == "gone"
    assert fixture.operational_events.types == ["webhook.disabled"]


def test_what_failed_at_an_older_url_says_nothing_about_the_new_one(
    fixture: ServiceFixture,
) -> None:
    before = fixture.webhook()
    changes = WebhookChanges(url="https://new.example.com/")
    fixture.store.update("acc_1", samples.WEBHOOK_ID, changes, samples.NOW_MS + 1)
    fixture.health.report(before, failures(FAILURES_TO_OPEN))
    assert fixture.webhook().health == CLEAN
    assert (fixture.operational_events.types, fixture.recoveries.started) == ([], [])
    fixture.health.report(fixture.webhook(), failures(FAILURES_TO_OPEN))
    assert fixture.operational_events.types == ["webhook.down"]


def test_a_webhook_that_was_deleted_is_not_made_again(fixture: ServiceFixture) -> None:
    deleted = fixture.webhook()
    fixture.store.delete("acc_1", samples.WEBHOOK_ID)
    fixture.health.report(deleted, failures(FAILURES_TO_OPEN))
    fixture.health.gone(deleted)
    assert fixture.store.webhooks == {}
    assert fixture.operational_events.types == []
    assert fixture.recoveries.started == []


def test_an_exhausted_delivery_is_told_with_what_an_owner_asks_first(
    fixture: ServiceFixture,
) -> None:
    exhausted = replace(samples.delivery(), status=Status.EXHAUSTED)
    fixture.health.exhausted(exhausted)
    [event] = fixture.operational_events.published
    assert event.facts == {
        "delivery_id": exhausted.id,
        "event_id": exhausted.event_id,
        "event_type": "email.delivered",
        "attempts": 1,
        "last_error": "http_status",
        "last_status_code": 500,
    }
    assert fixture.telemetry.counts["Exhausted"] == 1


def test_an_event_that_is_neither_published_nor_kept_is_in_the_log(fixture: ServiceFixture) -> None:
    fixture.operational_events.failures.plan("publish", True)
    fixture.kept_events.failures.plan("keep", True)
    fail(fixture, FAILURES_TO_OPEN)
    assert fixture.webhook().health.circuit is Circuit.OPEN
    assert len(fixture.recoveries.started) == 1
    assert fixture.telemetry.logged("webhook.down")[0]["failures"] == FAILURES_TO_OPEN
    [lost] = fixture.telemetry.logged("operational_event_lost")
    assert (lost["type"], lost["at_ms"]) == ("webhook.down", fixture.now_ms)
    assert lost["facts"] == {
        "failing_since": "2025-12-21T10:30:00.000Z",
        "failures": FAILURES_TO_OPEN,
    }
    assert fixture.telemetry.counts["LostOperationalEvents"] == 1


@pytest.mark.parametrize("method", ["failed", "open"])
def test_health_that_cannot_be_recorded_is_counted_and_raises_nothing(
    fixture: ServiceFixture, method: str
) -> None:
    fixture.health_store.failures.plan(method, True)
    fail(fixture, FAILURES_TO_OPEN)
    assert fixture.telemetry.counts["UnrecordedHealth"] == 1
    assert fixture.webhook().health.circuit is Circuit.CLOSED
    fail(fixture)
    assert (fixture.webhook().health.circuit is Circuit.OPEN) == (method == "open")


def test_a_recovery_that_could_not_be_started_is_left_for_the_sweeper(
    fixture: ServiceFixture,
) -> None:
    fixture.recoveries.failures.plan("start", True)
    fail(fixture, FAILURES_TO_OPEN)
    assert fixture.telemetry.counts["UnrecordedHealth"] == 1
    overdue = fixture.health_store.overdue(samples.NOW_MS + 30_001, 10)
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
