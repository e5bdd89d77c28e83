"""A customer's own headers for a webhook's deliveries: their rules, and how they are sent.

Their values may be a receiver's credentials: they are sent, and neither shown nor logged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from webhooks.domain.errors import InvalidInputError
from webhooks.domain.reserved_headers import is_reserved

MAX_HEADERS = 20
MAX_HEADER_NAME_LENGTH = 128
MAX_HEADER_VALUE_LENGTH = 1024
MAX_HEADERS_LENGTH = 8192
"""Names and values together: servers refuse requests with much more than this."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token (RFC 9110, section 5.6.2)."""

_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def header_problems(headers: Mapping[str, str]) -> Iterator[InvalidInputError]:
    """Yield the problems of a webhook's headers; no problem's text repeats a value."""
    if len(headers) > MAX_HEADERS:
        yield InvalidInputError("headers", f"Give at most {MAX_HEADERS} headers.")
        return
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_LENGTH:
        yield InvalidInputError(
            "headers", f"Use at most {MAX_HEADERS_LENGTH:,} characters for all headers together."
        )
    seen: set[str] = set()
    for name, value in headers.items():
        message = _problem(name, value)
        if message is None and name.lower() in seen:
            message = "Name each header only once: upper and lower case are the same."
        if message is not None:
            yield InvalidInputError(f"headers.{name}", message)
        seen.add(name.lower())


def merged(custom: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return a delivery's headers plus a customer's; ours always win.

    Headers that break a rule are left out: a record may be older than the rule, or edited by hand,
    and a delivery must not fail for it.
    """
    taken = {name.lower() for name in ours}
    added = {
        name: value
        for name, value in custom.items()
        if name.lower() not in taken and _problem(name, value) is None
    }
    return {**added, **ours}


def _problem(name: str, value: str) -> str | None:
    if not _NAME.fullmatch(name) or len(name) > MAX_HEADER_NAME_LENGTH:
        return (
            f"Use a name of at most {MAX_HEADER_NAME_LENGTH} letters, digits, hyphens and "
            "underscores."
        )
    if is_reserved(name):
        return "Use another name: this header is reserved."
    if len(value) > MAX_HEADER_VALUE_LENGTH:
        return f"Use a value of at most {MAX_HEADER_VALUE_LENGTH:,} characters."
    if not _VALUE.fullmatch(value):
        return "Use visible ASCII characters, with spaces only between them, and at least one."
    return None
