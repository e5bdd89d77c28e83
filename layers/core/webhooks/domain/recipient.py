"""Email addresses as they occur in texts: what an address is, and which ones a text mentions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from urllib.parse import unquote

from webhooks.domain.errors import InvalidInputError

MAX_ADDRESS_CHARACTERS = 254
"""The longest that a mail server takes (RFC 5321, section 4.5.3.1.3, without its brackets)."""

_MAX_DECODINGS = 3
"""As often as a link was put into another link, and no more: each time costs reading it all."""

# What an address may be made of without quotes (RFC 5322, section 3.2.3; RFC 6531 adds letters).
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~-"
_DOMAIN = re.compile(r"\w(?:[\w.-]*\w)?")
_RUNS = re.compile(rf"[@{_LOCAL}]+")
_WHOLE = re.compile(rf"[{_LOCAL}]+@{_DOMAIN.pattern}")
_AROUND = ".'`*"
_DELIMITERS = re.compile(r"[/=?&#{}|]")


def parse_address(text: str) -> str:
    """Return an address in the form that `addresses_in` finds it in, or raise InvalidInputError.

    A quoted local part and an address literal, which hardly anybody has, are refused.
    """
    whole = _WHOLE.fullmatch(unicodedata.normalize("NFC", text))
    if whole is None or len(text) > MAX_ADDRESS_CHARACTERS:
        raise InvalidInputError("address", "Use one email address, as recipient@example.com.")
    return next(addresses_in(text))


def addresses_in(text: str) -> Iterator[str]:
    """Find what may be addresses in a text: in lower case, hosts in their ASCII form.

    Of `Name <a@b.c>`, `mailto:a@b.c` and `https://d.e/f?to=a@b.c` that is a@b.c, and of the last
    one the longer texts before it too, since an address may hold these characters. `xa@b.c` is
    another address. Takes time in proportion to the text's length.
    """
    for run in _RUNS.findall(unicodedata.normalize("NFC", text).lower()):
        for left, right in pairwise(run.split("@")):
            hosts = [*_hosts(right)]
            for local in _locals(left[-MAX_ADDRESS_CHARACTERS:]):
                yield from (f"{local}@{host}" for host in hosts)


def addresses_of(value: object) -> set[str]:
    """Return what may be addresses in a JSON value: in each of its strings and its objects' keys.

    Percent-encoded ones count, as in the link of a click, wholly or in part (`anna%2Bnews@...`),
    and in a link that is itself a parameter of another's.
    """
    found: set[str] = set()
    for text in _strings(value):
        for reading in _readings(text):
            if "@" in reading:
                found.update(addresses_in(reading))
    return found


def _readings(text: str) -> Iterator[str]:
    """Return a text as it is, and decoded once, twice and so on while that changes it."""
    yield text
    for _ in range(_MAX_DECODINGS):
        decoded = unquote(text) if "%" in text else text
        if decoded == text:
            return
        text = decoded
        yield text


def _locals(left: str) -> Iterator[str]:
    """Return what may be the local part at the end of a run of its characters, the whole first."""
    starts = [0, len(left) - len(left.lstrip(_AROUND))]
    starts += [match.end() for match in _DELIMITERS.finditer(left)]
    starts += _changes_of_script(left)[-1:]
    yield from filter(None, (left[start:] for start in dict.fromkeys(starts)))


def _hosts(right: str) -> Iterator[str]:
    """Return what may be the host at the beginning of a run, the whole first."""
    match = _DOMAIN.match(right)
    if match is None:
        return
    ends = [len(match[0]), *(end - 1 for end in _changes_of_script(match[0])[:1])]
    for end in dict.fromkeys(ends):
        host = match[0][:end].rstrip(".-")
        if host:
            yield _ascii(host)


def _changes_of_script(text: str) -> list[int]:
    """Return the places behind letters of scripts that put no space between words and an address.

    Those of Chinese and Japanese, for instance, which know no upper and lower case.
    """
    if text.isascii():
        return []
    return [place for place, each in enumerate(text, start=1) if unicodedata.category(each) == "Lo"]


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _strings(value: object) -> Iterator[str]:
    pending: list[Iterable[object]] = [[value]]
    while pending:
        for item in pending.pop():
            if isinstance(item, str):
                yield item
            elif isinstance(item, dict):
                pending += (item.keys(), item.values())
            elif isinstance(item, list):
                pending.append(item)
