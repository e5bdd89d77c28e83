"""Reads any queue message: events, parts of a wide event, or records of SES."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from webhooks.domain import ses
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import MAX_BODY_BYTES, Event, accept, not_json
from webhooks.domain.filing import MAX_AHEAD_MS, filed
from webhooks.domain.payload import parse
from webhooks.domain.ses_record import MAX_RECIPIENTS
from webhooks.domain.shard import Part, is_part, read_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_MESSAGE_BYTES = MAX_RECIPIENTS * MAX_BODY_BYTES
"""Limit for the bodies of all events of a message: as much as its largest single record may have.

A batch is ten messages, whose events are in memory together.
"""

MOST_GROWTH = 8
"""A JSON text of n characters becomes a body of fewer than n times so many bytes: 4 bytes a
character, 6 for an escape, and 21 digits for `1e20`; and the few bytes that are filled in."""

MIN_COUNTED_BYTES = 4096
"""The smallest size that an event counts as towards `MAX_MESSAGE_BYTES`: the memory for it and its
first delivery, without the body. Therefore a message is at most 1,600 events. A message of our own
parts is limited by its size alone, 2,800 at most: their bodies are no more than the message."""

MAX_REFUSALS = 10
"""Documents of an array that are rejected one by one. Each rejection is a request; a message has
room for so many that the rest of its batch would wait for them until the invocation ends."""


class Refusal(NamedTuple):
    """The reason why a message, or one of its documents, can never be processed.

    `body` is that document as a message of its own, None for the message as it came.
    """

    error: InvalidEventError
    body: str | None = None


class ParsedMessage(NamedTuple):
    """The content of a message: its events, or the types of SES records that are only counted.

    With `parts` each event is for some of its account's webhooks only, as its part says. An array
    may yield events, ignored types and `refusals`: each document that can never be processed, or
    one refusal of the whole message if there are many. `places` are the events' indexes in the
    array.
    """

    events: tuple[Event, ...] = ()
    ignored_types: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    places: tuple[int, ...] = ()

    @property
    def ignored_type(self) -> str | None:
        """The first of the ignored types."""
        return self.ignored_types[0] if self.ignored_types else None


class RejectedMessage(NamedTuple):
    """A queue message for the events dead-letter queue, with its reason.

    It keeps its group and its first arrival, so that a redrive makes the same event from it.
    """

    message_id: str
    body: str
    reason: str
    detail: str
    group: str | None = None
    arrived_at_ms: int | None = None


class _Found:
    """The events, ignored types and refusals found so far in a message."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted_bytes = 0
        self._refused = 0
        self._room = 0
        self.events: list[Event] = []
        self.places: list[int] = []
        self.ignored_types: list[str] = []
        self.refusals: list[Refusal] = []

    def check_room(self, counted_bytes: int = MIN_COUNTED_BYTES) -> None:
        """Raise InvalidEventError unless there is room for so many bytes; by default, one event."""
        if self._counted_bytes + counted_bytes > MAX_MESSAGE_BYTES:
            message = (
                f"becomes events of over {MAX_MESSAGE_BYTES} bytes in all, each counted as at "
                f"least {MIN_COUNTED_BYTES}; publish its parts in several messages"
            )
            raise InvalidEventError("too_many_bytes", "body", message)

    def take(self, place: int, made: Sequence[Event]) -> None:
        """Add a document's events; InvalidEventError if they are too much for one message."""
        counted = sum(max(len(event.body), MIN_COUNTED_BYTES) for event in made)
        self.check_room(counted)
        self._counted_bytes += counted
        self.events += made
        self.places += [place] * len(made)

    def refuse(self, document: object, error: InvalidEventError) -> None:
        """Add a refusal with its document; if there are many, keep the first for all."""
        self._refused += 1
        if self._room < 0:
            return
        # A new error: the caught one's traceback keeps the whole parse in memory.
        error = InvalidEventError(error.reason, error.field, error.message)
        if self._refused == 1:
            self._room = len(self._text.encode(errors="surrogatepass"))
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        self._room -= len(body.encode(errors="surrogatepass"))
        self.refusals.append(Refusal(error, body))
        if self._refused > MAX_REFUSALS or self._room < 0:
            # The second condition is SQS's limit: a number may be written longer than it came.
            self._room = -1
            self.refusals = [Refusal(self.refusals[0].error)]

    def message(self, parts: Sequence[Part] = ()) -> ParsedMessage:
        """Return everything found, in order."""
        return ParsedMessage(
            tuple(self.events),
            tuple(self.ignored_types),
            tuple(parts),
            tuple(self.refusals),
            tuple(self.places),
        )

    def is_surely_wrong(self, document: object) -> bool:
        """Whether a document is of no known kind, and its refusal need not be kept.

        An array with hundreds of thousands of them must not use up the time of its batch.
        """
        if self._room >= 0 or isinstance(document, str):
            return False
        return not isinstance(document, dict) or _KINDS.isdisjoint(document)


_KINDS = ses.DISCRIMINATORS | {"event", "Type"}
_TOPIC_VALIDATION = ParsedMessage(ignored_types=("topic_validation",))


def read_message(
    text: str,
    *,
    sent_at_ms: int,
    ses_accounts: ses.AccountChooser,
    account_id: str | None = None,
    ses_headers: Sequence[str] = (),
    first_times: Mapping[int, int] | None = None,
) -> ParsedMessage:
    """Read a message: an event (contract 2.4), an SES record, or an array of these.

    Each may be bare or in SNS's envelope. Parts of an event, which dispatchers send to each other,
    are bare, one or an array, with the account inside.

    `sent_at_ms` is when SQS took the message, in Unix milliseconds. `account_id`, if given, is the
    account of the API key that published it, and the message may name no other. `ses_headers` are
    the names of the email headers that an SES record's events include. `first_times`, if given,
    maps the places in an array that are to be read again, and no others, to a time that replaces
    `sent_at_ms`.

    Raises InvalidEventError for a message that no number of retries will make processable; errors
    of `ses_accounts` pass through.
    """
    try:
        document = parse(text)
    except ValueError as error:
        if ses.is_topic_validation(text):
            return _TOPIC_VALIDATION
        raise not_json(error) from error
    if first_times is None and isinstance(document, dict) and "event" in document:
        # By far the most messages: one event, in no envelope.
        event = accept(
            document,
            sent_at_ms=sent_at_ms,
            account_id=account_id,
            may_be_large=len(text) > MAX_BODY_BYTES // MOST_GROWTH,
        )
        if event.occurred_at_ms > sent_at_ms + MAX_AHEAD_MS:
            event = filed(event, sent_at_ms)
        return ParsedMessage((event,), places=(0,))
    found = _Found(text)
    if account_id is None and is_part(document):
        part = read_part(document, sent_at_ms=sent_at_ms)
        return ParsedMessage((part.event,), parts=(part,), places=(0,))
    if account_id is None and _is_array_of_parts(document):
        return _of_parts(document, found, sent_at_ms)
    return _of_documents(
        ses.unwrap(document),
        found,
        sent_at_ms=sent_at_ms,
        ses_accounts=ses_accounts,
        account_id=account_id,
        ses_headers=ses_headers,
        first_times=first_times,
    )


def _of_documents(
    document: object,
    found: _Found,
    *,
    sent_at_ms: int,
    ses_accounts: ses.AccountChooser,
    account_id: str | None,
    ses_headers: Sequence[str],
    first_times: Mapping[int, int] | None,
) -> ParsedMessage:
    """Read an event or a record, or an array of these, each of which is refused by itself."""
    is_array = isinstance(document, list) and bool(document)

    def read_one(place: int, one: object) -> Sequence[InvalidEventError]:
        if ses.is_topic_validation(one):
            found.ignored_types += _TOPIC_VALIDATION.ignored_types
        elif isinstance(one, dict) and ses.is_record(one):
            made = ses.of_record(
                one, accounts=ses_accounts, account_id=account_id, headers=ses_headers
            )
            if not made.events:
                found.ignored_types.append(ses.ignored_type(one))
            found.take(place, [filed(event, sent_at_ms) for event in made.events])
            return made.refusals
        else:
            time_ms = sent_at_ms if first_times is None else first_times[place]
            event = accept(one, sent_at_ms=time_ms, account_id=account_id)
            found.take(place, [filed(event, time_ms)])
        return ()

    for place, one in enumerate(ses.documents(document)):
        if first_times is not None and place not in first_times:
            continue
        if found.is_surely_wrong(one.given):
            continue
        try:
            # Check before reading: the rest of a large array may take as much memory again.
            found.check_room()
            refused = read_one(place, one.bare())
        except InvalidEventError as error:
            if not is_array:
                raise
            refused = [error]
        if refused and is_array:
            found.refuse(one.given, refused[0])
        elif refused:
            found.refusals.append(Refusal(refused[0]))
    return found.message()


def _is_array_of_parts(document: object) -> TypeGuard[list[dict[str, object]]]:
    return isinstance(document, list) and bool(document) and all(map(is_part, document))


def _of_parts(
    documents: Sequence[Mapping[str, object]], found: _Found, sent_at_ms: int
) -> ParsedMessage:
    """Read an array of parts, each of which is refused by itself.

    The message contains their bodies unchanged, so its own size limits them.
    """
    parts: list[Part] = []
    for place, one in enumerate(documents):
        try:
            part = read_part(one, sent_at_ms=sent_at_ms)
        except InvalidEventError as error:
            found.refuse(one, error)
        else:
            parts.append(part)
            found.events.append(part.event)
            found.places.append(place)
    return found.message(parts)
