"""The messages of one invocation: what they hold, and which of them are to be received again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.intake import RejectedMessage, read_message
from webhooks.domain.ses_kinds import NO_COMPLAINTS
from webhooks.services.trouble import tell

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from webhooks.domain.event import Event
    from webhooks.domain.intake import Message as Content
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Shard
    from webhooks.ports import DeliveryStore, Observer, RejectedMessages

MAX_REFUSALS = 10
"""Documents of an array that are rejected one by one: each is a request, and a message has room for
so many that the others of its batch would wait for them until the invocation ends."""


class Message(NamedTuple):
    """A message of the events queue.

    `arrived_at_ms` is when SQS took it, or the first of the messages that it comes of: `tries` of
    those failed through a fault of ours, `suspicions` of them may have ended their dispatcher.
    `receive_count` counts receives, also those whose batch no dispatcher ever saw.
    """

    id: str
    body: str
    arrived_at_ms: int
    group: str | None = None
    receive_count: int = 1
    tries: int = 0
    suspicions: int = 0
    receipt_handle: str = ""


class Read(NamedTuple):
    """An event, and the message that it came in: with a `shard`, for those webhooks only.

    `arrived_at_ms` is when SQS took the event, which for a shard is before its own message.
    """

    message: Message
    event: Event
    arrived_at_ms: int
    shard: Shard | None = None


class Failures:
    """The ids of a batch's messages that are to be received again."""

    def __init__(self, observer: Observer) -> None:
        """Hold none yet."""
        self._observer = observer
        self.ids: set[str] = set()

    def add(self, message_ids: Iterable[str], error: BaseException) -> None:
        """Have messages received again, and say why."""
        ids = sorted(message_ids)
        self.ids.update(ids)
        tell(self._observer, "message_failed", error, message_ids=ids)


class Reader:
    """Reads batches of messages."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        rejected: RejectedMessages,
        observer: Observer,
        ses_accounts: AccountChooser,
        ses_headers: Sequence[str],
        threads: Executor,
    ) -> None:
        """Settle first times in `threads`; `ses_headers` are what SES's records tell of headers."""
        self._deliveries = deliveries
        self._rejected = rejected
        self._observer = observer
        self._ses_accounts = ses_accounts
        self._ses_headers = ses_headers
        self._threads = threads

    def read(self, messages: Sequence[Message], failures: Failures) -> list[Read]:
        """Read the messages' events; unreadable ones are dead-lettered with their reason."""
        reads: list[Read] = []
        rejected: list[RejectedMessage] = []
        for message in messages:
            try:
                reads += self._reads(message, rejected)
            except InvalidEventError as error:
                rejected.append(_rejected(message, error))
            except UnavailableError as error:
                failures.add([message.id], error)
            self._observer.trace("message_ids", message.id)
        for event_id in dict.fromkeys(read.event.id for read in reads):
            self._observer.trace("event_ids", event_id)
        settled = self._with_first_times(reads, failures, rejected)
        for message_id, _, reason, _ in rejected:
            self._observer.count("RejectedMessages")
            self._observer.count("Rejected" + reason.title().replace("_", ""))
            self._observer.log("error", "message_rejected", message_id=message_id, reason=reason)
        failures.ids.update(self._rejected.put(rejected) if rejected else ())
        return settled

    def _reads(self, message: Message, rejected: list[RejectedMessage]) -> list[Read]:
        content = self._content(message, message.arrived_at_ms)
        for name in content.ignored_types:
            self._observer.count("IgnoredEvents")
            if name in NO_COMPLAINTS:
                self._observer.count("Ignored" + name.title().replace("-", ""))
        rejected += _refused(message, content)
        if content.part is not None:
            event, shard, arrived_at_ms = content.part
            return [Read(message, event, arrived_at_ms, shard)]
        return [Read(message, event, message.arrived_at_ms) for event in content.events]

    def _content(self, message: Message, sent_at_ms: int) -> Content:
        return read_message(
            message.body,
            sent_at_ms=sent_at_ms,
            ses_accounts=self._ses_accounts,
            ses_headers=self._ses_headers,
        )

    def _with_first_times(
        self, reads: Iterable[Read], failures: Failures, rejected: list[RejectedMessage]
    ) -> list[Read]:
        """Give an event whose id does not fix its time the time of its first copy.

        With that it may be too large, by a digit or two of what is derived from its time.
        """
        claims = [
            (
                read,
                None
                if read.event.id_fixes_time
                else self._threads.submit(self._deliveries.claim, read.event),
            )
            for read in reads
        ]
        settled: list[Read] = []
        for read, claim in claims:
            try:
                first_ms = read.event.occurred_at_ms if claim is None else claim.result()
            except UnavailableError as error:
                failures.add([read.message.id], error)
                continue
            event = read.event
            if first_ms != event.occurred_at_ms:
                try:
                    event = self._again(read, first_ms)
                except InvalidEventError as error:
                    rejected.append(_rejected(read.message, error))
                    continue
                except UnavailableError as error:
                    failures.add([read.message.id], error)
                    continue
            settled.append(read._replace(event=event))
        return settled

    def _again(self, read: Read, first_ms: int) -> Event:
        """Return an event as it is with the time of its first copy; InvalidEventError as above."""
        content = self._content(read.message, first_ms)
        for event in content.events:
            if event.id == read.event.id:
                return replace(event, occurred_at_ms=first_ms)
        # Of an array, where this one alone is refused now.
        raise content.refusals[-1].error


def _refused(message: Message, content: Content) -> list[RejectedMessage]:
    """Return what a message has of documents that can never be processed; many as it came, once."""
    refusals = content.refusals
    if len(refusals) > MAX_REFUSALS:
        return [_rejected(message, refusals[0].error)]
    return [_rejected(message, error, body) for body, error in refusals]


def _rejected(
    message: Message, error: InvalidEventError, body: str | None = None
) -> RejectedMessage:
    """Reject a message, or of an array the one document that `body` is."""
    body = message.body if body is None else body
    return RejectedMessage(message.id, body, error.reason, str(error))
