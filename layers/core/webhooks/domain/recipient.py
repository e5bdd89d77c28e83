"""Email addresses in texts: the format of an address, and the search for those in a text."""

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
"""The longest address that mail servers accept (RFC 5321, 4.5.3.1.3, without its brackets)."""

_MAX_DECODINGS = 3
"""How many times a link nested in other links is decoded. Each decoding reads the whole text."""

MAX_HOST_CHARACTERS = 2048
"""More than the ASCII form of any host that `parse_address` accepts."""

# Characters allowed without quotes (RFC 5322, section 3.2.3; RFC 6531 adds letters).
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~-"
_DOMAIN = re.compile(r"\w(?:[\w.-]*\w)?")
_RUNS = re.compile(rf"[@{_LOCAL}]+")
_WHOLE = re.compile(rf"[{_LOCAL}]+@{_DOMAIN.pattern}")
_AROUND = ".'`*"
_DELIMITERS = re.compile(r"[/=?&#{}|]")

_PIECES = re.compile(r"""[^\x00- "(),;<>\[\\\]\x7f]+""")
"""Texts without the ASCII characters that no address has, across which neither normalisation nor
lower case has an effect: each address is in one of them. A colon is not among these characters,
because the lower case of a final sigma depends on the text after it."""

_DECODED_AT_ONCE = 4096
_BEHIND_ESCAPES = re.compile(r"[^\x00-\x7f]|[^%]{3}|%(?![0-9A-Fa-f]{2})")
"""A place with no percent-encoded character on both of its sides."""

_MARKS = re.compile(r"[^\w\x00-\x7f]{32,}")
"""Long runs of characters that may be combining marks, none of which is alphanumeric."""

_DECOMPOSED_AT_ONCE = 4096

_LONGEST_LABEL = 256
"""A label is at most 63 ASCII characters (RFC 1035, section 2.3.4), and IDNA preparation makes one
letter out of three at most."""


def parse_address(text: str) -> str:
    """Return an address in the form that `addresses_in` yields, or raise InvalidInputError.

    Quoted local parts and address literals, which are very rare, are refused.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS or not _WHOLE.fullmatch(_composed(text)):
        raise InvalidInputError("address", "Use one email address, such as recipient@example.com.")
    return next(addresses_in(text))


def addresses_in(text: str, limit: CpuLimit = NO_CPU_LIMIT) -> Iterator[str]:
    """Yield possible addresses in a text: in lower case, hosts in their ASCII form.

    `Name <a@b.c>`, `mailto:a@b.c` and `https://d.e/f?to=a@b.c` all yield a@b.c. The last one also
    yields the longer texts before it, since an address may contain these characters. `xa@b.c` is
    another address. The time is proportional to the text's length for any content. Raises
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
    """Return the possible addresses in a JSON value (see `find_addresses`)."""
    return set(find_addresses(value))


def find_addresses(value: object, limit: CpuLimit = NO_CPU_LIMIT) -> Iterator[str]:
    """Yield possible addresses in a JSON value: in each of its strings and its objects' keys.

    Percent-encoded addresses count, wholly or partly encoded (`anna%2Bnews@...`), as in a click's
    link, and also in a link that is a parameter of another link. An address may be yielded more
    than once. Raises CpuLimitReachedError at the limit.
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
    """Yield a text as it is, then decoded once, twice and so on while decoding changes it."""
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
    """Divide a text into windows, never inside a percent-encoded character."""
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

    Python's normalisation sorts each run of combining marks by insertion. The time for a long run
    grows with the square of its length, unless the run is already sorted; therefore runs are sorted
    first.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MARKS.sub(partial(_sorted_marks, limit=limit), text))


def _sorted_marks(match: re.Match[str], limit: CpuLimit) -> str:
    """Return a run of marks decomposed and in Unicode's canonical order."""
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
    """Yield possible local parts at the end of a run of such characters, the whole run first."""
    starts = [0, len(left) - len(left.lstrip(_AROUND))]
    starts += [match.end() for match in _DELIMITERS.finditer(left)]
    starts += _changes_of_script(left)[-1:]
    yield from filter(None, (left[start:] for start in dict.fromkeys(starts)))


def _hosts(right: str) -> Iterator[str]:
    """Yield possible hosts at the beginning of a run, the whole run first.

    A host longer than that of any address is left out.
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
    """Return the places after letters of scripts that put no space between words and an address.

    Chinese and Japanese, for instance: their letters have no upper and lower case.
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
