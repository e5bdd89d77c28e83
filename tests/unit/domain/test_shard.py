"""Shards of a wide event: every webhook is in one, and a forged shard gains nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import samples
from support.drawing import as_read, event_data
from webhooks.adapters.sqs import MAX_BATCH_BYTES
from webhooks.domain.arrays import array_texts, joined
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES, Event, accept, compose
from webhooks.domain.ingest import ParsedMessage, read_message
from webhooks.domain.payload import parse, serialize
from webhooks.domain.ses import SesAccounts
from webhooks.domain.shard import (
    MAX_QUEUED_BYTES,
    MOST_AT_ONCE,
    SHARD_WEBHOOKS,
    Part,
    Shard,
    divide,
    to_message,
    to_messages,
)

SENT_AT_MS = samples.NOW_MS + 1_000
SHARD = Shard(samples.webhook(1).id, samples.webhook(10).id)
UUIDS = st.integers(0, 2**128 - 1).map(lambda number: str(UUID(int=number)))


def event(**changes: Any) -> Event:
    return accept(parse(samples.event_text(**changes)), sent_at_ms=samples.NOW_MS)


def read(text: str, account_id: str | None = None) -> ParsedMessage:
    return read_message(
        text, sent_at_ms=SENT_AT_MS, ses_accounts=SesAccounts(), account_id=account_id
    )


def document(**changes: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(to_message(Part(event(), SHARD, samples.NOW_MS)))
    return {**written, **changes}


def of(*parts: Part) -> ParsedMessage:
    events = tuple(part.event for part in parts)
    return ParsedMessage(events, parts=parts, places=tuple(range(len(parts))))


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
    # Like SES's events, which need not have come through `accept`; its time is its first copy's.
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
    assert read(text) == of(part._replace(event=kept))


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


def test_a_part_that_names_its_webhooks_is_for_these_alone() -> None:
    ids = [samples.webhook(number).id for number in (7, 2, 5)]
    part = Part.naming(event(), ids, samples.NOW_MS)
    assert part.shard == (ids[1], ids[0])
    assert part.webhook_ids == tuple(sorted(ids))
    assert read(to_message(part)) == of(part)


@pytest.mark.parametrize(
    "ids",
    [
        None,
        [],
        "x",
        [5],
        [SHARD.first],
        [SHARD.first, "x", SHARD.last],
        [SHARD.last, SHARD.first],
        [SHARD.first, SHARD.first, SHARD.last],
        [SHARD.first, SHARD.last, samples.webhook(11).id],
        [samples.webhook(number).id for number in range(MOST_AT_ONCE + 1)],
        {"first": SHARD.first},
    ],
    ids=str,
)
def test_webhooks_that_are_not_of_a_part_of_ours_are_refused(ids: object) -> None:
    assert reason(json.dumps(document(webhooks=ids))) == "invalid_field"


def several(*parts: Part) -> str:
    [(text, _)] = to_messages([(part, 1) for part in parts], lambda: MOST_AT_ONCE)
    return text


def test_a_message_of_several_parts_is_read_part_by_part() -> None:
    parts = (
        Part(event(), SHARD, samples.NOW_MS),
        Part.naming(event(transaction_id="txn_2"), [SHARD.last], samples.NOW_MS - 5),
    )
    assert read(several(*parts)) == of(*parts)


def test_of_several_parts_only_what_is_wrong_is_refused() -> None:
    text = several(*[Part(event(), SHARD, samples.NOW_MS)] * 2)
    documents = json.loads(text)
    documents[0]["more"] = 1
    message = read(json.dumps(documents))
    assert len(message.parts) == 1
    [refusal] = message.refusals
    assert json.loads(refusal.body or "") == documents[0]
    assert refusal.error.reason == "invalid_field"


def test_parts_among_events_through_sns_and_through_the_api_are_none() -> None:
    text = several(*[Part(event(), SHARD, samples.NOW_MS)] * 2)
    envelope = json.dumps({"Type": "Notification", "MessageId": "1", "Message": text})
    among = json.dumps([*json.loads(text), samples.event_document()])
    assert (len(read(among).events), len(read(among).refusals)) == (1, 2)
    for message in (read(envelope), read(text, account_id="acc_1")):
        assert not message.parts
        assert not message.events
        assert len(message.refusals) == 2


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40_000)), min_size=1, max_size=12),
    st.integers(1, 100),
)
@settings(max_examples=15)
def test_messages_hold_every_part_once_within_their_limits(
    sizes: list[tuple[int, int]], most: int
) -> None:
    parts = [
        (Part(event(data={"to": "a", "x": "\x7f" * size}), SHARD, place), number)
        for place, (number, size) in enumerate(sizes)
    ]
    messages = list(to_messages(parts, lambda: most))
    found = [part.arrived_at_ms for text, _ in messages for part in read(text).parts]
    assert found == list(range(len(parts)))
    assert sum(number for _, number in messages) == sum(number for number, _ in sizes)
    for text, number in messages:
        assert len(text) <= MAX_QUEUED_BYTES
        assert number <= most or len(read(text).parts) == 1


@pytest.mark.parametrize("text", ["{}", " 1", '"[1]"', "", '{"a": [1]}'])
def test_a_text_that_is_no_array_has_no_documents(text: str) -> None:
    assert array_texts(text) is None


DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.lists(DOCUMENTS, max_size=5), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_an_arrays_documents_are_separated_as_they_came(
    documents: list[object], indent: Any, ascii_only: bool
) -> None:
    text = f" {json.dumps(documents, indent=indent, ensure_ascii=ascii_only)}\n"
    found = array_texts(text)
    assert found is not None
    assert all(one in text for one in found)
    assert [json.loads(one) for one in found] == documents
    again = [one for array in joined(found) for one in json.loads(array)]
    assert again == documents


def test_arrays_of_documents_are_no_larger_than_a_message() -> None:
    documents = [f'"{character * 60_000}"' for character in "aé\U0001f600" * 20]
    arrays = list(joined(documents))
    assert len(arrays) > 1
    assert all(len(one.encode()) <= MAX_QUEUED_BYTES for one in arrays)
    assert [
        json.dumps(one, ensure_ascii=False) for text in arrays for one in json.loads(text)
    ] == documents
