"""Parts of a message: an event, with the webhooks of its account that the part is for.

A message of many deliveries goes back on the events queue in parts, so that several dispatchers
work on it at once. A part of a divided message is for a shard, a range of webhook ids. Therefore
webhooks that come or go meanwhile are in one shard or in none, however often the event is divided.
A part for deliveries that an invocation had no time for names their webhooks.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeGuard
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
from webhooks.domain.filing import filed
from webhooks.domain.ids import is_uuid
from webhooks.domain.payload import parse
from webhooks.domain.timestamps import LATEST_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

MOST_AT_ONCE = 100
"""The most deliveries of one message that a single dispatcher attempts."""

SHARD_WEBHOOKS = 10
"""Webhooks of a shard, and deliveries of a divided message's part.

A batch is ten messages, which may all be such parts: `MOST_AT_ONCE` again."""

MAX_QUEUED_BYTES = 1_048_576 - 4_096
"""The largest message for the queue: SQS's limit, less the room for attributes."""

_FIELDS = frozenset({"shard", "account_id", "id", "occurred_at_ms", "arrived_at_ms", "body"})
_BODY_FIELDS = frozenset({"event", "transaction_id", "timestamp", "data"})
_WEBHOOKS = "webhooks"
_LAST_ID = (1 << 128) - 1


class Shard(NamedTuple):
    """The webhooks of an account with ids from `first` to `last`, both included."""

    first: str
    last: str


ALL = Shard(str(UUID(int=0)), str(UUID(int=_LAST_ID)))
"""Every possible webhook."""


class Part(NamedTuple):
    """An event for the webhooks of a shard, or only for those of them in `webhook_ids`.

    `arrived_at_ms` is when SQS took the original message, in Unix milliseconds.
    """

    event: Event
    shard: Shard
    arrived_at_ms: int
    webhook_ids: tuple[str, ...] | None = None

    @classmethod
    def naming(cls, event: Event, webhook_ids: Iterable[str], arrived_at_ms: int) -> Part:
        """Return a part for these webhooks and no others."""
        ids = tuple(sorted(webhook_ids))
        return cls(event, Shard(ids[0], ids[-1]), arrived_at_ms, ids)


def divide(webhook_ids: Sequence[str], within: Shard = ALL) -> list[Shard]:
    """Return the shards of an event for these webhooks, in the order of their ids.

    Together they cover every possible id within a shard, each once, including ids of webhooks that
    do not exist yet.
    """
    starts = webhook_ids[SHARD_WEBHOOKS::SHARD_WEBHOOKS]
    firsts = [UUID(within.first).int, *(UUID(one).int for one in starts)]
    lasts = [*(first - 1 for first in firsts[1:]), UUID(within.last).int]
    return [
        Shard(str(UUID(int=first)), str(UUID(int=last)))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def to_message(part: Part) -> str:
    """Return the queue's message for a part: the event's very bytes, and its settled time.

    ASCII, since SQS refuses some characters that JSON may hold; at most six times the body, plus
    the ids of the webhooks that it names.
    """
    event = part.event
    document: dict[str, object] = {
        "shard": part.shard,
        "account_id": event.account_id,
        "id": event.id,
        "occurred_at_ms": event.occurred_at_ms,
        "arrived_at_ms": part.arrived_at_ms,
        "body": event.body.decode(),
    }
    if part.webhook_ids is not None:
        document[_WEBHOOKS] = part.webhook_ids
    return json.dumps(document, separators=(",", ":"))


def to_messages(
    parts: Iterable[tuple[Part, int]], most_deliveries: Callable[[], int]
) -> Iterator[tuple[str, int]]:
    """Yield the queue's messages for parts, each with its number of deliveries.

    Each part comes with its own number. A message holds at least one part, and otherwise as many as
    `most_deliveries`, called for each part, and `MAX_QUEUED_BYTES` allow. Messages are made one at
    a time: all of a large message's parts would not fit in a function's memory.
    """
    texts: list[str] = []
    deliveries = size = 0
    for part, number in parts:
        text = to_message(part)
        too_large = size + len(text) + len(texts) + len("[]") > MAX_QUEUED_BYTES
        if texts and (too_large or deliveries + number > most_deliveries()):
            yield _together(texts), deliveries
            texts, deliveries, size = [], 0, 0
        texts.append(text)
        deliveries += number
        size += len(text)
    if texts:
        yield _together(texts), deliveries


def _together(texts: Sequence[str]) -> str:
    """Return one message of several parts; a single part stays an object, as in older versions."""
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def is_part(document: object) -> TypeGuard[dict[str, object]]:
    """Whether a document claims to be one of our parts; no event has the field `shard`."""
    return isinstance(document, dict) and "shard" in document and "event" not in document


def read_part(document: Mapping[str, object], *, sent_at_ms: int) -> Part:
    """Read a part; InvalidEventError for a document that `to_message` never makes.

    Any queue producer can forge a part; therefore it is validated as strictly as an event. Its body
    must be the exact bytes of the event that its fields describe.
    """
    if document.keys() - {_WEBHOOKS} != _FIELDS:
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
    # Our own parts were filed before the event was divided, so their time is settled.
    event = replace(filed(event, arrived_at_ms), id_fixes_time=True, ahead=False)
    shard = _shard(document["shard"])
    return Part(event, shard, arrived_at_ms, _webhook_ids(document, shard))


def _body(text: object) -> tuple[bytes, dict[str, object]]:
    """Return an event's bytes and their parsed content."""
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


def _webhook_ids(document: Mapping[str, object], shard: Shard) -> tuple[str, ...] | None:
    if _WEBHOOKS not in document:
        return None
    ids = document[_WEBHOOKS]
    if isinstance(ids, list) and 1 <= len(ids) <= MOST_AT_ONCE:
        texts = tuple(one for one in ids if isinstance(one, str) and is_uuid(one))
        if sorted(set(texts)) == ids and shard == (texts[0], texts[-1]):
            return texts
    raise InvalidEventError(
        "invalid_field", _WEBHOOKS, f"must be the ids of 1 to {MOST_AT_ONCE} of the shard, in order"
    )
