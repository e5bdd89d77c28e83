"""Shards of a wide event: the event, and which of its account's webhooks a message is for.

An event that matches many webhooks goes back on the events queue in shards, so that several
dispatchers send it at once. A shard is a range of webhook ids: webhooks that come or go meanwhile
are in one shard or in none, however often the event is divided.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import (
    MAX_BODY_BYTES,
    Event,
    checked_account_id,
    checked_data,
    checked_event_id,
    checked_event_type,
    checked_transaction_id,
    compose,
    parse_timestamp,
)
from webhooks.domain.ids import is_uuid
from webhooks.domain.payload import parse
from webhooks.domain.timestamps import LATEST_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_AT_ONCE = 100
"""The most webhooks of one event that a single dispatcher attempts."""

SHARD_WEBHOOKS = 10
"""Webhooks of a shard. A batch is ten messages, which may all be shards: `MOST_AT_ONCE` again."""

_FIELDS = frozenset({"shard", "account_id", "id", "occurred_at_ms", "arrived_at_ms", "body"})
_BODY_FIELDS = frozenset({"event", "transaction_id", "timestamp", "data"})
_LAST_ID = (1 << 128) - 1


class Shard(NamedTuple):
    """The webhooks of an account with ids from `first` to `last`, both included."""

    first: str
    last: str


class Part(NamedTuple):
    """A message that is for a shard: its event, and when SQS took the message it came of."""

    event: Event
    shard: Shard
    arrived_at_ms: int


def divide(webhook_ids: Sequence[str]) -> list[Shard]:
    """Return the shards of an event for these webhooks, in the order of their ids.

    Together they hold every id that there can be, each once, those of webhooks to come included.
    """
    firsts = [0, *(UUID(one).int for one in webhook_ids[SHARD_WEBHOOKS::SHARD_WEBHOOKS])]
    lasts = [*(first - 1 for first in firsts[1:]), _LAST_ID]
    return [
        Shard(str(UUID(int=first)), str(UUID(int=last)))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def to_message(part: Part) -> str:
    """Return the queue's message for a part: the event's very bytes, and its time as settled.

    ASCII, since SQS refuses some characters that JSON may hold; at most six times the body.
    """
    event = part.event
    document = {
        "shard": part.shard,
        "account_id": event.account_id,
        "id": event.id,
        "occurred_at_ms": event.occurred_at_ms,
        "arrived_at_ms": part.arrived_at_ms,
        "body": event.body.decode(),
    }
    return json.dumps(document, separators=(",", ":"))


def is_part(document: Mapping[str, object]) -> bool:
    """Tell whether a document claims to be one of our parts; no event has such a field."""
    return "shard" in document and "event" not in document


def read_part(document: Mapping[str, object], *, sent_at_ms: int) -> Part:
    """Read a part. Raises InvalidEventError for what `to_message` never makes.

    Whoever may send to the queue can write one, so that it can do nothing which an event could
    not: its bytes are those that an event of what they say would have.
    """
    if document.keys() != _FIELDS:
        raise InvalidEventError("invalid_field", "shard", "must come with the fields of a shard")
    body, content = _body(document["body"])
    parse_timestamp(content["timestamp"])
    event = compose(
        account_id=checked_account_id(document["account_id"]),
        event_id=checked_event_id(document["id"]),
        event_type=checked_event_type(content["event"]),
        transaction_id=checked_transaction_id(content["transaction_id"], "transaction_id"),
        timestamp=str(content["timestamp"]),
        occurred_at_ms=_milliseconds(document, "occurred_at_ms"),
        data=checked_data(content["data"]),
    )
    if event.body != body:
        raise InvalidEventError("invalid_field", "body", "must be an event's")
    arrived_at_ms = min(_milliseconds(document, "arrived_at_ms"), sent_at_ms)
    return Part(event, _shard(document["shard"]), arrived_at_ms)


def _body(text: object) -> tuple[bytes, dict[str, object]]:
    """Return an event's bytes and what they hold."""
    try:
        body = text.encode() if isinstance(text, str) else b""
        if len(body) > MAX_BODY_BYTES:
            raise InvalidEventError("too_large", "body", f"is over {MAX_BODY_BYTES} bytes")
        content = parse(body)
    except ValueError as error:
        raise InvalidEventError("invalid_field", "body", "must be an event's") from error
    if not isinstance(content, dict) or content.keys() != _BODY_FIELDS:
        raise InvalidEventError("invalid_field", "body", "must be an event's")
    return body, content


def _milliseconds(document: Mapping[str, object], name: str) -> int:
    value = document[name]
    if type(value) is int and 0 <= value <= LATEST_MS:
        return value
    raise InvalidEventError("invalid_field", name, "must be Unix milliseconds")


def _shard(value: object) -> Shard:
    match value:
        case [str(first), str(last)] if is_uuid(first) and is_uuid(last) and first <= last:
            return Shard(first, last)
    raise InvalidEventError(
        "invalid_field", "shard", "must be two webhooks' ids, the lower one first"
    )
