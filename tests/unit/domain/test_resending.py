"""The counts that a message inherits from the messages before it, read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.domain.resending import (
    ARRIVED_AT,
    FEWEST_TRIES,
    GIVES_UP_AFTER_MS,
    SUSPICIONS,
    TRIES,
    Carried,
    Outgoing,
    carried,
    delay_seconds,
    gives_up,
)

NOW_MS = samples.NOW_MS


def test_a_message_without_attributes_arrived_when_sqs_took_it() -> None:
    assert carried({}, sent_at_ms=NOW_MS) == Carried(NOW_MS)


def test_written_counts_are_read_back() -> None:
    message = Outgoing("", None, 0, NOW_MS - 7, tries=12, suspicions=3, delays=4, paced=1)
    assert carried(message.attributes, sent_at_ms=NOW_MS) == Carried(NOW_MS - 7, 12, 3, 4, 1)


def test_no_attribute_moves_an_event_into_the_future() -> None:
    assert carried({ARRIVED_AT: str(NOW_MS + 1)}, sent_at_ms=NOW_MS).arrived_at_ms == NOW_MS


def test_the_attributes_fit_in_what_a_producer_leaves_for_them() -> None:
    most = 10**15 - 1
    message = Outgoing(
        "", "acc_1", arrived_at_ms=most, tries=most, suspicions=most, delays=most, paced=most
    )
    assert message.size_bytes <= 4096


@pytest.mark.parametrize("value", ["", "-1", "1.5", "1e3", " 1", "x", "\u0663", "9" * 16, None])
def test_an_attribute_that_is_no_number_of_ours_is_ignored(value: str | None) -> None:
    attributes = dict.fromkeys((ARRIVED_AT, TRIES, SUSPICIONS), value)
    assert carried(attributes, sent_at_ms=NOW_MS) == Carried(NOW_MS)


def test_the_delay_begins_at_five_seconds_and_doubles_to_twelve_minutes_and_a_jitter() -> None:
    assert [delay_seconds(failures, 0.0) for failures in range(1, 11)] == [
        *(5, 10, 20, 40, 80, 160, 320, 640, 720, 720),
    ]
    assert [delay_seconds(failures, 1.0) for failures in (1, 9, 10**14)] == [6, 900, 900]


@given(st.integers(0, 10**15), st.floats(0, 1))
def test_every_delay_is_one_that_sqs_takes_and_at_least_five_seconds(
    failures: int, random: float
) -> None:
    assert 5 <= delay_seconds(failures, random) <= 900


def test_a_message_is_given_up_after_four_days_and_ten_tries() -> None:
    late_ms = NOW_MS + GIVES_UP_AFTER_MS
    assert not gives_up(arrived_at_ms=NOW_MS, tries=1000, now_ms=late_ms)
    assert not gives_up(arrived_at_ms=NOW_MS, tries=FEWEST_TRIES - 1, now_ms=late_ms + 1)
    assert gives_up(arrived_at_ms=NOW_MS, tries=FEWEST_TRIES, now_ms=late_ms + 1)
