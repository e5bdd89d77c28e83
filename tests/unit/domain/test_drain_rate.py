from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.domain.delivery import FailureReason
from webhooks.domain.drain_rate import (
    SLOWEST,
    batch_size,
    halved,
    is_overloaded,
    next_drain_rate,
    pause,
)

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

RATES = st.integers(1, 200)
PACES = st.floats(SLOWEST, 200)
TAKEN = samples.attempt(error=None, status_code=200)
UNANSWERED = samples.attempt(error=FailureReason.TIMEOUT, status_code=None)


def failed(status_code: int) -> Attempt:
    return samples.attempt(error=FailureReason.HTTP_STATUS, status_code=status_code)


LIMITED = failed(429)
ATTEMPTS = st.lists(
    st.sampled_from([TAKEN, UNANSWERED, LIMITED, failed(500), failed(400)]), max_size=60
)


@given(st.lists(ATTEMPTS, max_size=30), RATES)
def test_a_pace_is_never_above_the_rate_nor_below_one_a_minute(
    steps: list[list[Attempt]], rate: int
) -> None:
    pace: float = rate
    for attempts in steps:
        pace = next_drain_rate(pace, attempts, rate)
        assert SLOWEST <= pace <= rate
        assert 1 <= batch_size(pace) <= rate
        assert 1 <= pause(pace) <= 60


@given(PACES, st.integers(1, 60), st.integers(0, 59))
def test_after_a_429_it_is_half_of_what_was_sent(pace: float, sent: int, limited: int) -> None:
    attempts = [TAKEN] * sent
    attempts[limited % sent] = LIMITED
    assert next_drain_rate(pace, attempts, 200) == max(min(pace, sent) / 2, SLOWEST)


@given(PACES, RATES)
def test_a_hundred_steps_without_a_failure_bring_any_pace_to_the_rate(
    pace: float, rate: int
) -> None:
    pace = min(pace, rate)
    for _ in range(100):
        before, pace = pace, next_drain_rate(pace, [TAKEN], rate)
        assert before < pace or pace == rate
    assert pace == rate


@given(PACES)
def test_a_step_that_sent_nothing_says_nothing(pace: float) -> None:
    assert next_drain_rate(pace, [], 200) == pace


@given(PACES)
def test_slower_is_half_as_fast(pace: float) -> None:
    assert halved(pace) == max(pace / 2, SLOWEST)


@pytest.mark.parametrize("failure", [failed(500), failed(503), UNANSWERED])
def test_two_thirds_of_a_batch_that_fail_are_too_much(failure: Attempt) -> None:
    assert next_drain_rate(50, [*[failure] * 11, *[TAKEN] * 5], 50) == 8
    assert next_drain_rate(50, [*[failure] * 10, *[TAKEN] * 6], 50) == 50
    # The batch before was accepted, and would hide this one's result.
    assert next_drain_rate(50, [*[TAKEN] * 16, *[failure] * 11, *[TAKEN] * 5], 50) == 16


@pytest.mark.parametrize("failure", [failed(500), UNANSWERED])
def test_a_few_failures_by_themselves_leave_the_pace_alone(failure: Attempt) -> None:
    """They are all of a small step, and a third of a dead server's share behind a receiver."""
    for attempts in ([failure], [TAKEN, failure], [failure] * 3, [failure, TAKEN, TAKEN] * 7):
        assert next_drain_rate(20, attempts, 50) == 20
    assert next_drain_rate(20, [failure] * 4, 50) == 2


@pytest.mark.parametrize("failure", [failed(500), UNANSWERED])
def test_a_quarter_that_fails_does_not_keep_the_pace_from_growing(failure: Attempt) -> None:
    assert next_drain_rate(20, [failure, TAKEN, TAKEN, TAKEN] * 5, 50) == 22


def test_a_refusal_is_of_one_delivery_whatever_the_pace() -> None:
    for status_code in (400, 401, 404, 410):
        assert not is_overloaded([failed(status_code)] * 16)
        assert next_drain_rate(20, [failed(status_code)] * 16, 50) == 22


def test_below_one_a_second_it_is_the_pauses_that_get_longer() -> None:
    assert [(batch_size(pace), pause(pace)) for pace in (50, 2.9, 1, 0.5, SLOWEST)] == [
        (50, 1),
        (2, 1),
        (1, 1),
        (1, 2),
        (1, 60),
    ]
