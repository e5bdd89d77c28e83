"""The rate of the sweep's calls of Step Functions."""

from __future__ import annotations

from webhooks.services.jobs.quota import LOOKS_AT_ONCE, LOOKS_PER_SECOND, Quota


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_sweeps_looks_fit_in_its_time_and_stay_below_the_quota() -> None:
    time = Time()
    quota = Quota(LOOKS_PER_SECOND, LOOKS_AT_ONCE, clock=time.clock, sleep=time.sleep)
    taken = 0
    while quota.take(35 - time.seconds):
        taken += 1
    assert 500 < taken <= LOOKS_AT_ONCE + 35 * LOOKS_PER_SECOND
    assert time.seconds <= 35


def test_a_call_that_would_wait_too_long_is_refused_at_once_and_costs_no_token() -> None:
    time = Time()
    quota = Quota(LOOKS_PER_SECOND, LOOKS_AT_ONCE, clock=time.clock, sleep=time.sleep)
    for _ in range(LOOKS_AT_ONCE):
        assert quota.take(0)
    assert not quota.take(0)
    assert not quota.take(0)
    assert time.seconds == 0
    time.seconds += 1 / LOOKS_PER_SECOND + 0.001
    assert quota.take(0)
    assert not quota.take(0)


def test_a_bucket_holds_no_more_than_at_first() -> None:
    time = Time()
    quota = Quota(LOOKS_PER_SECOND, LOOKS_AT_ONCE, clock=time.clock, sleep=time.sleep)
    time.seconds += 3_600
    assert sum(quota.take(0) for _ in range(2 * LOOKS_AT_ONCE)) == LOOKS_AT_ONCE


def test_threads_that_wait_are_given_one_call_after_the_other() -> None:
    time = Time()
    waits: list[float] = []
    quota = Quota(LOOKS_PER_SECOND, LOOKS_AT_ONCE, clock=time.clock, sleep=waits.append)
    for _ in range(LOOKS_AT_ONCE + 3):
        assert quota.take(1)
    assert waits == [number / LOOKS_PER_SECOND for number in (1.0, 2.0, 3.0)]
