"""The catalogue of event types against the events that are really accepted and delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from support import samples, ses_records
from webhooks.domain.catalog import catalog, sample_document, sample_event, schema_of
from webhooks.domain.errors import InvalidEventError, InvalidInputError
from webhooks.domain.event import EventType, accept, read_json
from webhooks.domain.ses import to_events

SES = Path(__file__).parents[2] / "data" / "ses"
TEXT = st.text(max_size=20)
ADDRESS = st.text(min_size=1, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
NAMED = sorted(
    {name for each in EventType for name in schema_of(each)["properties"]["data"]["properties"]}
    - {"to"}
)
TIMES = (
    *("2025-12-21T10:30:00Z", "2025-12-21t10:30:00.123456789z", "2025-12-21T10:30:00-23:59"),
    *("2025-12-21T10:30:60Z", "2016-12-31T23:59:60Z", "1970-01-01T00:00:00+00:00"),
)


def validate(event_type: EventType, payload: Any) -> None:
    schema = schema_of(event_type)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(payload)


def test_every_event_type_is_in_it_once_in_order() -> None:
    assert [entry.type for entry in catalog()] == list(EventType)
    assert all(entry.description.endswith(".") for entry in catalog())


@pytest.mark.parametrize("event_type", EventType)
def test_a_sample_is_what_accepting_its_message_gives_and_fits_its_schema(
    event_type: EventType,
) -> None:
    [entry] = [entry for entry in catalog() if entry.type is event_type]
    event = accept(sample_document(event_type), sent_at_ms=samples.NOW_MS)
    assert entry.sample == json.loads(event.body)
    assert list(entry.sample) == ["event", "transaction_id", "timestamp", "data"]
    assert entry.sample["data"]["status"] == event_type.value.removeprefix("email.")
    assert entry.schema == schema_of(event_type)
    validate(event_type, entry.sample)


@pytest.mark.parametrize("event_type", EventType)
def test_a_sample_fits_no_other_types_schema(event_type: EventType) -> None:
    payload = json.loads(accept(sample_document(event_type), sent_at_ms=0).body)
    for other in set(EventType) - {event_type}:
        with pytest.raises(ValidationError):
            validate(other, payload)


@given(
    event_type=st.sampled_from(EventType),
    transaction_id=st.none() | st.text("abc_!", min_size=1),
    data=st.fixed_dictionaries(
        {"to": ADDRESS | st.lists(ADDRESS, min_size=1, max_size=3)},
        optional=dict.fromkeys(NAMED, JSON),
    ),
    more=st.dictionaries(st.text("xyz", min_size=1), JSON, max_size=3),
    timestamp=st.none() | st.sampled_from(TIMES),
)
def test_every_accepted_event_fits_its_types_schema(
    event_type: EventType,
    transaction_id: str | None,
    data: dict[str, Any],
    more: dict[str, Any],
    timestamp: str | None,
) -> None:
    """Its producer may give any values to the fields that the schema names."""
    document = samples.event_document(
        event=event_type.value,
        transaction_id=transaction_id,
        timestamp=timestamp,
        data=more | data,
    )
    event = accept(document, sent_at_ms=samples.NOW_MS)
    validate(event_type, json.loads(event.body))


@pytest.mark.parametrize("name", ["send", "delivery", "bounce", "complaint", "open", "click"])
def test_what_ses_reports_fits_the_schema_of_its_type(name: str) -> None:
    events = to_events(read_json((SES / f"{name}.json").read_text(encoding="utf-8")))
    assert events
    for event in events:
        validate(event.type, json.loads(event.body))
        ses_records.validate(event)


@pytest.mark.parametrize("event_type", EventType)
def test_each_field_of_a_schema_has_the_shape_that_ses_records_give_it(
    event_type: EventType,
) -> None:
    """The shape that a schema's reader expects, beside any other value that a producer may give."""
    fields = schema_of(event_type)["properties"]["data"]["properties"]
    sample = json.loads(accept(sample_document(event_type), sent_at_ms=0).body)["data"]
    for name in sample.keys() - {"to"}:
        shape, _any_other = fields[name]["anyOf"]
        Draft202012Validator(shape).validate(sample[name])
        with pytest.raises(ValidationError):
            Draft202012Validator(shape).validate(17)


@pytest.mark.parametrize("name", ["id", "type", "status"])
def test_what_is_always_filled_in_is_never_null(name: str) -> None:
    payload = json.loads(accept(sample_document(EventType.SENT), sent_at_ms=0).body)
    payload["data"][name] = None
    with pytest.raises(ValidationError):
        validate(EventType.SENT, payload)


@pytest.mark.parametrize("wrong", ["", [], [""], None, 17, {}, ["a@example.com", None]])
def test_a_recipient_that_is_not_accepted_fits_no_schema_either(wrong: object) -> None:
    document = sample_document(EventType.SENT)
    payload = json.loads(accept(document, sent_at_ms=0).body)
    document["data"]["to"] = payload["data"]["to"] = wrong
    with pytest.raises(InvalidEventError):
        accept(document, sent_at_ms=0)
    with pytest.raises(ValidationError):
        validate(EventType.SENT, payload)


def test_a_payload_without_a_recipient_fits_no_schema() -> None:
    payload = json.loads(accept(sample_document(EventType.SENT), sent_at_ms=0).body)
    del payload["data"]["to"]
    with pytest.raises(ValidationError):
        validate(EventType.SENT, payload)


def test_sample_events_are_the_accounts_own_and_each_another_event() -> None:
    first, second = (
        sample_event("email.clicked", account_id="acme", event_id=f"evt_{n}", now_ms=samples.NOW_MS)
        for n in (1, 2)
    )
    assert (first.account_id, first.id, first.type) == ("acme", "evt_1", EventType.CLICKED)
    assert first.occurred_at_ms == samples.NOW_MS
    assert first.transaction_id != second.transaction_id
    payload = json.loads(first.body)
    assert payload["data"]["id"] == payload["transaction_id"] == first.transaction_id
    assert payload["timestamp"] == "2025-12-21T10:30:00.000Z"
    validate(first.type, payload)


@pytest.mark.parametrize("event_type", ["", "*", "email", "email.eaten", "EMAIL.SENT"])
def test_there_is_no_sample_of_an_unknown_type(event_type: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        sample_event(event_type, account_id="acme", event_id="evt_1", now_ms=0)
    assert refusal.value.field == "event"
