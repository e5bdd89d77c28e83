"""Email addresses as they occur in texts: what an address is, and which ones a text mentions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby, pairwise
from urllib.parse import unquote

from webhooks.domain.cpu import NO_CPU_LIMIT, CpuLimit
from webhooks.domain.errors import InvalidInputError

MAX_ADDRESS_CHARACTERS = 254
"""The longest that a mail server takes (RFC 5321, section 4.5.3.1.3, without its brackets)."""

_MAX_DECODINGS = 3
"""As often as a link was put into another link, and no more: each time costs reading it all."""

MAX_HOST_CHARACTERS = 2048
"""More than the ASCII form of any host of an address that `parse_address` takes."""

# What an address may be made of without quotes (RFC 5322, section 3.2.3; RFC 6531 adds letters).
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~-"
_DOMAIN = re.compile(r"\w(?:[\w.-]*\w)?")
_RUNS = re.compile(rf"[@{_LOCAL}]+")
_WHOLE = re.compile(rf"[{_LOCAL}]+@{_DOMAIN.pattern}")
_AROUND = ".'`*"
_DELIMITERS = re.compile(r"[/=?&#{}|]")

_PIECES = re.compile(r"""[^\x00- "(),;<>\[\\\]\x7f]+""")
"""Texts without the ASCII characters that no address has, and that neither normalisation nor lower
case looks across: an address is in one of them. A colon is not among these, since lower case of a
final sigma looks past it."""

_DECODED_AT_ONCE = 4096
_BEHIND_ESCAPES = re.compile(r"[^\x00-\x7f]|[^%]{3}|%(?![0-9A-Fa-f]{2})")
"""A place with no percent-encoded character on both of its sides."""

_MARKS = re.compile(r"[^\w\x00-\x7f]{32,}")
"""Long runs of what may be combining marks, none of which is alphanumeric."""

_DECOMPOSED_AT_ONCE = 4096

_LONGEST_LABEL = 256
"""A label is 63 ASCII characters at most (RFC 1035, section 2.3.4), and its preparation makes at
most three letters one."""


def parse_address(text: str) -> str:
    """Return an address in the form that `addresses_in` finds it in, or raise InvalidInputError.

    A quoted local part and an address literal, which hardly anybody has, are refused.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS or not _WHOLE.fullmatch(_composed(text)):
        raise InvalidInputError("address", "Use one email address, as recipient@example.com.")
    return next(addresses_in(text))


def addresses_in(text: str, limit: CpuLimit = NO_CPU_LIMIT) -> Iterator[str]:
    """Find what may be addresses in a text: in lower case, hosts in their ASCII form.

    Of `Name <a@b.c>`, `mailto:a@b.c` and `https://d.e/f?to=a@b.c` that is a@b.c, and of the last
    one the longer texts before it too, since an address may hold these characters. `xa@b.c` is
    another address. Takes time in proportion to the text's length, whatever is in it. Raises
    CpuLimitReachedError at the limit.
    """
    for piece in _PIECES.findall(text):
        if "@" not in piece:
            continue
        for run in _RUNS.findall(_composed(piece, limit).lower()):
            for left, right in pairwise(run.split("@")):
                if not left or not right:
                    continue
                limit.check()
                hosts = [*_hosts(right)]
                for local in _locals(left[-MAX_ADDRESS_CHARACTERS:]):
                    limit.check()
                    yield from (f"{local}@{host}" for host in hosts)


def addresses_of(value: object) -> set[str]:
    """Return what may be addresses in a JSON value (see `find_addresses`)."""
    return set(find_addresses(value))


def find_addresses(value: object, limit: CpuLimit = NO_CPU_LIMIT) -> Iterator[str]:
    """Find what may be addresses in a JSON value: in each of its strings and its objects' keys.

    Percent-encoded ones count, as in the link of a click, wholly or in part (`anna%2Bnews@...`),
    and in a link that is itself a parameter of another's. An address may be found more than once.
    Raises CpuLimitReachedError at the limit.
    """
    for text in _strings(value):
        for piece in _PIECES.findall(text):
            if "@" not in piece and "%" not in piece:
                continue
            limit.check()
            for reading in _readings(piece, limit):
                if "@" in reading:
                    yield from addresses_in(reading, limit)


def _readings(text: str, limit: CpuLimit) -> Iterator[str]:
    """Return a text as it is, and decoded once, twice and so on while that changes it."""
    yield text
    for _ in range(_MAX_DECODINGS):
        if "%" not in text:
            return
        decoded = "".join(map(unquote, _windows(text, limit)))
        if decoded == text:
            return
        text = decoded
        yield text


def _windows(text: str, limit: CpuLimit) -> Iterator[str]:
    """Divide a text where no percent-encoded character is divided."""
    start = 0
    while True:
        limit.check()
        cut = _BEHIND_ESCAPES.search(text, start + _DECODED_AT_ONCE)
        if cut is None:
            yield text[start:]
            return
        yield text[start : cut.end()]
        start = cut.end()


def _composed(text: str, limit: CpuLimit = NO_CPU_LIMIT) -> str:
    """Return a text in Unicode's form NFC.

    Normalisation sorts each run of combining marks by insertion: the time for a long one grows
    with the square of its length, unless it is sorted already.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MARKS.sub(partial(_sorted_marks, limit=limit), text))


def _sorted_marks(match: re.Match[str], limit: CpuLimit) -> str:
    """Return a run of marks decomposed, and in the order in which Unicode has them."""
    decomposed: list[str] = []
    for start in range(match.start(), match.end(), _DECOMPOSED_AT_ONCE):
        limit.check()
        marks = match.string[start : min(start + _DECOMPOSED_AT_ONCE, match.end())]
        decomposed += [each for mark in marks for each in unicodedata.normalize("NFD", mark)]
    limit.check()
    runs = groupby(decomposed, key=lambda each: unicodedata.combining(each) > 0)
    return "".join(
        "".join(sorted(run, key=unicodedata.combining) if combining else run)
        for combining, run in runs
    )


def _locals(left: str) -> Iterator[str]:
    """Return what may be the local part at the end of a run of its characters, the whole first."""
    starts = [0, len(left) - len(left.lstrip(_AROUND))]
    starts += [match.end() for match in _DELIMITERS.finditer(left)]
    starts += _changes_of_script(left)[-1:]
    yield from filter(None, (left[start:] for start in dict.fromkeys(starts)))


def _hosts(right: str) -> Iterator[str]:
    """Return what may be the host at the beginning of a run, the whole first.

    One that is longer than any host of an address is none.
    """
    match = _DOMAIN.match(right)
    if match is None:
        return
    begin = match[0][:MAX_HOST_CHARACTERS]
    ends = [len(match[0]), *(end - 1 for end in _changes_of_script(begin)[:1])]
    for end in dict.fromkeys(ends):
        host = begin[:end].rstrip(".-") if end <= len(begin) else ""
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
    labels = host.split(".")
    if host.isascii() or max(map(len, labels)) > _LONGEST_LABEL:
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
