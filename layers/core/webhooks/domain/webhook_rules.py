"""The rules that the values of a webhook keep (contract 2.2), but for its headers (`headers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from webhooks.domain.errors import InvalidInputError
from webhooks.domain.event import EventType

ALL_EVENTS = "*"
"""The subscription to every type, those to come included."""

MIN_SECRET_LENGTH = 16
MAX_SECRET_LENGTH = 256
MAX_DESCRIPTION_LENGTH = 256

CheckUrl = Callable[[str], object]
"""Raises InvalidTargetError for a url that no webhook may have."""


def url_problems(url: str, check_url: CheckUrl) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a url, going by the rule that is handed in."""
    try:
        check_url(url)
    except InvalidInputError as error:
        yield error


def event_problems(events: Sequence[str]) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a subscription: known types without repeats, or `*` alone."""
    if not events:
        yield InvalidInputError("events", 'Name at least one event type, or ["*"] for all of them.')
    seen: set[str] = set()
    for index, event_type in enumerate(events):
        if event_type in seen:
            yield InvalidInputError(f"events[{index}]", "Name each event type only once.")
        elif event_type == ALL_EVENTS:
            if len(events) > 1:
                yield InvalidInputError(
                    f"events[{index}]", 'Use "*" alone: it stands for every type.'
                )
        elif event_type not in _KNOWN_EVENT_TYPES:
            yield InvalidInputError(f"events[{index}]", f"Use one of {_EVENT_TYPE_LIST}.")
        seen.add(event_type)


def secret_problems(secret: str) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a secret that a customer brought along."""
    if not MIN_SECRET_LENGTH <= len(secret) <= MAX_SECRET_LENGTH:
        yield InvalidInputError(
            "secret",
            f"Use {MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} characters, or leave the secret out "
            "to have one generated.",
        )
    elif not secret.isprintable():
        yield InvalidInputError("secret", "Use printable characters only.")


def text_problems(field: str, text: str, max_length: int) -> Iterator[InvalidInputError]:
    """Yield what is wrong with a plain text: one printable line of so many characters at most."""
    if len(text) > max_length:
        yield InvalidInputError(field, f"Use at most {max_length} characters.")
    elif not text.isprintable():
        yield InvalidInputError(field, "Use printable characters only, on one line.")


_KNOWN_EVENT_TYPES = frozenset(EventType)
_EVENT_TYPE_LIST = ", ".join(EventType)
