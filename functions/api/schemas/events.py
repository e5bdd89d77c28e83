"""Schemas of publishing. The domain's rules read an event, as they read a queue's message."""

from collections.abc import Sequence
from typing import Any, Literal

from api.errors import as_api_error
from api.schemas.base import ErrorOut, Out, ProblemOut, Warned
from webhooks.domain.catalog import TIMESTAMPS
from webhooks.domain.event import EventType
from webhooks.services.publisher import MAX_EVENTS, Published


def _or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return the schema of an optional field, in which null counts as absent (contract 2.4)."""
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


_EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "additionalProperties": False,
    "properties": {
        "account_id": _or_null(
            {"type": "string"}, "The account of the API key. Another account is refused."
        ),
        "event": {"type": "string", "enum": [*EventType]},
        "id": _or_null(
            {"type": "string", "minLength": 1, "maxLength": 128},
            "Your own id for the event. Default: an id derived from its content.",
        ),
        "transaction_id": _or_null(
            {"type": "string", "minLength": 1, "maxLength": 256},
            "An id of this event alone: receivers use it to skip duplicates. Default: a"
            " generated id.",
        ),
        "timestamp": {"anyOf": [*TIMESTAMPS, {"type": "null"}]},
        "data": {
            "type": "object",
            "required": ["to"],
            "additionalProperties": True,
            "properties": {
                "to": {
                    "anyOf": [
                        {"type": "string", "minLength": 1},
                        {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "minLength": 1},
                        },
                    ]
                }
            },
        },
    },
}
_EXAMPLE: dict[str, Any] = {
    "event": "email.delivered",
    "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
    "timestamp": "2025-12-21T10:30:00Z",
    "data": {
        "email_id": "abc123-def456-789",
        "to": "recipient@example.com",
        "subject": "Welcome to our platform!",
        "from": "hello@yourdomain.com",
    },
}

REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    _EVENT_SCHEMA,
                    {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_EVENTS,
                        "items": _EVENT_SCHEMA,
                    },
                ]
            },
            "example": _EXAMPLE,
        }
    },
}
"""The body as the OpenAPI document describes it."""


class PublishedOut(Out):
    """The result for one event, and the event's place in the request.

    A rejected event has the same error that it would have alone. An accepted event has `webhooks`,
    the number of the account's webhooks that get it: all that are subscribed to its type, also
    webhooks that are disabled or down, for which the event waits. The number is absent if it
    could not be determined.
    """

    index: int
    status: Literal["accepted", "rejected"]
    event_id: str | None = None
    transaction_id: str | None = None
    webhooks: int | None = None
    error: ErrorOut | None = None

    @classmethod
    def of(cls, index: int, published: Published) -> "PublishedOut":
        """Return the result of an event as the API shows it."""
        if published.error is None:
            return cls(
                index=index,
                status="accepted",
                event_id=published.event_id,
                transaction_id=published.transaction_id,
                webhooks=published.webhooks,
            )
        error = as_api_error(published.error)
        return cls(
            index=index,
            status="rejected",
            error=ErrorOut(code=error.code, message=error.message, details=error.details or None),
        )


class PublishedSuccess(Warned[PublishedOut | list[PublishedOut]]):
    """The envelope of the results, with advice to the caller."""


def warnings_of(published: Sequence[Published]) -> list[ProblemOut] | None:
    """Return a warning for each event that shares its transaction id with another event."""
    return [
        ProblemOut(
            field=f"[{index}].transaction_id",
            message="Give each event a transaction_id of its own, or leave it out. Receivers skip "
            "events with a known transaction_id, so they skip this one or its twin. "
            "To group related events, use data.id and data.email_id.",
        )
        for index, each in enumerate(published)
        if each.shared
    ] or None
