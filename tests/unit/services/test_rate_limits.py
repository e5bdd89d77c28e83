"""Rate limits: calls up to the limit alone, and the cost of counting."""

from __future__ import annotations

import pytest

from support import samples
from support.fakes import FakeRateLimitStore, FakeTelemetry
from webhooks.domain.errors import (
    RateLimitExceededError,
    TooManyCallsError,
    TooManyResendsError,
    TooManyTestsError,
    UnavailableError,
)
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, window_at
from webhooks.services.rate_limits import CALLS_AT_ONCE, RateLimits

NOW = samples.NOW_MS / 1000
"""Half past ten, to the second."""


class CountingProcesses:
    """A number of processes that count in one table."""

    def __init__(self, **limits: int) -> None:
        self.now = NOW
        self.store = FakeRateLimitStore()
        self.telemetry = FakeTelemetry()
        self.limits = {kind: limits.get(kind.value, 5) for kind in RateLimit}

    def process(self) -> RateLimits:
        return RateLimits(
            self.store, limits=self.limits, telemetry=self.telemetry, clock=lambda: self.now
        )


def let_through(rate_limits: list[RateLimits], tries: int, account_id: str = "acme") -> int:
    """Call again and again, by turns; returns the number of allowed calls."""
    passed = 0
    for number in range(tries):
        try:
            rate_limits[number % len(rate_limits)].call(account_id)
        except TooManyCallsError:
            continue
        passed += 1
    return passed


def test_a_webhook_has_its_tests_and_resends_and_then_waits_for_the_next_hour() -> None:
    counting = CountingProcesses()
    rate_limits = counting.process()
    webhook = samples.webhook()
    for ask, error in (
        (rate_limits.test, TooManyTestsError),
        (rate_limits.resend, TooManyResendsError),
    ):
        for _ in range(5):
            ask(webhook)
        with pytest.raises(error) as refused:
            ask(webhook)
        assert refused.value.retry_after_seconds == 1800
        ask(samples.webhook(2))
        ask(samples.webhook(account_id="acc_2"))
    counting.now += 1799.5
    with pytest.raises(TooManyTestsError) as refused_late:
        rate_limits.test(webhook)
    assert refused_late.value.retry_after_seconds == 1
    counting.now += 0.5
    rate_limits.test(webhook)


def test_uncountable_calls_are_refused() -> None:
    counting = CountingProcesses()
    counting.store.failures.plan("consume", True)
    with pytest.raises(UnavailableError):
        counting.process().test(samples.webhook())


@pytest.mark.parametrize("limit", [1, 19, 20, 21, 50])
def test_one_process_lets_exactly_the_limit_through(limit: int) -> None:
    counting = CountingProcesses(calls=limit)
    assert let_through([counting.process()], 100) == limit


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_any_number_of_processes_never_pass_the_limit_and_miss_it_by_little(
    processes: int,
) -> None:
    counting = CountingProcesses(calls=100)
    passed = let_through([counting.process() for _ in range(processes)], 1000)
    assert 100 - processes * CALLS_AT_ONCE < passed <= 100


def test_counting_a_call_costs_a_small_part_of_a_write() -> None:
    counting = CountingProcesses(calls=200)
    assert let_through([counting.process()], 200) == 200
    assert counting.store.writes == 200 / CALLS_AT_ONCE


def test_refusing_costs_nothing_more() -> None:
    counting = CountingProcesses(calls=20)
    process = counting.process()
    let_through([process], 21)
    before = counting.store.writes
    assert let_through([process], 1000) == 0
    assert counting.store.writes == before


def test_accounts_are_counted_apart_and_minutes_too() -> None:
    counting = CountingProcesses(calls=3)
    process = counting.process()
    assert let_through([process], 10) == 3
    assert let_through([process], 10, "globex") == 3
    with pytest.raises(TooManyCallsError) as refused:
        process.call("acme")
    assert refused.value.retry_after_seconds == 60
    counting.now += 60
    assert let_through([process], 10) == 3


def test_a_call_that_cannot_be_counted_goes_through() -> None:
    counting = CountingProcesses(calls=3)
    counting.store.failures.plan("consume", True)
    counting.process().call("acme")
    [line] = counting.telemetry.logged("calls_not_counted")
    assert line == {"error": "consume: planned failure"}


def test_an_error_says_when_to_come_again() -> None:
    assert "in 7 seconds" in str(RateLimitExceededError(7))


def test_a_count_lasts_for_a_stretch_of_the_clock() -> None:
    hour = window_at("acme", ACCOUNT, RateLimit.TESTS, NOW)
    assert hour == window_at("acme", ACCOUNT, RateLimit.TESTS, NOW + 1799)
    assert hour.ends_at == NOW + 1800
    assert window_at("acme", ACCOUNT, RateLimit.TESTS, NOW + 1800).number == hour.number + 1
