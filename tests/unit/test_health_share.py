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
from support.service_fixture import World
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
def world() -> World:
    world = World()
    world.add()
    return world


def failures(count: int) -> list[Attempt]:
    return [samples.attempt(number + 1) for number in range(count)]


def report(world: World, failed: int, taken: int) -> None:
    """Report a batch, the call of a function that has just read the webhook."""
    world.health.report(world.webhook(), [*failures(failed), *[SUCCESS] * taken])


def is_open(world: World) -> bool:
    return world.webhook().health.circuit is Circuit.OPEN


def test_twenty_attempts_of_which_eleven_failed_open_the_circuit(world: World) -> None:
    report(world, 6, 4)
    report(world, 4, 5)
    assert not is_open(world)
    report(world, 1, 0)
    assert is_open(world)
    assert world.webhook().health.on_trial
    assert world.operational_events.types == ["webhook.down"]
    facts = world.operational_events.published[0].facts
    assert facts == {"failing_since": "2025-12-21T10:30:00.000Z", "failures": 11}
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert world.recoveries.started == [(key, 30.0)]


def test_twenty_attempts_of_which_ten_failed_open_nothing(world: World) -> None:
    report(world, 6, 4)
    report(world, 4, 6)
    report(world, 40, 41)
    assert not is_open(world)
    report(world, 2, 0)
    assert is_open(world)


def test_what_failed_more_than_a_minute_ago_does_not_count(world: World) -> None:
    report(world, 9, 5)
    world.now_ms += WINDOW_MS
    report(world, 9, 5)
    assert not is_open(world)
    world.now_ms += WINDOW_MS - 1
    report(world, 5, 4)
    assert is_open(world)


def test_a_webhook_that_fails_now_and_then_costs_what_it_did(world: World) -> None:
    for _ in range(50):
        report(world, 1, 0)
        report(world, 0, 1)
        report(world, 0, 1)
        report(world, 2, 8)
    assert Counter(world.health_store.writes) == {"failed": 50, "succeeded": 50}
    assert world.webhook().health == CLEAN


def test_in_a_window_each_report_is_one_write(world: World) -> None:
    report(world, 1, 0)
    report(world, 1, 0)
    report(world, 0, 5)
    assert world.health_store.writes == ["failed", "failed", "succeeded", "count"]
    report(world, 1, 3)
    report(world, 0, 3)
    assert world.health_store.writes[4:] == ["count", "count"]
    assert world.webhook().health.window == Window(samples.NOW_MS, 2, 11)
    world.now_ms += WINDOW_MS
    world.health.report(
        world.webhook(), [replace(SUCCESS, started_at_ms=world.now_ms) for _ in range(3)]
    )
    assert len(world.health_store.writes) == 6


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
    world: World, reports: list[tuple[int, int]]
) -> None:
    made = 0
    for failed, taken in cycle(reports):
        report(world, failed, taken)
        made += failed + taken
        world.now_ms += 100
        if is_open(world):
            break
        assert made < 90
    assert world.operational_events.types == ["webhook.down"]


@given(
    reports=st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 9_000)), max_size=60
    )
)
def test_it_opens_by_share_only_where_more_than_half_of_a_minute_failed(
    reports: list[tuple[int, int, int]],
) -> None:
    world = World()
    world.add()
    made: list[tuple[int, int, int]] = []
    in_a_row = 0
    for failed, taken, passed_ms in reports:
        world.now_ms += passed_ms
        attempts = [*failures(failed), *[SUCCESS] * taken]
        attempts = [replace(one, started_at_ms=world.now_ms) for one in attempts]
        world.health.report(world.webhook(), attempts)
        made.append((world.now_ms, failed, taken))
        in_a_row = 0 if taken else in_a_row + failed
        if is_open(world):
            since_ms = world.webhook().health.down_since_ms
            assert since_ms is not None
            window = [one for one in made if one[0] >= since_ms]
            all_failed, all_taken = (sum(one[part] for one in window) for part in (1, 2))
            by_share = all_failed + all_taken >= ATTEMPTS_TO_OPEN and all_failed > all_taken
            assert in_a_row >= FAILURES_TO_OPEN or (
                by_share and world.now_ms - since_ms < WINDOW_MS
            )
            return


@pytest.mark.parametrize("meanwhile", ["more_are_taken", "another_opens", "it_is_deleted"])
def test_what_failed_waits_only_where_it_is_open_though_others_were_quicker(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """Between the decisive failure and the opening: without a recovery the delivery is lost."""
    webhook = world.webhook()
    opened = world.health_store.open

    def quicker(*args: Any, **kwargs: Any) -> str | None:
        monkeypatch.setattr(world.health_store, "open", opened)
        if meanwhile == "more_are_taken":
            report(world, 0, 20)
        elif meanwhile == "another_opens":
            report(world, 1, 0)
        else:
            world.store.delete(webhook.account_id, webhook.id)
        return opened(*args, **kwargs)

    monkeypatch.setattr(world.health_store, "open", quicker)
    attempts = [*failures(11), *[SUCCESS] * 9]
    assert world.health.report(webhook, attempts) is (meanwhile == "another_opens")
    if meanwhile != "it_is_deleted":
        assert is_open(world) is (meanwhile == "another_opens")


def test_ten_in_a_row_of_a_receiver_that_takes_some_are_a_trial(world: World) -> None:
    report(world, 5, 3)
    for _ in range(FAILURES_TO_OPEN):
        report(world, 1, 0)
    assert world.webhook().health.on_trial


def test_what_is_taken_on_trial_tells_of_no_recovery_and_resets_the_five_days(
    world: World,
) -> None:
    report(world, 15, 5)
    for _ in range(3):
        report(world, 1, 0)
        report(world, 0, 1)
    health = world.webhook().health
    assert (health.on_trial, health.failures, health.failing_since_ms) == (True, 0, None)
    assert world.operational_events.types == ["webhook.down"]


def test_attempts_on_trial_are_in_no_window(world: World) -> None:
    report(world, 15, 5)
    world.health_store.writes.clear()
    for failed, taken in ((1, 0), (1, 0), (0, 1)):
        report(world, failed, taken)
    assert world.webhook().health.window is None
    assert world.health_store.writes == ["failed", "failed", "succeeded"]


def test_a_webhook_that_fails_after_its_trial_is_on_trial_again(world: World) -> None:
    report(world, 15, 5)
    world.health.passed(world.webhook(), "recovery-1", proven=True)
    assert not is_open(world)
    report(world, 15, 0)
    assert world.webhook().health.on_trial
    assert world.operational_events.types == ["webhook.down", "webhook.recovered", "webhook.down"]
    assert len(world.recoveries.started) == 1


def test_a_window_that_cannot_be_counted_opens_nothing_and_raises_nothing(world: World) -> None:
    world.health_store.failures.plan("count", True)
    report(world, 15, 5)
    assert world.telemetry.counts["UnrecordedHealth"] == 1
    assert not is_open(world)
