"""The rate at which executions are stopped, and its message."""

from __future__ import annotations

import pytest

from ops.executions import Count, RequestPacer, RequestQuota, duration, stop_quota
from unit.ops.fake_deletion import FakeClock


@pytest.mark.parametrize("number", [1, 500, 501, 3000])
def test_a_pace_takes_as_long_as_was_said(number: int) -> None:
    time = FakeClock()
    quota = stop_quota("eu-central-1")
    pace = RequestPacer(quota, time.clock())
    for _ in range(number):
        pace.wait()
    assert time.seconds == pytest.approx(quota.seconds(number))


def test_a_bucket_fills_up_to_its_size() -> None:
    time = FakeClock()
    pace = RequestPacer(RequestQuota(10, 1), time.clock())
    for _ in range(10):
        pace.wait()
    time.seconds += 3600
    for _ in range(11):
        pace.wait()
    assert time.seconds == pytest.approx(3601)


def test_counts_and_durations_are_said_in_words() -> None:
    assert str(Count(1234) + Count(1, complete=False)) == "more than 1,235"
    seconds = (0, 0.2, 119, 120, 4995, 7199, 7200, 39_980)
    assert [duration(one) for one in seconds] == [
        *("a second", "a second", "119 seconds", "2 minutes", "83 minutes", "120 minutes"),
        *("2 hours", "11 hours"),
    ]
