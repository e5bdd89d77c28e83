"""The event types as their receivers meet them: a description, a schema and a sample of each.

The samples go the way of every event, through `event.accept`, so that they are what really arrives.
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
"""What an event of a type tells besides what all do, where it is known: a sample's fields."""

TIMESTAMPS: list[dict[str, Any]] = [
    {"type": "string", "format": "date-time"},
    {"type": "string", "pattern": "^[0-9-]{10}[Tt][0-9:]{6}60", "description": "A leap second."},
]
"""The schemas of a time, either of which holds. Validators of `date-time` refuse most of the leap
seconds that are accepted: RFC 3339 has them at the ends of some months only."""

_TEXT = {"type": "string"}
_GIVEN = {"description": "Any other value: the one that its producer gave."}
_ADDRESS = {"type": "string", "minLength": 1}
_BOOLEAN = {"type": "boolean"}
_SUPPRESSED = {
    **_BOOLEAN,
    "description": "true where nothing was sent, because of what is known of the address.",
}
_MORE_FIELDS: dict[EventType, dict[str, dict[str, Any]]] = {
    EventType.BOUNCED: {
        "status": _TEXT,
        "suppressed": _SUPPRESSED,
        "auto_reply": {
            **_BOOLEAN,
            "description": "true where it looks like an out-of-office reply: the mail arrived.",
        },
        "original_recipient": {
            **_TEXT,
            "description": "The address that was mailed, where another one, which it was "
            "forwarded to, bounced.",
        },
    },
    EventType.COMPLAINED: {"suppressed": _SUPPRESSED},
}
"""What such an event may tell besides its sample's fields."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An event type: what it means, the JSON Schema of its payload, and one such payload."""

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
    """Return a producer's message of this type, as `event.accept` takes it (contract 2.4)."""
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
    """Return a sample event of an account's own, which happens at this moment.

    It has a transaction id of its own too, so that a receiver that goes by those does not take it
    for a duplicate of the sample before. `subject` is the email's, where it is to tell what the
    sample is for, and `more` are fields that `data` has besides. Raises InvalidInputError for an
    unknown type.
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
    value but for `to` (contract 2.4). So each named field has its usual shape, the one that Amazon
    SES's records have, and beside it any other value.
    """
    data: dict[str, Any] = {
        "id": _filled_in(
            _TEXT,
            "The producer's own id, or the same for all that happens to one email sent through "
            "Amazon SES, or else the transaction's.",
        ),
        "email_id": _usually(_TEXT, "The email's id."),
        "type": _filled_in({**_TEXT, "examples": ["email"]}, "Of what kind the message is."),
        "status": _filled_in(
            {**_TEXT, "examples": [event_type.status]}, "What happened to the email, in one word."
        ),
        "to": {
            "description": "The recipient, or all of them where it is not known which it was.",
            "anyOf": [_ADDRESS, {"type": "array", "items": _ADDRESS, "minItems": 1}],
        },
        "subject": _usually(_TEXT, "The email's subject."),
        "from": _usually(_TEXT, "The email's sender."),
        "message_id": _usually(_TEXT, "The email's header Message-ID, where known."),
    }
    for name, fields in _PARTICULARS.get(event_type, {}).items():
        facts = {
            "type": "object",
            "properties": {
                **{field: _type_of(value) for field, value in fields.items()},
                **_MORE_FIELDS.get(event_type, {}),
            },
        }
        data[name] = _usually(facts, "Further facts; each field only where it is known.")
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
                "description": "This event's own, the same in every attempt, unless its producer "
                "chose one.",
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
    """Return the schema of a field that is filled in where a producer gives none, or null."""
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
