"""The messages of the events queue that need the most memory, each as large as SQS allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webhooks.domain.event import accept
from webhooks.domain.shard import Part, Shard, to_message

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 1_048_576
"""SQS's largest message."""

_TIME = "2025-12-21T10:30:00.000Z"
_IDS = "00000000-0000-7000-8000-000000000000", "ffffffff-0000-7000-8000-ffffffffffff"
_NATIVE = '{"event":"email.sent","data":{"to":"a"},"account_id":"acc_1"}'


def _array_of(unit: str) -> str:
    """Repeat a JSON text in an array of the largest size."""
    return f"[{','.join([unit] * ((MAX_BYTES - 2) // (len(unit.encode()) + 1)))}]"


def _numbered(unit: Callable[[int], str]) -> str:
    """Fill an array with distinct texts."""
    units: list[str] = []
    room = MAX_BYTES - 2
    while (room := room - len(unit(len(units)).encode()) - 1) >= 0:
        units.append(unit(len(units)))
    return f"[{','.join(units)}]"


def _event(to: str, **fields: Any) -> str:
    document = {"account_id": "acc_1", "event": "email.sent", "data": {"to": to}, **fields}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _filled(value: str) -> str:
    """Return an event whose data holds a value that is nearly as long as a message may be."""
    text = _NATIVE.replace('"to":"a"', f'"to":"a","x":{value}')
    assert len(text.encode()) <= MAX_BYTES, len(text.encode())
    return text


def _record(recipients: int, tag: str, message_id: str = "m") -> str:
    mail = {
        "timestamp": _TIME,
        "messageId": message_id,
        "destination": [f"r{number}@e.com" for number in range(recipients)],
        "tags": {"account_id": ["acc_1"], "t": [tag]},
    }
    return json.dumps({"eventType": "Send", "mail": mail, "send": {}}, separators=(",", ":"))


def _in_sns(text: str) -> str:
    return json.dumps({"Type": "Notification", "Message": text})


def _nested_envelopes() -> str:
    text = _in_sns(_NATIVE)
    while len(further := _in_sns(text)) <= MAX_BYTES:
        text = further
    return text


def _real_shard(message: int) -> str:
    data = {"to": f"{message}", "x": "\u0000" * 10_800}
    document = {"account_id": "acc_1", "event": "email.sent", "data": data}
    first, last = _IDS
    return to_message(Part(accept(document, sent_at_ms=1), Shard(first, last), 1))


def _shard(body: str) -> str:
    document = {
        "shard": _IDS,
        "account_id": "acc_1",
        "id": "a",
        "occurred_at_ms": 1,
        "arrived_at_ms": 1,
        "body": body,
    }
    return json.dumps(document)


_ROOM = MAX_BYTES - 100

WORST: dict[str, Callable[[int], str]] = {
    "empty objects in an event": lambda _: _filled("[" + "{}," * (_ROOM // 3 - 2) + "{}]"),
    "objects of one field in an event": lambda _: _filled(
        "[" + '{"a":1},' * (_ROOM // 8 - 1) + "1]"
    ),
    "arrays of arrays in an event": lambda _: _filled("[" + "[[]]," * (_ROOM // 5 - 1) + "1]"),
    "numbers in an event": lambda _: _filled("[" + "1.5," * (_ROOM // 4 - 1) + "1]"),
    "keys in an event": lambda _: _filled(
        "{" + ",".join(f'"{number:x}":1' for number in range(_ROOM // 10)) + "}"
    ),
    "escaped characters in an event": lambda _: _filled('"' + "\\u0000" * (_ROOM // 6 - 1) + '"'),
    "wide characters in an event": lambda _: _filled('"' + "\U0001f600" + "a" * (_ROOM - 10) + '"'),
    "empty objects": lambda _: _array_of("{}"),
    "numbers": lambda _: _array_of("1"),
    "texts": lambda _: _array_of('""'),
    "texts of JSON": lambda _: _array_of(json.dumps("{}")),
    "envelopes": lambda _: _array_of('{"Type":"Notification","Message":{}}'),
    "events": lambda _: _array_of(_NATIVE),
    "different events": lambda message: _numbered(lambda number: _event(f"{message}-{number}")),
    "events with ids": lambda message: _numbered(
        lambda number: _event("a", id=f"{message}-{number}")
    ),
    "events without a type": lambda _: _numbered(lambda number: f'{{"event":"{number}"}}'),
    "mail to many": lambda _: _record(70_000, "v"),
    "mail to many in one text": lambda _: _record(1, "v").replace(
        "r0@e.com", ",".join(["a@b.c"] * (_ROOM // 6 - 40))
    ),
    "mail to a hundred with a large tag": lambda message: _record(100, "v" * 60_000, f"{message}"),
    "mail to ten thousand with a large tag": lambda _: _record(10_000, "v" * 60_000),
    "records with a large tag": lambda message: _numbered(
        lambda number: _record(100, "v" * 62_000, f"{message}-{number}")
    ),
    "small records": lambda message: _numbered(
        lambda number: _record(100, "v", f"{message}-{number}")
    ),
    "records of a type that is dropped": lambda _: _array_of('{"eventType":"a","mail":{}}'),
    "envelopes in envelopes": lambda _: _nested_envelopes(),
    "a shard": _real_shard,
    "a shard of nothing": lambda _: _shard("\u0000" * 65_000),
    "a shard of numbers": lambda _: _shard("[" + "1.5," * 15_000 + "1]"),
    "a shard that is too large": lambda _: _shard("a" * (MAX_BYTES - 300)),
    "a text": lambda _: json.dumps("a" * (MAX_BYTES - 2)),
    "no JSON": lambda _: "\u00e9" * (MAX_BYTES // 2),
    "brackets": lambda _: "[" * MAX_BYTES,
}
"""Functions that create each message, by its name; several of a kind differ by their number."""
