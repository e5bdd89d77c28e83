"""A webhook's circuit by the share of its attempts that fail in a minute."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.health import (
    ATTEMPTS_TO_OPEN,
    CLEAN,
    FAILURES_TO_OPEN,
    WINDOW_MS,
    Circuit,
    RecoveryKey,
    Window,
)

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

SUCCESS = samples.attempt(status_code=200, error=None)


@pytest.fixture
def services() -> ServiceFixture:
    services = ServiceFixture()
    services.add()
    return services


def failures(count: int) -> list[Attempt]:
    return [samples.attempt(number + 1) for number in range(count)]


def report(services: ServiceFixture, failed: int, taken: int) -> None:
    """Report a batch, the call of a function that has just read the webhook."""
    services.health.report(services.webhook(), [*failures(failed), *[SUCCESS] * taken])


def is_open(services: ServiceFixture) -> bool:
    return services.webhook().health.circuit is Circuit.OPEN


def test_twenty_attempts_of_which_eleven_failed_open_the_circuit(services: ServiceFixture) -> None:
    report(services, 6, 4)
    report(services, 4, 5)
    assert not is_open(services)
    report(services, 1, 0)
    assert is_open(services)
    assert services.webhook().health.on_trial
    assert services.operational_events.types == ["webhook.down"]
    facts = services.operational_events.published[0].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z", "failures": 11}
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert services.recoveries.started == [(key, 30.0)]


def test_twenty_attempts_of_which_ten_failed_open_nothing(services: ServiceFixture) -> None:
    report(services, 6, 4)
    report(services, 4, 6)
    report(services, 40, 41)
    assert not is_open(services)
    report(services, 2, 0)
    assert is_open(services)


def test_what_failed_more_than_a_minute_ago_does_not_count(services: ServiceFixture) -> None:
    report(services, 9, 5)
    services.now_ms += WINDOW_MS
    report(services, 9, 5)
    assert not is_open(services)
    services.now_ms += WINDOW_MS - 1
    report(services, 5, 4)
    assert is_open(services)


def test_a_webhook_that_fails_now_and_then_costs_what_it_did(services: ServiceFixture) -> None:
    for _ in range(50):
        report(services, 1, 0)
        report(services, 0, 1)
        report(services, 0, 1)
        report(services, 2, 8)
    assert Counter(services.health_store.writes) == {"failed": 50, "succeeded": 50}
    assert services.webhook().health == CLEAN


def test_in_a_window_each_report_is_one_write(services: ServiceFixture) -> None:
    report(services, 1, 0)
    report(services, 1, 0)
    report(services, 0, 5)
    assert services.health_store.writes == ["failed", "failed", "succeeded", "count"]
    report(services, 1, 3)
    report(services, 0, 3)
    assert services.health_store.writes[4:] == ["count", "count"]
    assert services.webhook().health.window == Window(samples.NOW_MS, 2, 11)
    services.now_ms += WINDOW_MS
    services.health.report(
        services.webhook(), [replace(SUCCESS, started_at_ms=services.now_ms) for _ in range(3)]
    )
    assert len(services.health_store.writes) == 6


@pytest.mark.parametrize(
    "reports",
    [
        [(1, 0), (1, 0), (0, 1)],
        [(1, 0), (1, 1)],
        [(1, 0), (0, 1), (1, 0), (1, 0)],
        [(3, 2)],
        [(2, 1), (1, 1)],
        [(9, 1), (0, 5)],
        [(0, 1)] * 7 + [(1, 0)] * 9,
    ],
)
def test_whoever_fails_more_than_half_is_down_before_long(
    services: ServiceFixture, reports: list[tuple[int, int]]
) -> None:
    made = 0
    for failed, taken in cycle(reports):
        report(services, failed, taken)
        made += failed + taken
        services.now_ms += 100
        if is_open(services):
            break
        assert made < 90
    assert services.operational_events.types == ["webhook.down"]


@given(
    reports=st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 9_000)), max_size=60
    )
)
def test_it_opens_by_share_only_where_more_than_half_of_a_minute_failed(
    reports: list[tuple[int, int, int]],
) -> None:
    services = ServiceFixture()
    services.add()
    made: list[tuple[int, int, int]] = []
    in_a_row = 0
    for failed, taken, passed_ms in reports:
        services.now_ms += passed_ms
        attempts = [*failures(failed), *[SUCCESS] * taken]
        attempts = [replace(one, started_at_ms=services.now_ms) for one in attempts]
        services.health.report(services.webhook(), attempts)
        made.append((services.now_ms, failed, taken))
        in_a_row = 0 if taken else in_a_row + failed
        if is_open(services):
            since_ms = services.webhook().health.down_since_ms
            assert since_ms is not None
            window = [one for one in made if one[0] >= since_ms]
            all_failed, all_taken = (sum(one[part] for one in window) for part in (1, 2))
            by_share = all_failed + all_taken >= ATTEMPTS_TO_OPEN and all_failed > all_taken
            assert in_a_row >= FAILURES_TO_OPEN or (
                by_share and services.now_ms - since_ms < WINDOW_MS
            )
            return


@pytest.mark.parametrize("meanwhile", ["more_are_taken", "another_opens", "it_is_deleted"])
def test_what_failed_waits_only_where_it_is_open_though_others_were_quicker(
    services: ServiceFixture, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Between the decisive failure and the opening: without a recovery the delivery is lost."""
    webhook = services.webhook()
    opened = services.health_store.open

    def quicker(*args: Any, **kwargs: Any) -> str | None:
        monkeypatch.setattr(services.health_store, "open", opened)
        if meanwhile == "more_are_taken":
            report(services, 0, 20)
        elif meanwhile == "another_opens":
            report(services, 1, 0)
        else:
            services.store.delete(webhook.account_id, webhook.id)
        return opened(*args, **kwargs)

    monkeypatch.setattr(services.health_store, "open", quicker)
    attempts = [*failures(11), *[SUCCESS] * 9]
    assert services.health.report(webhook, attempts) is (meanwhile == "another_opens")
    if meanwhile != "it_is_deleted":
        assert is_open(services) is (meanwhile == "another_opens")


def test_ten_in_a_row_of_a_receiver_that_takes_some_are_a_trial(services: ServiceFixture) -> None:
    report(services, 5, 3)
    for _ in range(FAILURES_TO_OPEN):
        report(services, 1, 0)
    assert services.webhook().health.on_trial


def test_what_is_taken_on_trial_tells_of_no_recovery_and_resets_the_five_days(
    services: ServiceFixture,
) -> None:
    report(services, 15, 5)
    for _ in range(3):
        report(services, 1, 0)
        report(services, 0, 1)
    health = services.webhook().health
    assert (health.on_trial, health.failures, health.failing_since_ms) == (True, 0, None)
    assert services.operational_events.types == ["webhook.down"]


def test_attempts_on_trial_are_in_no_window(services: ServiceFixture) -> None:
    report(services, 15, 5)
    services.health_store.writes.clear()
    for failed, taken in ((1, 0), (1, 0), (0, 1)):
        report(services, failed, taken)
    assert services.webhook().health.window is None
    assert services.health_store.writes == ["failed", "failed", "succeeded"]


def test_a_webhook_that_fails_after_its_trial_is_on_trial_again(services: ServiceFixture) -> None:
    report(services, 15, 5)
    services.health.passed(services.webhook(), "recovery-1", proven=True)
    assert not is_open(services)
    report(services, 15, 0)
    assert services.webhook().health.on_trial
    assert services.operational_events.types == [
        "webhook.down",
        "webhook.recovered",
        "webhook.down",
    ]
    assert len(services.recoveries.started) == 1


def test_a_window_that_cannot_be_counted_opens_nothing_and_raises_nothing(
    services: ServiceFixture,
) -> None:
    services.health_store.failures.plan("count", True)
    report(services, 15, 5)
    assert services.telemetry.counts["UnrecordedHealth"] == 1
    assert not is_open(services)
