"""The oddest events that a producer may publish, by name: the bytes of their deliveries.

Each has one odd value in its data. They go through the product's own intake, and are therefore a
receiver's real input.
"""

from __future__ import annotations

import json
from functools import cache

from webhooks.domain import event

_NOW_MS = 1_766_312_000_000
_HERE = "the odd one goes here"


def _nested(levels: int, opening: str, closing: str) -> str:
    return opening * levels + "1" + closing * levels


_VALUES: dict[str, str] = {
    # texts
    "an empty text": '""',
    "a text with spaces around it": '"  Hello  "',
    "a text of spaces": '"   "',
    "tabs and line ends around a text": r'"\t\r\nHello\n"',
    "accents": '"Grüße aus Zürich"',
    "letters and their marks apart": r'"Cafe\u0301 n\u0303"',
    "many scripts": '"東京 مرحبا שלום Ελλάδα Привет ไทย"',
    "emoji": r'"\ud83d\ude00 👩‍👩‍👧 \ud83c\uddeb\ud83c\uddf7"',
    "half an emoji": r'"a\ud83db"',
    "the other half": r'"a\ude00b"',
    "halves in the wrong order": r'"\ude00\ud83d"',
    "the last code point": '"\U0010ffff"',
    "no characters": r'"\ufffe\uffff\ufdd0"',
    "a byte order mark": r'"\ufeffHello"',
    "invisible characters": r'"a\u200bb\u200dc\u00add\u2060e"',
    "right to left and back": r'"\u202eevil\u202c"',
    "line and paragraph separators": r'"a\u2028b\u2029c"',
    "control characters": r'"\u0000\u0001\u001b[31m\u001f\u007f\u0080\u0085"',
    "escapes that JSON has": r'"\"\\\/\b\f\n\r\t"',
    "a backslash before a quote": r'"C:\\\\\"dir\\"',
    "HTML": "\"<b>50 %</b> & more, 'now' </script><!--\"",
    "SQL": "\"O'Reilly'; DROP TABLE mails; --\"",
    "a template": '"{{name}} ${name} <%= name %> %s %(name)s"',
    "JSON in a text": r'"{\"a\":[1,null]}"',
    "a number in a text": '"00123.0"',
    "a truth in a text": '"true"',
    "null in a text": '"null"',
    "a date": '"2025-12-21T10:30:00.000Z"',
    "a date with an offset": '"2025-12-21T10:30:00.123456789+02:00"',
    "a data url": '"data:text/plain;base64,SGVsbG8="',
    "percent signs and plus": '"100%25 + 5%zz ?a=b&c=d#e"',
    "a word about prototypes": '"about __proto__ and constructor.prototype"',
    "a long text": json.dumps("x" * 60_000),
    "a long text of many bytes": json.dumps("é" * 30_000, ensure_ascii=False),
    # numbers and the like
    "whole numbers with a point": "[1.0, 100.00, -5.0]",
    "minus nothing": "[-0, -0.0, 0.0]",
    "small numbers": "[1e-7, 0.0000001, 5e-324, 0.1]",
    "large numbers": "[1e20, 1e21, 123456789012345680000, 1.7976931348623157e308]",
    "numbers past a double's": "[9007199254740993, 12345678901234567890, 1e400]",
    "digits past a double's": "[12345.678901234567890123, 0.30000000000000004]",
    "null": "null",
    "truths": "[true, false]",
    # keys
    "no members": "{}",
    "no elements": "[]",
    "an empty key": '{"": "x"}',
    "keys that are numbers": '{"10": "ten", "2": "two", "b": "x", "1": "one", "01": "no number"}',
    "keys past an index": '{"4294967295": "a", "4294967294": "b", "-1": "c", "1.5": "d"}',
    "the key __proto__": '{"__proto__": "x", "a": 1}',
    "an object under __proto__": '{"a": {"__proto__": {"admin": true}}}',
    "the key constructor": '{"constructor": "Lego"}',
    "a prototype under constructor": '{"constructor": {"prototype": {"admin": true}}}',
    "the key prototype": '{"prototype": "x"}',
    "names of methods": '{"toString": "x", "valueOf": 1, "hasOwnProperty": null, "length": 3}',
    "names that engines look for": '{"toJSON": "x", "then": "y", "default": 1, "__esModule": true}',
    "keys with dollars and dots": '{"$where": "x", "a.b": "y", "a[0]": "z", "$": 1}',
    "keys in other scripts": '{"naïve 名": 1, "é": 2, "e\\u0301": 3, "\\ud83d": 4}',
    "keys with spaces and quotes": r'{" a ": 1, "b\"c": 2, "d\\e": 3, "f\u0000g": 4, "\n": 5}',
    "keys that differ in case": '{"Subject": "A", "subject": "b", "SUBJECT": "C"}',
    "a key twice": '{"a": 1, "b": 2, "a": 3}',
    # sizes and shapes
    "two thousand members": json.dumps({f"k{number}": number for number in range(2000)}),
    "fifteen hundred elements": json.dumps(list(range(1500))),
    "a hundred objects deep": _nested(100, '{"a":', "}"),
    "two hundred and fifty objects deep": _nested(250, '{"a":', "}"),
    "two hundred and fifty lists deep": _nested(250, "[", "]"),
    "a list of everything": r'[null, true, 1, "é", {}, [], {"a": [{"b": "\u2028"}]}]',
}


@cache
def odd_events() -> dict[str, bytes]:
    """Return the bodies, one of them as large as a body may be."""
    bodies = {name: _body(value) for name, value in _VALUES.items()}
    room = event.MAX_BODY_BYTES - len(_body('""'))
    bodies["the largest there can be"] = _body(json.dumps("x" * room))
    assert len(bodies["the largest there can be"]) == event.MAX_BODY_BYTES
    return bodies


def ordinary_event() -> bytes:
    """Return the body of an ordinary event."""
    return _body('["welcome", "trial"]')


def _body(value: str) -> bytes:
    document = {
        "account_id": "acme",
        "event": "email.delivered",
        "transaction_id": "txn_mjgc0ejr_3ca715bfb7a0",
        "timestamp": "2025-12-21T10:30:00Z",
        "data": {"to": "recipient@example.com", "subject": "Welcome", "value": _HERE},
    }
    text = json.dumps(document).replace(json.dumps(_HERE), value)
    return event.accept(event.read_json(text), sent_at_ms=_NOW_MS).body
