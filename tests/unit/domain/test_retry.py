from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.retry import DEFAULT_SCHEDULE, next_delay, parse_schedule, restart_delay

SCHEDULES = st.lists(st.floats(0, 86_400), min_size=1, max_size=20)
FRACTIONS = st.floats(0, 1)
FAILED = Outcome(FailureReason.HTTP_STATUS, status_code=500)


def asking(seconds: float | None, status_code: int = 503) -> Outcome:
    return Outcome(FailureReason.HTTP_STATUS, status_code=status_code, retry_after_seconds=seconds)


def test_the_default_schedule_is_the_contracts() -> None:
    assert len(DEFAULT_SCHEDULE) + 1 == 10
    assert sum(DEFAULT_SCHEDULE) / 3600 == pytest.approx(75.6, abs=0.05)


@given(SCHEDULES, st.integers(1, 20), FRACTIONS)
def test_a_delay_is_never_early_and_at_most_a_tenth_late(
    schedule: list[float], attempt_number: int, random: float
) -> None:
    delay = next_delay(schedule, attempt_number, FAILED, random)
    if attempt_number > len(schedule):
        assert delay is None
    else:
        planned = schedule[attempt_number - 1]
        assert delay is not None
        assert planned <= delay <= planned * 1.1 + 1e-9


@given(SCHEDULES, FRACTIONS, st.floats(0, 1e12), st.sampled_from([429, 503]))
def test_retry_after_moves_a_delay_later_and_by_no_more_than_a_day(
    schedule: list[float], random: float, asked: float, status_code: int
) -> None:
    planned = next_delay(schedule, 1, FAILED, random)
    delay = next_delay(schedule, 1, asking(asked, status_code), random)
    assert planned is not None
    assert delay == max(planned, min(asked, 86_400))


@pytest.mark.parametrize("status_code", [400, 404, 500, 502])
def test_retry_after_on_other_statuses_changes_nothing(status_code: int) -> None:
    assert next_delay((5.0,), 1, asking(1_000, status_code), 0.0) == 5.0


def test_the_last_attempt_stays_the_last_whatever_the_receiver_asks() -> None:
    assert next_delay((5.0,), 2, asking(1), 0.0) is None


def test_randomness_may_be_a_function() -> None:
    assert next_delay((10.0,), 1, FAILED, lambda: 1.0) == next_delay((10.0,), 1, FAILED, 1.0)


def test_a_schedule_is_read_from_its_text() -> None:
    text = ",".join(f"{seconds:g}" for seconds in DEFAULT_SCHEDULE)
    assert parse_schedule(text) == DEFAULT_SCHEDULE
    assert parse_schedule(" 5, 1 ") == (5.0, 1.0)


@pytest.mark.parametrize(
    "text", ["", "five", "5,,6", "-1", "0.5", "12345678", "nan", "inf", "1e9", ",".join(["1"] * 51)]
)
def test_a_schedule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="schedule"):
        parse_schedule(text)


def test_a_restart_waits_twice_as_long_each_time_up_to_a_day() -> None:
    delays = [restart_delay(restarts) for restarts in range(12)]
    assert delays[:4] == [0, 600, 1200, 2400]
    assert delays[8:] == [76_800, 86_400, 86_400, 86_400]
    assert restart_delay(100_000) == 86_400
