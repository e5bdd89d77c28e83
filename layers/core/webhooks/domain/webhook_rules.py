"""The rules for the values of a webhook (contract 2.2), except for its headers (see `headers`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from webhooks.domain.errors import InvalidInputError
from webhooks.domain.event import EventType
from webhooks.domain.ids import is_uuid
from webhooks.domain.texts import is_line

ALL_EVENTS = "*"
"""The subscription to every type of mail, future ones included; other types are named."""

MIN_SECRET_LENGTH = 16
MAX_SECRET_LENGTH = 256
MAX_DESCRIPTION_LENGTH = 256
MAX_EXTERNAL_ID_LENGTH = 128
MAX_METADATA_PAIRS = 20
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 256
MAX_METADATA_BYTES = 4096
"""Limit for all keys and values of a webhook together, in UTF-8."""

_EXTERNAL_ID = re.compile(r"(?=.*[0-9A-Za-z])[0-9A-Za-z_.:@-]+")
"""At least one letter or digit, so that none is `.` or `..`, which clients remove from a path."""

NO_LINE = "Use one line of text, without control characters or overrides of its direction."

CheckUrl = Callable[[str], object]
"""Raises InvalidTargetError for a url that no webhook may have."""


def url_problems(url: str, check_url: CheckUrl) -> Iterator[InvalidInputError]:
    """Yield the problems of a url, as the given rule finds them."""
    try:
        check_url(url)
    except InvalidInputError as error:
        yield error


def event_problems(events: Sequence[str]) -> Iterator[InvalidInputError]:
    """Yield the problems of a subscription: known types without repeats, or `*` alone."""
    if not events:
        yield InvalidInputError("events", 'Name at least one event type, or ["*"] for all of mail.')
    seen: set[str] = set()
    for index, event_type in enumerate(events):
        if event_type in seen:
            yield InvalidInputError(f"events[{index}]", "Name each event type only once.")
        elif event_type == ALL_EVENTS:
            if len(events) > 1:
                yield InvalidInputError(
                    f"events[{index}]", 'Use "*" alone: it stands for every type of mail.'
                )
        elif event_type not in _KNOWN_EVENT_TYPES:
            yield InvalidInputError(f"events[{index}]", f"Use one of {_EVENT_TYPE_LIST}.")
        seen.add(event_type)


def secret_problems(secret: str) -> Iterator[InvalidInputError]:
    """Yield the problems of a secret that a customer chose."""
    if not MIN_SECRET_LENGTH <= len(secret) <= MAX_SECRET_LENGTH:
        yield InvalidInputError(
            "secret",
            f"Use {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} characters, or leave the secret out "
            "to have one generated.",
        )
    elif not secret.isprintable():
        yield InvalidInputError("secret", "Use printable characters only.")


def text_problems(field: str, text: str, max_length: int) -> Iterator[InvalidInputError]:
    """Yield the problems of a text, which must be one line of at most `max_length` characters."""
    if len(text) > max_length:
        yield InvalidInputError(field, f"Use at most {max_length} characters.")
    elif not is_line(text):
        yield InvalidInputError(field, NO_LINE)


def external_id_problems(external_id: str) -> Iterator[InvalidInputError]:
    """Yield the problems of an owner's own id; it must not be a UUID, as our ids are."""
    if len(external_id) > MAX_EXTERNAL_ID_LENGTH or not _EXTERNAL_ID.fullmatch(external_id):
        yield InvalidInputError(
            "external_id",
            f"Use 1 to {MAX_EXTERNAL_ID_LENGTH} letters, digits and the characters - _ . : @, with "
            "at least one letter or digit.",
        )
    elif is_uuid(external_id.lower()):
        yield InvalidInputError(
            "external_id", "Use an id that is not a UUID: the API's own ids have that form."
        )


def metadata_problems(metadata: Mapping[str, str]) -> Iterator[InvalidInputError]:
    """Yield the problems of a webhook's metadata; no problem's text repeats a value."""
    if len(metadata) > MAX_METADATA_PAIRS:
        yield InvalidInputError("metadata", f"Give at most {MAX_METADATA_PAIRS} pairs.")
        return
    for key, value in metadata.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY_LENGTH:
            message = f"Use a key of 1 to {MAX_METADATA_KEY_LENGTH} characters."
        elif len(value) > MAX_METADATA_VALUE_LENGTH:
            message = f"Use a value of at most {MAX_METADATA_VALUE_LENGTH} characters."
        elif not (is_line(key) and is_line(value)):
            message = NO_LINE
        else:
            continue
        yield InvalidInputError(f"metadata.{key}", message)
    # Half a surrogate pair, which is refused above, has no UTF-8.
    size = sum(len(text.encode(errors="replace")) for pair in metadata.items() for text in pair)
    if size > MAX_METADATA_BYTES:
        yield InvalidInputError(
            "metadata",
            f"Use at most {MAX_METADATA_BYTES:,} bytes (UTF-8) for all keys and values together.",
        )


_KNOWN_EVENT_TYPES = frozenset(EventType)
_EVENT_TYPE_LIST = ", ".join(EventType)
