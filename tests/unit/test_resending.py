"""What a message carries of the ones that it comes of, read back."""

from __future__ import annotations

import pytest

from support import samples
from webhooks.domain.resending import ARRIVED_AT, SUSPICIONS, TRIES, Outgoing, carried

NOW_MS = samples.NOW_MS


def test_a_message_without_attributes_arrived_when_sqs_took_it() -> None:
    assert carried({}, sent_at_ms=NOW_MS) == (NOW_MS, 0, 0)


def test_what_is_written_is_read_back() -> None:
    message = Outgoing("", None, arrived_at_ms=NOW_MS - 7, tries=12, suspicions=3)
    assert carried(message.attributes, sent_at_ms=NOW_MS) == (NOW_MS - 7, 12, 3)


def test_no_attribute_moves_an_event_into_the_future() -> None:
    assert carried({ARRIVED_AT: str(NOW_MS + 1)}, sent_at_ms=NOW_MS).arrived_at_ms == NOW_MS


@pytest.mark.parametrize("value", ["", "-1", "1.5", "1e3", " 1", "x", "\u0663", "9" * 16, None])
def test_an_attribute_that_is_no_number_of_ours_is_ignored(value: str | None) -> None:
    attributes = dict.fromkeys((ARRIVED_AT, TRIES, SUSPICIONS), value)
    assert carried(attributes, sent_at_ms=NOW_MS) == (NOW_MS, 0, 0)
