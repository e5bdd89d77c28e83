"""The limits of one message: its recipients and its bytes, refused before events are made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from webhooks.domain import ses_record
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES
from webhooks.domain.ingest import (
    MAX_MESSAGE_BYTES,
    MAX_REFUSALS,
    MIN_COUNTED_BYTES,
    read_message,
)
from webhooks.domain.payload import is_longer, parse, serialize
from webhooks.domain.ses import SesAccounts
from webhooks.domain.ses_record import MAX_RECIPIENTS

if TYPE_CHECKING:
    from webhooks.domain.ingest import ParsedMessage

SENT_AT_MS = 1766313000123
TIME = "2025-12-21T10:30:00.000Z"


def read(document: object) -> ParsedMessage:
    text = document if isinstance(document, str) else json.dumps(document)
    return read_message(text, sent_at_ms=SENT_AT_MS, ses_accounts=SesAccounts())


def refusal(document: object) -> InvalidEventError:
    with pytest.raises(InvalidEventError) as caught:
        read(document)
    return caught.value


def addresses(number: int, domain: str = "example.com") -> list[str]:
    return [f"recipient-{one}@{domain}" for one in range(number)]


def record(kind: str = "Send", *, tag: str = "v", name: str = "m", **parts: Any) -> dict[str, Any]:
    mail = {"timestamp": TIME, "messageId": name, "tags": {"t": [tag]}, "source": "a@b.example"}
    return {"eventType": kind, "mail": mail | parts.pop("mail", {}), **parts}


def event(number: int) -> dict[str, Any]:
    return {"account_id": "acc_1", "event": "email.sent", "data": {"to": f"{number}@example.com"}}


MANY = addresses(MAX_RECIPIENTS + 1)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (record(mail={"destination": MANY}), "mail.destination"),
        (record(mail={"destination": [", ".join(MANY)]}), "mail.destination"),
        (record(mail={"commonHeaders": {"to": MANY[:60], "cc": MANY[60:]}}), "mail.commonHeaders"),
        (record("Open", mail={"destination": MANY}, open={"timestamp": TIME}), "mail.destination"),
        (
            record(
                "Bounce",
                bounce={
                    "timestamp": TIME,
                    "bouncedRecipients": [{"emailAddress": one} for one in MANY],
                },
            ),
            "bounce.bouncedRecipients",
        ),
        (
            record("Delivery", delivery={"timestamp": TIME, "recipients": addresses(80_000)}),
            "delivery.recipients",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_with_too_many_recipients_is_refused_before_an_event_is_made(
    document: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ses_record, "compose", None)
    error = refusal(document)
    assert (error.reason, error.field) == ("too_many_recipients", field)
    assert str(MAX_RECIPIENTS) in error.message


def test_as_many_recipients_as_there_may_be_get_an_event_each() -> None:
    assert len(read(record(mail={"destination": MANY[:-1]})).events) == MAX_RECIPIENTS
    twice = [*MANY[:-1], *MANY[:-1]]
    assert len(read(record(mail={"destination": twice})).events) == MAX_RECIPIENTS


def test_the_largest_record_that_ses_makes_is_never_refused() -> None:
    """50 recipients, 50 tags of 256 characters, 10 KB of headers, a subject of 998 characters."""
    destination = [f'"{"n" * 200}, {number}" <{one}>' for number, one in enumerate(MANY[:50])]
    mail = {
        "destination": destination,
        "tags": {f"{number:0256}": ["v" * 256] for number in range(50)},
        "headers": [{"name": f"h{number}", "value": "v" * 480} for number in range(20)],
        "commonHeaders": {"subject": "s" * 998, "to": destination, "from": ["a@b.example"]},
    }
    for document in (
        record(mail=mail),
        record("Delivery", mail=mail, delivery={"timestamp": TIME, "recipients": MANY[:50]}),
        record("Open", mail=mail, open={"timestamp": TIME, "userAgent": "u" * 2000}),
    ):
        found = read(document)
        assert not found.refusals
        assert len(found.events) == (1 if document["eventType"] == "Open" else 50)


def test_a_mail_to_many_of_whom_few_bounced_is_those_few() -> None:
    bounce = {"timestamp": TIME, "bouncedRecipients": [{"emailAddress": "a@example.com"}]}
    found = read(record("Bounce", mail={"destination": MANY}, bounce=bounce))
    [body] = [json.loads(one.body) for one in found.events]
    assert body["data"]["to"] == "a@example.com"
    assert "original_recipient" not in body["data"]["bounce"]


def test_of_an_array_what_becomes_too_much_is_refused_and_the_rest_taken() -> None:
    large = [
        record(mail={"destination": MANY[:-1]}, name=f"m{number}", tag="v" * 60_000)
        for number in range(3)
    ]
    found = read([event(1), *large, event(2)])
    assert len(found.events) == 102
    assert {one.error.reason for one in found.refusals} == {"too_many_bytes"}
    assert [json.loads(one.body or "") for one in found.refusals] == large[1:]
    assert "several messages" in found.refusals[0].error.message
    assert sum(len(one.body) for one in found.events) <= MAX_MESSAGE_BYTES


def test_an_array_of_small_events_is_counted_by_what_an_event_takes() -> None:
    most = MAX_MESSAGE_BYTES // MIN_COUNTED_BYTES
    documents = [event(number) for number in range(most + MAX_REFUSALS)]
    assert not read(documents[:most]).refusals
    found = read(documents)
    assert len(found.events) == most
    assert [json.loads(one.body or "") for one in found.refusals] == documents[most:]
    found = read([*documents, event(-1)])
    assert len(found.events) == most
    [as_it_came] = found.refusals
    assert (as_it_came.body, as_it_came.error.reason) == (None, "too_many_bytes")


def test_one_record_never_becomes_too_much() -> None:
    assert MAX_RECIPIENTS * max(MAX_BODY_BYTES, MIN_COUNTED_BYTES) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "value", [1e15, 12345678901234567890, "\u00e9" * 40, "\U0001f600" * 20], ids=str
)
def test_a_document_that_would_be_longer_than_it_came_is_rejected_with_its_message(
    value: object,
) -> None:
    """The events dead-letter queue accepts no larger message than the events queue."""
    units = ["1E15"] * 200_000 if value == 1e15 else [json.dumps(value, ensure_ascii=False)] * 9000
    text = f'[{{"event":"lost","data":[{",".join(units)}]}}]'
    [one] = read(text).refusals
    assert one.error.reason == "unknown_event"
    assert len((one.body or text).encode()) <= len(text.encode())


def test_refusals_hold_on_to_nothing_of_what_was_read() -> None:
    found = read([{"event": "lost"}, {"event": "email.sent", "data": 1, "account_id": "a"}])
    for one in found.refusals:
        assert one.error.__traceback__ is None
        assert one.error.__context__ is None


@pytest.mark.parametrize(
    "data",
    [
        {"to": "a", "x": [{}] * 40_000},
        {"to": "a", "x": [1.5] * 40_000},
        {"to": "a", "x": {f"{number}": 0 for number in range(20_000)}},
        {"to": "a", "x": "x" * MAX_BODY_BYTES},
    ],
    ids=["objects", "numbers", "keys", "text"],
)
def test_what_is_surely_too_large_is_refused_before_it_is_written(
    data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.domain.event.serialize", None)
    monkeypatch.setattr("webhooks.domain.event._CANONICAL", None)
    assert refusal({**event(1), "data": data}).reason == "too_large"


@pytest.mark.parametrize(
    "text", ["[]", "{}", '""', "0", '{"a":[1,2,{"b":null}],"c":"d"}', "[[],[]]"]
)
def test_no_value_is_called_longer_than_it_is(text: str) -> None:
    value = parse(text)
    assert serialize(value).decode() == text
    assert not is_longer(value, len(text))
