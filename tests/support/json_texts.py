"""JSON texts by the million, from a seed: numbers at every edge, odd keys, escapes, faults."""

from __future__ import annotations

import random
import re
import struct

KEY_WITH_A_BACKSLASH = re.compile(r'"(?:[^"\\]|\\.)*?\\(?:\\|u005[cC])(?:[^"\\]|\\.)*"\s*:')
r"""V8 takes a key with an escape for the last key that it saw, in this text or in one before, if
that key begins with the same spelling: after {"a\\":0}, {"a ":0} has the key of the first, a
backslash behind its a. Therefore no key in a question to V8 holds a backslash."""

_LITERALS = ("true", "false", "null", '""', "[]", "{}")
_EDGES = (
    *(2**53, 2**53 - 1, 2**53 + 1, 2**63, 2**64, 10**21, 10**21 - 1, 10**400),
    *(0.0, 1e-6, 1e-7, 1.5e-7, 5e-324, 1.7976931348623157e308, 123456789.125, 1e15, 1e16, 1e22),
)
_PIECES = (
    *("a", "to", "x y", "é", "ß", "漢字", "\u2028", "\u2029", "\x7f", "\ufeff", "\ufffe", "😀"),
    *("\\n", "\\t", '\\"', "\\\\", "\\/", "\\b", "\\u0000", "\\u001F", "\\u00e9", "\\u2028"),
    *("\\ud83d", "\\ude00", "\\ud83d\\ude00", "\\uD83D\\uDE00", "\\udfff", "\\u0061"),
)
_KEYS = ("0", "1", "01", "9", "10", "-1", "1.5", "4294967294", "4294967295", "__proto__", "toJSON")
_SPACES = ("", "", "", " ", "\n", "\t\r ")
_NOISE = (*'{}[]",:0123456789.-+eE\\utrfn ', "\x00", "\x1f", "\ufeff", "NaN", "é")


class JsonTexts:
    """A source of JSON texts, the same for the same seed; about one in eight is broken somewhere.

    None nests deeper than a few levels, so that only the rules of the text decide.
    """

    def __init__(self, seed: int) -> None:
        """Begin at `seed`."""
        self._chance = random.Random(seed)  # noqa: S311  (a test's cases)

    def one(self) -> str:
        """Return the next text."""
        text = self._value(4)
        return text if self._chance.random() > 0.125 else self._broken(text)

    def _value(self, depth: int) -> str:
        kind = self._chance.random()
        if depth == 0 or kind < 0.55:
            return self._scalar()
        count = self._chance.randrange(5)
        space = self._chance.choice(_SPACES)
        if kind < 0.72:
            return f"[{space}{f',{space}'.join(self._value(depth - 1) for _ in range(count))}]"
        members = (f"{self._key()}{space}:{space}{self._value(depth - 1)}" for _ in range(count))
        return f"{{{space}{f',{space}'.join(members)}}}"

    def _scalar(self) -> str:
        kind = self._chance.random()
        if kind < 0.5:
            return self._number()
        if kind < 0.9:
            return self._string()
        return self._chance.choice(_LITERALS)

    def _number(self) -> str:
        chance = self._chance
        kind = chance.randrange(6)
        if kind == 0:
            return str(chance.choice(_EDGES))
        if kind == 1:
            return str(chance.getrandbits(chance.randrange(1, 200)) * chance.choice((1, -1)))
        if kind == 2:
            double: float = struct.unpack("<d", chance.randbytes(8))[0]
            return repr(double) if abs(double) < 1e308 else "-0"
        if kind == 3:
            return f"{chance.uniform(-10, 10):.{chance.randrange(18)}f}"
        exponent = f"{chance.choice('eE')}{chance.choice(('', '+', '-'))}{chance.randrange(330)}"
        return f"{chance.randrange(1000)}.{chance.randrange(10**6)}{exponent}"

    def _string(self) -> str:
        pieces = self._chance.choices(_PIECES, k=self._chance.randrange(6))
        return f'"{"".join(pieces)}"'

    def _key(self) -> str:
        kind = self._chance.random()
        if kind < 0.3:
            return f'"{self._chance.choice(_KEYS)}"'
        if kind < 0.5:
            return f'"{self._chance.randrange(10**6)}"'
        key = self._string()
        return '"k"' if KEY_WITH_A_BACKSLASH.match(f"{key}:") else key

    def _broken(self, text: str) -> str:
        at = self._chance.randrange(len(text) + 1)
        end = at + self._chance.randrange(2)
        broken = text[:at] + self._chance.choice(("", *_NOISE)) + text[end:]
        return text if KEY_WITH_A_BACKSLASH.search(broken) else broken
