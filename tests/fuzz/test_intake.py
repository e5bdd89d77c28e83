"""Real messages, bent: each is an event that can be delivered, or a stated refusal."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.fuzzing import EXAMPLES
from support.drawing import WORDS
from support.samples import event_document
from webhooks.domain.account import is_account_id
from webhooks.domain.delivery import delivery_id
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES, Event, EventType, accept, read_json
from webhooks.domain.ingest import read_message
from webhooks.domain.payload import parse, serialize
from webhooks.domain.ses import SesAccounts, to_events
from webhooks.domain.shard import Part, Shard, to_message

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[1] / "data" / "ses").glob("*.json"))
}
REASONS = {
    *("not_json", "too_deep", "not_an_object", "unknown_event"),
    *("no_account", "invalid_field", "too_large", "confirmation"),
    *("too_many_recipients", "too_many_bytes"),
}
SENT_AT_MS = 1_766_313_000_123
WEBHOOK_ID = "019b4069-0000-7000-8000-000000000001"

SHARD = json.loads(
    to_message(
        Part(
            accept(event_document(), sent_at_ms=SENT_AT_MS),
            Shard(WEBHOOK_ID, WEBHOOK_ID),
            SENT_AT_MS,
        )
    )
)

TEXTS = (
    st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "Cc"]), min_size=1, max_size=3)
    | st.sampled_from(["", "2025-12-21T10:30:00+14:00", "Email Opened", "<>"])
    | WORDS
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give every place in a document for a value: a container and a key."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@st.composite
def bent(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """Draw a document with a few of its values removed, replaced, moved or wrapped."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(changed))
        if not found:
            break
        container, key = draw(st.sampled_from(found))
        match draw(st.sampled_from(["remove", "replace", "copy", "wrap", "add"])):
            case "remove":
                del container[key]
            case "replace":
                container[key] = draw(VALUES)
            case "copy":
                other, place = draw(st.sampled_from(found))
                container[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
            case "wrap":
                container[key] = [container[key]]
            case _:
                if isinstance(container, dict):
                    container[draw(TEXTS)] = draw(VALUES)
    return changed


def _keys(container: Any) -> Any:
    return container if isinstance(container, dict) else range(len(container))


def events_of(text: str) -> tuple[Event, ...] | str:
    """Return a message's events, or the reason of its refusal."""
    accounts = SesAccounts(default="acc_ses")
    try:
        message = read_message(text, sent_at_ms=SENT_AT_MS, ses_accounts=accounts)
    except InvalidEventError as error:
        assert error.reason in REASONS
        assert error.message.isascii()
        return error.reason
    assert message.events or message.ignored_type
    return message.events


def assert_deliverable(event: Event) -> None:
    """Check everything that the dispatcher, the tables and the receiver rely on."""
    assert is_account_id(event.account_id)
    assert isinstance(event.type, EventType)
    assert event.body == serialize(parse(event.body))
    assert len(event.body) <= MAX_BODY_BYTES
    body: Any = parse(event.body)
    assert list(body) == ["event", "transaction_id", "timestamp", "data"]
    assert (body["event"], body["transaction_id"]) == (event.type, event.transaction_id)
    assert body["data"]["to"]
    # A header needs visible ASCII, a table's keys and attributes well-formed Unicode.
    assert event.id.isascii()
    assert event.id.isprintable()
    (event.transaction_id + event.timestamp).encode()
    assert 0 <= event.occurred_at_ms < 1 << 48
    assert len(delivery_id(event.id, event.occurred_at_ms, WEBHOOK_ID)) == 36


def in_sns(document: dict[str, Any]) -> str:
    return json.dumps({"Type": "Notification", "Message": json.dumps(document)})


def assert_alike_in_an_envelope(document: dict[str, Any], found: tuple[Event, ...] | str) -> None:
    """Check that SNS's envelope makes no difference, except to forbidden contents."""
    if "shard" in document and "event" not in document:
        # It claims to be a part, but has an envelope, and fields that a part has not.
        assert isinstance(found, str)
    elif document.get("Type") != "Notification" or not isinstance(document.get("Message"), str):
        assert events_of(in_sns(document)) == found


FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(bent(event_document()))
@example(event_document(event=None, shard=[]))
@example(event_document(shard=[]))
@example(event_document(Type="Notification", Message="{}"))
def test_a_bent_event_is_delivered_alike_in_every_envelope_or_refused(
    document: dict[str, Any],
) -> None:
    text = json.dumps(document)
    found = events_of(text)
    assert events_of(text) == found
    assert_alike_in_an_envelope(document, found)
    for event in found if isinstance(found, tuple) else ():
        assert_deliverable(event)


@FUZZ
@given(st.sampled_from(sorted(RECORDS)).flatmap(lambda name: bent(RECORDS[name])))
@example({**RECORDS["send"], "shard": None})
@example({**RECORDS["send"], "Type": "Notification", "Message": "{}"})
@example({**RECORDS["bounce"], "bounce": {**RECORDS["bounce"]["bounce"], "feedbackId": 1.0}})
def test_a_bent_ses_record_is_delivered_alike_in_every_envelope_or_refused(
    record: dict[str, Any],
) -> None:
    text = json.dumps(record)
    found = events_of(text)
    assert_alike_in_an_envelope(record, found)
    events = found if isinstance(found, tuple) else ()
    for event in events:
        assert_deliverable(event)
    assert len({event.id for event in events}) == len(events), "each recipient's event is its own"
    if events:
        # As it is read: JSON may write 1 as 1.0, and 2**60 differs from 2**60 + 1.
        assert to_events(read_json(text), accounts=SesAccounts(default="acc_ses")) == list(events)


@FUZZ
@given(bent(SHARD), st.none() | bent(json.loads(SHARD["body"])))
def test_a_bent_shard_is_delivered_as_an_event_is_or_refused(
    shard: dict[str, Any], body: dict[str, Any] | None
) -> None:
    if body is not None and "body" in shard:
        shard["body"] = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    found = events_of(json.dumps(shard))
    for event in found if isinstance(found, tuple) else ():
        assert_deliverable(event)


@FUZZ
@given(st.lists(bent({**SHARD, "webhooks": [WEBHOOK_ID]}), min_size=1, max_size=3))
def test_bent_parts_together_are_each_delivered_as_an_event_is_or_refused(
    parts: list[dict[str, Any]],
) -> None:
    accounts = SesAccounts(default="acc_ses")
    try:
        message = read_message(json.dumps(parts), sent_at_ms=SENT_AT_MS, ses_accounts=accounts)
    except InvalidEventError as error:
        assert error.reason in {"not_json", "too_deep"}
        return
    assert len(message.events) + len(message.refusals) + len(message.ignored_types) >= len(parts)
    for event in message.events:
        assert_deliverable(event)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_what_is_bent_is_a_message_that_is_understood(name: str) -> None:
    assert not isinstance(events_of(json.dumps(RECORDS[name])), str)
