"""Reading one of our own events: required fields, defaults, passed-on fields, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import Event, EventType, accept, parse_timestamp, read_json

SENT_AT_MS = 1766313000123
DATA = {
    "id": "txn_mjgc0ejr_3ca715bfb7a0",
    "email_id": "abc123-def456-789",
    "to": "recipient@example.com",
    "subject": "Welcome to our platform!",
    "from": "hello@yourdomain.com",
}
EXAMPLE: dict[str, Any] = {
    "account_id": "acc_1",
    "event": "email.delivered",
    "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
    "timestamp": "2025-12-21T10:30:00Z",
    "data": DATA,
}
SHORTEST = {"account_id": "acc_1", "event": "email.sent", "data": {"to": "a@example.com"}}
ABSENT = object()


def read(document: object, sent_at_ms: int = SENT_AT_MS, account_id: str | None = None) -> Event:
    return accept(document, sent_at_ms=sent_at_ms, account_id=account_id)


def changed(**fields: object) -> dict[str, object]:
    return {name: value for name, value in (EXAMPLE | fields).items() if value is not ABSENT}


def with_data(**fields: object) -> dict[str, object]:
    return changed(data={name: one for name, one in (DATA | fields).items() if one is not ABSENT})


def body_of(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(event.body)
    return body


def refusal(document: object, account_id: str | None = None) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        read(document, account_id=account_id)
    return caught.value


def test_the_contracts_example_becomes_the_contracts_payload() -> None:
    event = read(EXAMPLE)
    assert event.body == (
        b'{"event":"email.delivered","transaction_id":"txn_mjgc0ejr_3ca715bfb7a0",'
        b'"timestamp":"2025-12-21T10:30:00Z","data":{"id":"txn_mjgc0ejr_3ca715bfb7a0",'
        b'"email_id":"abc123-def456-789","type":"email","status":"delivered",'
        b'"to":"recipient@example.com","subject":"Welcome to our platform!",'
        b'"from":"hello@yourdomain.com"}}'
    )
    assert (event.account_id, event.type) == ("acc_1", EventType.DELIVERED)
    assert event.occurred_at_ms == 1766313000000
    assert event.id_fixes_time


def test_what_is_absent_is_filled_in() -> None:
    event = read(SHORTEST)
    body = body_of(event)
    assert event.timestamp == body["timestamp"] == "2025-12-21T10:30:00.123Z"
    assert event.occurred_at_ms == SENT_AT_MS
    assert not event.id_fixes_time
    prefix, time, digits = event.transaction_id.split("_")
    assert (prefix, int(time, 36), len(bytes.fromhex(digits))) == ("txn", SENT_AT_MS, 6)
    assert body["data"] == {
        "id": event.transaction_id,
        "type": "email",
        "status": "sent",
        "to": "a@example.com",
    }


def test_a_derived_transaction_id_has_the_time_of_the_event() -> None:
    event = read(changed(transaction_id=ABSENT))
    assert int(event.transaction_id.split("_")[1], 36) == 1766313000000


@pytest.mark.parametrize("event_type", list(EventType))
def test_the_status_is_the_word_after_the_dot(event_type: EventType) -> None:
    body = body_of(read(changed(event=event_type.value)))
    assert f"email.{body['data']['status']}" == body["event"] == event_type.value


def test_null_counts_as_absent_where_it_is_filled_in() -> None:
    assert read(SHORTEST | dict.fromkeys(("id", "transaction_id", "timestamp"))) == read(SHORTEST)
    nulls = dict.fromkeys(("id", "type", "status"))
    assert read(changed(data=DATA | nulls)).body == read(EXAMPLE).body


def test_given_values_of_data_are_passed_on_in_the_producers_order() -> None:
    data = {"zeta": 1, "status": "on its way", "to": ["a@x.example", "b@x.example"], "id": 7}
    assert list(body_of(read(changed(data=data)))["data"].items()) == [
        ("id", 7),
        ("type", "email"),
        ("status", "on its way"),
        ("zeta", 1),
        ("to", ["a@x.example", "b@x.example"]),
    ]


def test_any_text_in_data_is_written_as_javascript_writes_it() -> None:
    event = read(read_json(json.dumps(with_data(subject="\ud800 \x00 \ufffe é", score=1e-7))))
    assert b'"subject":"\\ud800 \\u0000 \xef\xbf\xbe \xc3\xa9"' in event.body
    assert b'"score":1e-7' in event.body


def test_the_same_message_gives_the_same_event() -> None:
    assert read(SHORTEST) == read(dict(reversed(SHORTEST.items())))
    assert read(SHORTEST, sent_at_ms=SENT_AT_MS + 1).id == read(SHORTEST).id


@pytest.mark.parametrize(
    "other",
    [
        changed(account_id="acc_2"),
        changed(event="email.opened"),
        changed(transaction_id="txn_2"),
        changed(timestamp="2025-12-21T10:30:01Z"),
        changed(timestamp=ABSENT),
        with_data(subject="Another"),
        with_data(to=["recipient@example.com"]),
        with_data(opens=1),
        with_data(opens="1"),
    ],
)
def test_different_content_has_a_different_id(other: dict[str, object]) -> None:
    assert read(other).id != read(EXAMPLE).id


def test_numbers_that_javascript_does_not_tell_apart_make_no_difference() -> None:
    texts = [json.dumps(changed()).replace('"to"', f'"n": {n}, "to"') for n in ("1", "1.0", "1e0")]
    assert len({read(read_json(text)).id for text in texts}) == 1


def test_a_producers_own_id_is_the_events_id() -> None:
    assert read(changed(id="order-17:sent")).id == "order-17:sent"
    assert read(changed(id="order-17:sent")).body == read(EXAMPLE).body


def test_a_derived_id_has_128_bits() -> None:
    prefix, digits = read(EXAMPLE).id.split("_")
    assert (prefix, len(bytes.fromhex(digits))) == ("evt", 16)


def test_an_api_key_gives_the_account() -> None:
    document = changed(account_id=ABSENT)
    assert read(document, account_id="acc_1") == read(EXAMPLE)
    assert read(EXAMPLE, account_id="acc_1") == read(EXAMPLE)


def test_an_api_key_publishes_for_no_other_account() -> None:
    error = refusal(EXAMPLE, account_id="acc_2")
    assert (error.reason, error.field) == ("invalid_field", "account_id")


@pytest.mark.parametrize("document", [None, [], [EXAMPLE], "text", 1, True])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert refusal(document).reason == "not_an_object"


@pytest.mark.parametrize(
    "event", [ABSENT, None, "", "email.exploded", "EMAIL.SENT", 1, ["email.sent"], {}]
)
def test_an_unknown_event_is_refused(event: object) -> None:
    error = refusal(changed(event=event))
    assert (error.reason, error.field) == ("unknown_event", "event")


@pytest.mark.parametrize("account_id", [ABSENT, None])
def test_an_event_of_no_account_is_refused(account_id: object) -> None:
    error = refusal(changed(account_id=account_id))
    assert (error.reason, error.field) == ("no_account", "account_id")


@pytest.mark.parametrize("account_id", ["", "a#b", "a b", "a" * 65, "é", "a\n", "\ud800", 7, ["a"]])
def test_an_account_id_of_another_form_is_refused(account_id: object) -> None:
    error = refusal(changed(account_id=account_id))
    assert (error.reason, error.field) == ("invalid_field", "account_id")


@pytest.mark.parametrize("account_id", ["a", "a" * 64, "Acc_1.x:y@z-9"])
def test_an_account_id_of_the_right_form_is_taken(account_id: str) -> None:
    assert read(changed(account_id=account_id)).account_id == account_id


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (changed(colour="red"), "colour"),
        (changed(**{"": 1}), "(empty)"),
        (changed(**{"é\n": None}), "\\xe9\\n"),
        (changed(id=""), "id"),
        (changed(id="a" * 129), "id"),
        (changed(id="a b"), "id"),
        (changed(id="a\n"), "id"),
        (changed(id=17), "id"),
        (changed(transaction_id=""), "transaction_id"),
        (changed(transaction_id="a" * 257), "transaction_id"),
        (changed(transaction_id="\ud800"), "transaction_id"),
        (changed(transaction_id="a\x00"), "transaction_id"),
        (changed(transaction_id=17), "transaction_id"),
        (changed(timestamp="yesterday"), "timestamp"),
        (changed(timestamp=1766313000), "timestamp"),
        (changed(data=ABSENT), "data"),
        (changed(data=None), "data"),
        (changed(data=[]), "data"),
        (changed(data="text"), "data"),
        (with_data(to=ABSENT), "data.to"),
        (with_data(to=None), "data.to"),
        (with_data(to=""), "data.to"),
        (with_data(to=[]), "data.to"),
        (with_data(to=["a@example.com", ""]), "data.to"),
        (with_data(to=["a@example.com", None]), "data.to"),
        (with_data(to={"a": 1}), "data.to"),
        (with_data(score=float("nan")), "data"),
        (with_data(score=float("inf")), "data"),
        (with_data(when={1, 2}), "data"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named(document: dict[str, object], field: str) -> None:
    error = refusal(document)
    assert (error.reason, error.field) == ("invalid_field", field)
    assert error.message


def test_a_body_of_64_kib_is_taken_and_one_byte_more_is_not() -> None:
    spare = 65_536 - len(read(with_data(text="")).body)
    assert len(read(with_data(text="a" * spare)).body) == 65_536
    assert refusal(with_data(text="a" * (spare + 1))).reason == "too_large"
    assert refusal(with_data(text="é" * (spare // 2 + 1))).reason == "too_large"


@pytest.mark.parametrize(
    ("text", "unix_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-12-21T10:30:00.5Z", 1766313000500),
        ("2025-12-21T10:30:00.123999999Z", 1766313000123),
        ("2025-12-21t10:30:00z", 1766313000000),
        ("2025-12-21T12:00:00+01:30", 1766313000000),
        ("2025-12-21T02:30:00-08:00", 1766313000000),
        ("2025-12-21T10:30:00-00:00", 1766313000000),
        ("2016-12-31T23:59:60Z", 1483228799000),
        ("2024-02-29T00:00:00Z", 1709164800000),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
    ],
)
def test_a_given_timestamp_is_read_and_passed_on_as_it_was_given(text: str, unix_ms: int) -> None:
    event = read(changed(timestamp=text))
    assert (event.occurred_at_ms, event.timestamp) == (unix_ms, text)
    assert body_of(event)["timestamp"] == text
    assert unix_ms < 2**48


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-12-21",
        "2025-12-21T10:30:00",
        "2025-12-21 10:30:00Z",
        "2025-12-21T10:30Z",
        "2025-12-21T10:30:00.Z",
        "2025-12-21T10:30:00Z\n",
        "2025-02-29T10:30:00Z",
        "2025-13-01T10:30:00Z",
        "2025-12-21T24:00:00Z",
        "2025-12-21T10:60:00Z",
        "2025-12-21T10:30:61Z",
        "2025-12-21T10:30:00+24:00",
        "2025-12-21T10:30:00+0100",
        "2025-12-21T10:30:00+01:60",
        "٢٠٢٥-12-21T10:30:00Z",
        "0000-12-21T10:30:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:30:00+01:00",
        "12025-12-21T10:30:00Z",
        "9999-12-31T23:59:59.999-00:01",
    ],
)
def test_a_timestamp_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        parse_timestamp(text, "bounce.timestamp")
    assert (caught.value.reason, caught.value.field) == ("invalid_field", "bounce.timestamp")


@given(st.integers(min_value=0, max_value=253402300799999))
def test_the_timestamp_that_is_filled_in_is_one_that_is_read(sent_at_ms: int) -> None:
    event = read(SHORTEST, sent_at_ms=sent_at_ms)
    assert parse_timestamp(event.timestamp) == sent_at_ms
    given_back = read(SHORTEST | {"timestamp": event.timestamp})
    assert given_back.occurred_at_ms == sent_at_ms
