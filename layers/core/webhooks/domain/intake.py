"""The one way in for a message: one of our events, a part of one, or a record of SES."""

from __future__ import annotations

from typing import NamedTuple

from webhooks.domain import ses
from webhooks.domain.event import Event, accept, load
from webhooks.domain.shard import Part, is_part, read_part


class Message(NamedTuple):
    """What a message came to: its events, or the type of SES record that is counted and dropped.

    With a `part` it is for some of the webhooks only of its one event.
    """

    events: tuple[Event, ...] = ()
    ignored_type: str | None = None
    part: Part | None = None


class RejectedMessage(NamedTuple):
    """A queue message that can never be processed, for the events dead-letter queue."""

    message_id: str
    body: str
    reason: str
    detail: str


def read_message(
    text: str,
    *,
    sent_at_ms: int,
    ses_accounts: ses.SesAccounts,
    account_id: str | None = None,
) -> Message:
    """Read a message: an event (contract 2.4) or an SES record, bare or in SNS's envelope.

    Or a part of a wide event, as dispatchers send them to each other: bare, its account inside.
    `sent_at_ms` is when SQS took the message, in Unix milliseconds. `account_id`, where given, is
    the account of the API key that published it, and no other may be named. Raises
    InvalidEventError, and nothing else, for a message that no number of tries will make
    processable.
    """
    if ses.is_topic_validation(text):
        return Message(ignored_type="topic_validation")
    document = load(text)
    if account_id is None and is_part(document):
        part = read_part(document, sent_at_ms=sent_at_ms)
        return Message((part.event,), part=part)
    inner = ses.sns_text(document)
    if inner is not None:
        if ses.is_topic_validation(inner):
            return Message(ignored_type="topic_validation")
        document = load(inner)
    if ses.is_record(document):
        events = ses.to_events(document, accounts=ses_accounts, account_id=account_id)
        return Message(tuple(events), None if events else ses.type_of(document))
    return Message((accept(document, sent_at_ms=sent_at_ms, account_id=account_id),))
