"""The public catalog of event types: a description, a schema and a sample payload of each.

Samples are made by `event.accept`, as all events are; therefore they match real deliveries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhooks.domain.errors import InvalidInputError
from webhooks.domain.event import Event, EventType, accept
from webhooks.domain.timestamps import to_text

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DESCRIPTIONS = {
    EventType.SENT: "Email was successfully sent to the mail server.",
    EventType.DELIVERED: "Email was successfully delivered to the recipient.",
    EventType.BOUNCED: "Email bounced (hard or soft bounce).",
    EventType.COMPLAINED: "Recipient marked email as spam.",
    EventType.OPENED: "Email was opened (if tracking enabled).",
    EventType.CLICKED: "Link in email was clicked (if tracking enabled).",
    EventType.DELIVERY_DELAYED: "Email could not be delivered yet; it is still being tried.",
    EventType.FAILED: "Email was not sent: it was rejected, or its template has an error.",
    EventType.UNSUBSCRIBED: "Recipient unsubscribed through the email's unsubscribe link.",
}

_CLIENT = {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"}
_PARTICULARS: dict[EventType, dict[str, dict[str, Any]]] = {
    EventType.BOUNCED: {
        "bounce": {
            "type": "hard",
            "ses_type": "Permanent",
            "ses_subtype": "General",
            "diagnostic": "smtp; 550 5.1.1 user unknown",
        }
    },
    EventType.COMPLAINED: {"complaint": {"type": "abuse"}},
    EventType.OPENED: {"open": {**_CLIENT, "bot": "unlikely"}},
    EventType.CLICKED: {
        "click": {"link": "https://yourdomain.com/welcome", **_CLIENT, "bot": "unlikely"}
    },
    EventType.DELIVERY_DELAYED: {
        "delivery_delay": {
            "type": "MailboxFull",
            "expires_at": "2025-12-22T00:30:00Z",
            "status": "4.2.2",
            "diagnostic": "smtp; 452 4.2.2 mailbox full",
        }
    },
    EventType.FAILED: {"failure": {"type": "rejected", "reason": "Bad content"}},
    EventType.UNSUBSCRIBED: {
        "subscription": {"contact_list": "customers", "all": False, "topics": ["news"]}
    },
}
"""The fields that an event of each type adds to the common ones, with a sample's values."""

TIMESTAMPS: list[dict[str, Any]] = [
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": "^[0-9-]{10}[Tt][0-9:]{6}60", "description": "A leap second."},
]
"""The schemas of a time, either of which holds. Validators of `date-time` refuse most leap seconds
that we accept: RFC 3339 has leap seconds at the ends of some months only."""

_TEXT = {"type": "string"}
_GIVEN = {"description": "Any other value, as its producer gave it."}
_ADDRESS = {"type": "string", "minLength": 1}
_BOOLEAN = {"type": "boolean"}
_SUPPRESSED = {
    **_BOOLEAN,
    "description": "true if nothing was sent, because the address is suppressed.",
}
_MORE_FIELDS: dict[EventType, dict[str, dict[str, Any]]] = {
    EventType.BOUNCED: {
        "status": _TEXT,
        "suppressed": _SUPPRESSED,
        "auto_reply": {
            **_BOOLEAN,
            "description": "true if it looks like an out-of-office reply: the mail arrived.",
        },
        "original_recipient": {
            **_TEXT,
            "description": "The address that was mailed, if it forwarded the mail to another "
            "address, which bounced.",
        },
    },
    EventType.COMPLAINED: {"suppressed": _SUPPRESSED},
}
"""Optional fields of each type that its sample does not have."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An event type: its description, the JSON Schema of its payload, and a sample payload."""

    type: EventType
    description: str
    schema: dict[str, Any]
    sample: dict[str, Any]


def catalog() -> list[CatalogEntry]:
    """Return every event type, in the documentation's order."""
    return [
        CatalogEntry(
            type=event_type,
            description=_DESCRIPTIONS[event_type],
            schema=schema_of(event_type),
            sample=json.loads(accept(sample_document(event_type), sent_at_ms=0).body),
        )
        for event_type in EventType
    ]


def sample_document(event_type: EventType) -> dict[str, Any]:
    """Return a producer's message of this type, valid input for `event.accept` (contract 2.4)."""
    return {
        "account_id": "acc_1",
        "event": event_type.value,
        "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
        "timestamp": "2025-12-21T10:30:00Z",
        "data": {
            "email_id": "abc123-def456-789",
            "to": "recipient@example.com",
            "subject": "Welcome to our platform!",
            "from": "hello@yourdomain.com",
            **_PARTICULARS.get(event_type, {}),
        },
    }


def sample_event(
    event_type: str,
    *,
    account_id: str,
    event_id: str,
    now_ms: int,
    subject: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Event:
    """Return a sample event for an account, which happens at this moment.

    Each sample has a new transaction id; otherwise a receiver that deduplicates by that id would
    drop it as a repeat of the sample before. `subject` replaces the email's subject, to state the
    purpose of the sample; `more` is merged into `data`. Raises InvalidInputError for an unknown
    type.
    """
    if event_type not in set(EventType):
        raise InvalidInputError("event", f"Use one of {', '.join(EventType)}.")
    document = sample_document(EventType(event_type))
    if subject is not None:
        document["data"]["subject"] = subject
    document["data"] |= more or {}
    changes = {
        "account_id": account_id,
        "id": event_id,
        "transaction_id": None,
        "timestamp": to_text(now_ms),
    }
    return accept({**document, **changes}, sent_at_ms=now_ms)


def schema_of(event_type: EventType) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the payload that receivers of this type are sent.

    It holds for every event that is accepted. Producers may give any field of `data`, and any JSON
    value except for `to` (contract 2.4). Therefore each named field allows its usual shape, as in
    Amazon SES's records, or any other value.
    """
    data: dict[str, Any] = {
        "id": _filled_in(
            _TEXT,
            "The producer's own id; the same id for all events of one email sent through Amazon "
            "SES; otherwise the transaction's.",
        ),
        "email_id": _usually(_TEXT, "The email's id."),
        "type": _filled_in({**_TEXT, "examples": ["email"]}, "The kind of message."),
        "status": _filled_in(
            {**_TEXT, "examples": [event_type.status]}, "What happened to the email, in one word."
        ),
        "to": {
            "description": "The recipient, or all recipients if it is not known which one it was.",
            "anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS, "minItems": 1}],
        },
        "subject": _usually(_TEXT, "The email's subject."),
        "from": _usually(_TEXT, "The email's sender."),
        "message_id": _usually(_TEXT, "The email's header Message-ID, if known."),
    }
    for name, fields in _PARTICULARS.get(event_type, {}).items():
        facts = {
            "type": "object",
            "properties": {
                **{field: _type_of(value) for field, value in fields.items()},
                **_MORE_FIELDS.get(event_type, {}),
            },
        }
        data[name] = _usually(facts, "Further facts; each field only if it is known.")
    return {
        "$schema": SCHEMA_DIALECT,
        "title": event_type.value,
        "description": _DESCRIPTIONS[event_type],
        "type": "object",
        "properties": {
            "event": {"const": event_type.value},
            "transaction_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": 256,
                "description": "The event's own id, the same in every attempt, or the id that its "
                "producer chose.",
            },
            "timestamp": {
                "anyOf": TIMESTAMPS,
                "description": "When it happened, as its producer wrote it.",
            },
            "data": {
                "type": "object",
                "properties": data,
                "required": ["id", "type", "status", "to"],
            },
        },
        "required": ["event", "transaction_id", "timestamp", "data"],
        "additionalProperties": False,
    }


def _usually(shape: dict[str, Any], description: str) -> dict[str, Any]:
    """Return the schema of a field that has this shape unless its producer gives it another."""
    return {"description": description, "anyOf": [shape, _GIVEN]}


def _filled_in(shape: dict[str, Any], description: str) -> dict[str, Any]:
    """Return the schema of a field that is filled in if a producer gives none, or null."""
    return {
        "description": description,
        "anyOf": [shape, {**_GIVEN, "not": {"type": "null"}}],
    }


def _type_of(value: object) -> dict[str, Any]:
    """Return the schema of a sample's value."""
    match value:
        case bool():
            return _BOOLEAN
        case list():
            return {"type": "array", "items": _TEXT}
    return _TEXT
