"""Shards of a wide event: every webhook is in one, and nobody gains by writing one himself."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from support.drawing import as_read, event_data
from webhooks.adapters.sqs import MAX_BATCH_BYTES
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES, Event, accept, compose
from webhooks.domain.intake import Message, read_message
from webhooks.domain.payload import parse, serialize
from webhooks.domain.ses import SesAccounts
from webhooks.domain.shard import SHARD_WEBHOOKS, Part, Shard, divide, to_message

SENT_AT_MS = samples.NOW_MS + 1_000
SHARD = Shard(samples.webhook(1).id, samples.webhook(10).id)
UUIDS = st.integers(0, 2**128 - 1).map(lambda number: str(UUID(int=number)))


def event(**changes: Any) -> Event:
    return accept(parse(samples.event_text(**changes)), sent_at_ms=samples.NOW_MS)


def read(text: str, account_id: str | None = None) -> Message:
    return read_message(
        text, sent_at_ms=SENT_AT_MS, ses_accounts=SesAccounts(), account_id=account_id
    )


def document(**changes: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(to_message(Part(event(), SHARD, samples.NOW_MS)))
    return {**written, **changes}


def reason(text: str) -> str:
    with pytest.raises(InvalidEventError) as caught:
        read(text)
    return caught.value.reason


@given(st.sets(UUIDS, min_size=1, max_size=60), st.sets(UUIDS, max_size=20))
def test_every_webhook_is_in_one_shard_those_of_later_included(
    known: set[str], later: set[str]
) -> None:
    shards = divide(sorted(known))
    for one in known | later:
        assert sum(first <= one <= last for first, last in shards) == 1
    sizes = [sum(first <= one <= last for one in known) for first, last in shards]
    assert sizes[:-1] == [SHARD_WEBHOOKS] * (len(shards) - 1)
    assert 1 <= sizes[-1] <= SHARD_WEBHOOKS


@given(event_data(st.text()).map(as_read))
def test_a_part_keeps_the_events_very_bytes_its_id_and_its_time(data: dict[str, Any]) -> None:
    # As SES's events, which need not have come through `accept`; its time is its first copy's.
    made = compose(
        account_id="acc_1",
        event_id="evt_1",
        event_type=event().type,
        transaction_id="txn_1",
        timestamp="2025-12-21T10:30:00Z",
        occurred_at_ms=samples.NOW_MS,
        data=data,
        id_fixes_time=False,
    )
    part = Part(replace(made, occurred_at_ms=samples.NOW_MS - 5), SHARD, samples.NOW_MS - 3)
    text = to_message(part)
    assert text.isascii()
    kept = replace(part.event, id_fixes_time=True)
    assert read(text) == Message(parts=(part._replace(event=kept),))


@pytest.mark.parametrize("character", ['"', "\\", "\x7f", "é", "\uffff", "😀", "\ud800"])
def test_the_largest_event_is_a_message_that_sqs_takes(character: str) -> None:
    empty = len(event(data={"to": "a", "x": ""}).body)
    each = len(serialize(character)) - len(serialize(""))
    largest = event(data={"to": "a", "x": character * ((MAX_BODY_BYTES - empty) // each)})
    assert len(largest.body) > MAX_BODY_BYTES - each
    text = to_message(Part(largest, SHARD, samples.NOW_MS))
    assert len(text) < MAX_BATCH_BYTES / 2
    assert [one.event for one in read(text).parts] == [largest]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"more": 1}, "invalid_field"),
        ({"shard": None}, "invalid_field"),
        ({"shard": "1/2"}, "invalid_field"),
        ({"shard": [SHARD.first]}, "invalid_field"),
        ({"shard": [SHARD.last, SHARD.first]}, "invalid_field"),
        ({"shard": ["", "g"]}, "invalid_field"),
        ({"shard": [SHARD.first, 5]}, "invalid_field"),
        ({"account_id": "acc#1"}, "invalid_field"),
        ({"account_id": None}, "invalid_field"),
        ({"id": "a b"}, "invalid_field"),
        ({"id": None}, "invalid_field"),
        ({"occurred_at_ms": -1}, "invalid_field"),
        ({"occurred_at_ms": 2**48}, "invalid_field"),
        ({"occurred_at_ms": True}, "invalid_field"),
        ({"occurred_at_ms": 1.5}, "invalid_field"),
        ({"arrived_at_ms": "now"}, "invalid_field"),
        ({"body": None}, "invalid_field"),
        ({"body": "not JSON"}, "invalid_field"),
        ({"body": "[]"}, "invalid_field"),
        ({"body": '"\ud800"'}, "invalid_field"),
        ({"body": "[" * 1000 + "]" * 1000}, "invalid_field"),
        ({"body": "x" * (MAX_BODY_BYTES + 1)}, "too_large"),
        ({"body": "é" * (MAX_BODY_BYTES // 2 + 1)}, "too_large"),
    ],
    ids=str,
)
def test_what_is_not_a_part_of_ours_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert reason(json.dumps(document(**changes))) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"event":', '"event" :', "invalid_field"),
        ("email.delivered", "email.unknown", "unknown_event"),
        ('"timestamp":"2025', '"timestamp":"x', "invalid_field"),
        ('"transaction_id":"txn_mjgc0ejr_3ca715bfb7a0"', '"transaction_id":5', "invalid_field"),
        ('"data":{', '"data":1,"more":{', "invalid_field"),
        ('"subject":', '"amount":1.0,"subject":', "invalid_field"),
        ("Welcome", "\\u0057elcome", "invalid_field"),
        ('"to":"recipient@example.com"', '"to":true', "invalid_field"),
        ('"to":"recipient@example.com"', '"to":["recipient@example.com",""]', "invalid_field"),
        ('"type":"email",', "", "invalid_field"),
        ('"type":"email",', '"type":null,', "invalid_field"),
        (
            '"type":"email","status":"delivered"',
            '"status":"delivered","type":"email"',
            "invalid_field",
        ),
    ],
)
def test_bytes_that_are_not_in_the_contracts_form_are_refused(
    old: str, new: str, expected: str
) -> None:
    body = document()["body"]
    assert old in body
    assert reason(json.dumps(document(body=body.replace(old, new, 1)))) == expected


def test_a_shard_is_none_inside_another_envelope_or_with_the_account_of_a_key() -> None:
    text = json.dumps(document())
    assert reason(json.dumps({"Type": "Notification", "Message": text})) == "unknown_event"
    with pytest.raises(InvalidEventError, match="event: must be one of"):
        read(text, account_id="acc_1")


def test_an_event_with_a_shard_is_no_shard() -> None:
    assert reason(samples.event_text(shard=list(SHARD))) == "invalid_field"


def test_an_arrival_after_the_message_itself_counts_as_the_messages() -> None:
    [part] = read(json.dumps(document(arrived_at_ms=SENT_AT_MS + 5))).parts
    assert part.arrived_at_ms == SENT_AT_MS
