"""JSON as a JavaScript receiver sees it: read strictly, written byte for byte as Node.js does.

The contract's receiver recomputes the signature over `JSON.stringify(JSON.parse(body))`, so the
body must consist of exactly those bytes. ECMA-262 rules where Python's `json` differs: numbers are
doubles (Number::toString), integer-like keys come first, lone surrogates are escaped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from json.encoder import encode_basestring

MAX_DEPTH = 256
"""How deep arrays and objects may nest: far past any event, and under every interpreter's limit."""

_MAX_EXACT = 2**53
"""Up to here every integer is a double, and both languages print it alike."""

_MAX_ARRAY_INDEX = 2**32 - 2
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class TooDeepError(ValueError):
    """A JSON text whose arrays and objects nest deeper than `MAX_DEPTH`."""


def parse(text: str | bytes) -> object:
    """Return the value of a JSON text as JavaScript's JSON.parse reads it; bytes must be UTF-8.

    Numbers are read as doubles: an int if the double is whole and exact, otherwise a float, and
    None past the largest double (JSON.parse gives Infinity there, which JSON.stringify writes as
    null). If a key repeats, the last value counts, at the first one's place. Raises ValueError if
    the text is not JSON (RFC 8259), or has a byte order mark or NaN; TooDeepError past `MAX_DEPTH`.
    """
    if isinstance(text, bytes):
        text = text.decode()
    try:
        value: object = _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(value)
    return value


def check_depth(value: object) -> None:
    """Raise TooDeepError if `parse` would refuse the value once it is written."""
    if _is_too_deep(value):
        raise _too_deep()


def is_longer(value: object, most_bytes: int) -> bool:
    """Whether a value certainly takes more than this many bytes once it is serialised.

    It adds up the number of parts and the lengths of texts, before memory is spent on the bytes.
    """
    least = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            least += len(item) + 2
        elif isinstance(item, dict | list):
            # A comma for each item; for each member also the quotes and the colon.
            least += len(item) if isinstance(item, list) else 4 * len(item)
            if least + len(item) > most_bytes:
                return True
            if isinstance(item, dict):
                least += sum(len(key) for key in item)
                pending.extend(item.values())
            else:
                pending.extend(item)
        else:
            least += 1
        if least > most_bytes:
            return True
    return False


def serialize(value: object) -> bytes:
    """Return the bytes of `JSON.stringify(JSON.parse(text))` in Node.js for this JSON value.

    `value` is made of dict (keys are str), list, tuple, str, int, float, bool and None, at any
    depth. Raises ValueError for NaN and infinities, TypeError for anything that is not JSON.
    """
    if _is_plain(value):
        try:
            return _to_bytes(_ENCODER.encode(value))
        except RecursionError:
            pass
    return _to_bytes("".join(_pieces(value)))


def _is_plain(value: object) -> bool:
    """Whether Python's own encoder, which is written in C, writes this value as Node.js does.

    False for some values that it would write alike; these only take the slower way.
    """
    pending = [value]
    for item in pending:
        kind = type(item)
        if kind is str or item is None or kind is bool:
            continue
        if isinstance(item, dict) and kind is dict:
            for key in item:
                if type(key) is not str or "0" <= key < ":":
                    return False
            pending.extend(item.values())
        elif isinstance(item, list) and kind is list:
            pending.extend(item)
        elif not (isinstance(item, int) and kind is int and -_MAX_EXACT <= item <= _MAX_EXACT):
            return False
    return True


def _pieces(value: object) -> list[str]:
    """Write a value piece by piece, without recursion."""
    pieces: list[str] = []
    open_containers: list[tuple[Iterator[tuple[str, object]], str]] = [(iter([("", value)]), "")]
    while open_containers:
        members, end = open_containers[-1]
        for prefix, item in members:
            pieces.append(prefix)
            if isinstance(item, dict):
                pieces.append("{")
                open_containers.append((_members(item), "}"))
                break
            if isinstance(item, list | tuple):
                pieces.append("[")
                open_containers.append((_elements(item), "]"))
                break
            pieces.append(_scalar(item))
        else:
            pieces.append(end)
            open_containers.pop()
    return pieces


def _members(mapping: dict[str, object]) -> Iterator[tuple[str, object]]:
    comma = ""
    for key in _in_javascript_order(mapping):
        yield f"{comma}{encode_basestring(key)}:", mapping[key]
        comma = ","


def _elements(sequence: list[object] | tuple[object, ...]) -> Iterator[tuple[str, object]]:
    comma = ""
    for element in sequence:
        yield comma, element
        comma = ","


def _in_javascript_order(mapping: dict[str, object]) -> list[str]:
    """Put array indices first, ascending (ECMA-262, OrdinaryOwnPropertyKeys)."""
    for key in mapping:
        if not isinstance(key, str):
            msg = f"a key of a JSON object is a string, not {type(key).__name__}"
            raise TypeError(msg)
    indices = [key for key in mapping if _is_array_index(key)]
    if not indices:
        return list(mapping)
    return sorted(indices, key=int) + [key for key in mapping if not _is_array_index(key)]


def _is_array_index(key: str) -> bool:
    return _ARRAY_INDEX.fullmatch(key) is not None and int(key) <= _MAX_ARRAY_INDEX


def _scalar(item: object) -> str:
    if isinstance(item, str):
        return encode_basestring(item)
    if item is None:
        return "null"
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, int):
        return _whole_number(item)
    if isinstance(item, float):
        return _number(item)
    msg = f"a value of type {type(item).__name__} is not JSON"
    raise TypeError(msg)


def _whole_number(value: int) -> str:
    """Write an integer as the double that JavaScript reads: null past the largest one."""
    if -_MAX_EXACT <= value <= _MAX_EXACT:
        return int.__repr__(value)
    try:
        return _number(float(value))
    except OverflowError:
        return "null"


def _number(value: float) -> str:
    """Write a double as JavaScript does (ECMA-262, Number::toString).

    Python finds the same shortest digits; the two differ only in when they switch to an exponent
    and in how they write it.
    """
    if not math.isfinite(value):
        msg = "NaN and infinities are not JSON"
        raise ValueError(msg)
    if value == 0:
        return "0"
    mantissa, _, exponent_digits = float.__repr__(value).partition("e")
    if not exponent_digits:
        return mantissa.removesuffix(".0")
    exponent = int(exponent_digits)
    sign = "-" if value < 0 else ""
    digits = mantissa.removeprefix("-").replace(".", "")
    if 0 < exponent < 21:
        return sign + digits.ljust(exponent + 1, "0")
    if -7 < exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{mantissa}e{exponent:+d}"


def _to_bytes(text: str) -> bytes:
    """Encode as UTF-8, surrogates as JavaScript has them: pairs joined, lone ones escaped."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return joined.encode("utf-8", "backslashreplace")


def _double(text: str) -> float | None:
    value = float(text)
    if value.is_integer() and -_MAX_EXACT <= value <= _MAX_EXACT:
        return int(value)
    return value if math.isfinite(value) else None


def _integer(text: str) -> float | None:
    """Read an integer; a long one as a double, to which Python's limit on digits does not apply."""
    return int(text) if len(text) < 16 else _double(text)


def _refuse_constant(name: str) -> object:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


_DECODER = json.JSONDecoder(
    parse_float=_double, parse_int=_integer, parse_constant=_refuse_constant
)


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for container in level:
            if isinstance(container, dict):
                inner.extend(container.values())
            elif isinstance(container, list):
                inner.extend(container)
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _too_deep() -> TooDeepError:
    return TooDeepError(f"arrays and objects nest deeper than {MAX_DEPTH}")
