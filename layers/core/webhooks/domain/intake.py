"""The one way in for a message: our events, a part of one, or records of SES."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import ses
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.event import Event, accept, read_json
from webhooks.domain.shard import MAX_MESSAGE_BYTES, Part, is_part, read_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class Refusal(NamedTuple):
    """One of a message's documents that can never be processed, as a message of its own."""

    body: str
    error: InvalidEventError


class Message(NamedTuple):
    """What a message came to: its events, or the types of SES records that are dropped and counted.

    With `parts` each is for some of the webhooks only of its one event. An array's documents may
    come to some of each, and `refusals` are those that can never be processed.
    """

    events: tuple[Event, ...] = ()
    ignored_types: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def ignored_type(self) -> str | None:
        """The first of the types that are dropped."""
        return self.ignored_types[0] if self.ignored_types else None


class RejectedMessage(NamedTuple):
    """A queue message that can never be processed, for the events dead-letter queue."""

    message_id: str
    body: str
    reason: str
    detail: str


_TOPIC_VALIDATION = Message(ignored_types=("topic_validation",))


def read_message(
    text: str,
    *,
    sent_at_ms: int,
    ses_accounts: ses.AccountChooser,
    account_id: str | None = None,
    ses_headers: Sequence[str] = (),
) -> Message:
    """Read a message: an event (contract 2.4), an SES record, or an array of these.

    Each bare or in SNS's envelope. Or parts of a message, as dispatchers send them to each other:
    bare, one or an array, the account inside. `sent_at_ms` is when SQS took the message, in Unix
    milliseconds. `account_id`, where given, is the account of the API key that published it, and no
    other may be named. `ses_headers` are the names of the headers that an SES record's events tell.
    Raises InvalidEventError for a message that no number of tries will make processable, and
    nothing else, but what `ses_accounts` raises.
    """
    if ses.is_topic_validation(text):
        return _TOPIC_VALIDATION
    document = read_json(text)
    if account_id is None and is_part(document):
        return Message(parts=(read_part(document, sent_at_ms=sent_at_ms),))
    if (
        account_id is None
        and isinstance(document, list)
        and document
        and all(map(is_part, document))
    ):
        return _together([_part_or_refusal(one, sent_at_ms) for one in document])

    def read_one(one: object) -> Message:
        if ses.is_topic_validation(one):
            return _TOPIC_VALIDATION
        if isinstance(one, dict) and ses.is_record(one):
            events = ses.to_events(
                one, accounts=ses_accounts, account_id=account_id, headers=ses_headers
            )
            return Message(tuple(events), () if events else (ses.ignored_type(one),))
        return Message((accept(one, sent_at_ms=sent_at_ms, account_id=account_id),))

    def read_each(one: object) -> Message:
        try:
            return read_one(ses.unwrap(one))
        except InvalidEventError as error:
            return Message(refusals=(Refusal(json.dumps(one), error),))

    document = ses.unwrap(document)
    if isinstance(document, list) and document:
        return _together([read_each(one) for one in document])
    return read_one(document)


def array_texts(text: str) -> list[str] | None:
    """Return the documents of a message that is an array, each as it came; None of another."""
    decoder = json.JSONDecoder()
    place = _past_space(text, 0)
    if text[place : place + 1] != "[":
        return None
    documents: list[str] = []
    place = _past_space(text, place + 1)
    while text[place] != "]":
        _, end = decoder.raw_decode(text, place)
        documents.append(text[place:end])
        place = _past_space(text, end)
        if text[place] == ",":
            place = _past_space(text, place + 1)
    return documents


def _past_space(text: str, place: int) -> int:
    while text[place : place + 1] in {" ", "\t", "\n", "\r"}:
        place += 1
    return place


def joined(documents: Iterable[str]) -> Iterator[str]:
    """Yield arrays of documents, none of them larger than a message for the queue may be."""
    array: list[str] = []
    size = 0
    for document in documents:
        length = len(document.encode(errors="surrogatepass")) + 1
        if array and size + length >= MAX_MESSAGE_BYTES:
            yield f"[{','.join(array)}]"
            array, size = [], 0
        array.append(document)
        size += length
    if array:
        yield f"[{','.join(array)}]"


def _part_or_refusal(document: Mapping[str, object], sent_at_ms: int) -> Message:
    try:
        return Message(parts=(read_part(document, sent_at_ms=sent_at_ms),))
    except InvalidEventError as error:
        return Message(refusals=(Refusal(json.dumps(document), error),))


def _together(messages: Sequence[Message]) -> Message:
    return Message(
        tuple(event for one in messages for event in one.events),
        tuple(name for one in messages for name in one.ignored_types),
        tuple(part for one in messages for part in one.parts),
        refusals=tuple(refusal for one in messages for refusal in one.refusals),
    )
