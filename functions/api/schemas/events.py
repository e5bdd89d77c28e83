"""The shapes of publishing. What is sent is read by the domain's rules, as a queue's message is."""

from collections.abc import Sequence
from typing import Any, Literal

from api.errors import as_api_error
from api.schemas.base import ErrorOut, Out, ProblemOut, Warned
from webhooks.domain.catalog import TIMESTAMPS
from webhooks.domain.event import EventType
from webhooks.services.publisher import MAX_EVENTS, Published


def _or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return the schema of an optional field: null counts as absent (contract 2.4)."""
    return {"description": description, "anyOf": [schema, {"type": "null"}]}


_EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "additionalProperties": False,
    "properties": {
        "account_id": _or_null(
            {"type": "string"}, "The account of the API key; no other may be named."
        ),
        "event": {"type": "string", "enum": [*EventType]},
        "id": _or_null(
            {"type": "string", "minLength": 1, "maxLength": 128},
            "Your own id of the event; derived from its content where left out.",
        ),
        "transaction_id": _or_null(
            {"type": "string", "minLength": 1, "maxLength": 256},
            "An id of this event alone, since receivers go by it to pass over duplicates; it gets "
            "one where this is left out.",
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
    """What became of one event, and its place in the request.

    A rejected one has the error that it would have got alone. An accepted one goes to as many of
    the account's webhooks as `webhooks` says: those that are subscribed to its type, disabled ones
    and those that are down included, since it waits for them. It is left out where they could not
    be counted.
    """

    index: int
    status: Literal["accepted", "rejected"]
    event_id: str | None = None
    transaction_id: str | None = None
    webhooks: int | None = None
    error: ErrorOut | None = None

    @classmethod
    def of(cls, index: int, published: Published) -> "PublishedOut":
        """Return what became of an event as the API shows it."""
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
    """The envelope of a response, with what its caller should change."""


def warnings_of(published: Sequence[Published]) -> list[ProblemOut] | None:
    """Return a warning for each event that shares its transaction id with another one."""
    return [
        ProblemOut(
            field=f"[{index}].transaction_id",
            message="Give each event a transaction_id of its own, or leave it out: receivers go by "
            "it, and take this event for a duplicate of another one in this call. "
            "What belongs together is told by data.id and data.email_id.",
        )
        for index, each in enumerate(published)
        if each.shared
    ] or None
