from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.domain.delivery import Status, delivery_id

MILLISECONDS = st.integers(0, 2**48 - 1)
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)


@given(IDS, MILLISECONDS, IDS)
def test_a_delivery_id_is_a_uuid_of_version_7_with_the_events_time(
    event_id: str, occurred_at_ms: int, webhook_id: str
) -> None:
    identifier = UUID(delivery_id(event_id, occurred_at_ms, webhook_id))
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"
    assert identifier.int >> 80 == occurred_at_ms


@given(IDS, MILLISECONDS, IDS)
def test_the_same_event_has_the_same_id_for_the_same_webhook(
    event_id: str, occurred_at_ms: int, webhook_id: str
) -> None:
    first = delivery_id(event_id, occurred_at_ms, webhook_id)
    assert delivery_id(event_id, occurred_at_ms, webhook_id) == first
    assert delivery_id(event_id + "x", occurred_at_ms, webhook_id) != first
    assert delivery_id(event_id, occurred_at_ms, webhook_id + "x") != first


@given(IDS, MILLISECONDS, IDS, MILLISECONDS)
def test_ids_sort_by_the_events_time(
    event_id: str, earlier_ms: int, webhook_id: str, later_ms: int
) -> None:
    earlier_ms, later_ms = sorted((earlier_ms, later_ms))
    if earlier_ms < later_ms:
        earlier = delivery_id(event_id, earlier_ms, webhook_id)
        assert earlier < delivery_id(event_id, later_ms, webhook_id)


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        (Status.PENDING, False),
        (Status.RETRYING, False),
        (Status.WAITING, False),
        (Status.SUCCEEDED, True),
        (Status.EXHAUSTED, True),
        (Status.CANCELLED, True),
    ],
)
def test_only_an_end_is_settled(status: Status, settled: bool) -> None:
    assert status.settled is settled


def test_a_deliverys_text_shows_neither_payload_nor_secret() -> None:
    assert "email.delivered" in repr(samples.delivery())
    assert not re.search(r"\bbody=", repr(samples.delivery()))
    assert samples.SECRET not in repr(samples.destination())
