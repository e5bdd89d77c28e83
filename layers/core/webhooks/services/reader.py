"""The messages of one invocation: what they hold, and which of them are to be received again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.intake import RejectedMessage, array_texts, joined, read_message
from webhooks.domain.ses_kinds import NO_COMPLAINTS
from webhooks.domain.shard import ALL
from webhooks.services.deadline import NoTimeLeftError
from webhooks.services.trouble import tell
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set
    from concurrent.futures import Executor, Future

    from webhooks.domain.event import Event
    from webhooks.domain.intake import Message as Content
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Part, Shard
    from webhooks.ports import DeliveryStore, Observer, RejectedMessages
    from webhooks.services.deadline import Deadline
    from webhooks.services.leftovers import Leftovers
    from webhooks.services.requeue import Requeue

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

    With `webhook_ids` for these of the shard alone. `arrived_at_ms` is when SQS took the event,
    which for a part is before its own message.
    """

    message: Message
    event: Event
    arrived_at_ms: int
    shard: Shard | None = None
    webhook_ids: tuple[str, ...] | None = None


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

    def read(
        self,
        messages: Sequence[Message],
        failures: Failures,
        deadline: Deadline,
        leftovers: Leftovers,
        requeue: Requeue,
    ) -> list[Read]:
        """Read the messages' events; unreadable ones are dead-lettered with their reason.

        That goes on, in `requeue`, while the others are delivered.
        """
        reads: list[Read] = []
        rejected: list[RejectedMessage] = []
        for message in messages:
            # The account of an SES record may be read from a table.
            if not deadline.allows_read():
                leftovers.add_texts(message, [message.body], message.group)
                continue
            try:
                reads += self._reads(message, rejected)
            except InvalidEventError as error:
                rejected.append(_rejected(message, error))
            except UnavailableError as error:
                failures.add([message.id], error)
            self._observer.trace("message_ids", message.id)
        for event_id in dict.fromkeys(read.event.id for read in reads):
            self._observer.trace("event_ids", event_id)
        settled, unclaimed = self._with_first_times(reads, failures, rejected, deadline)
        self._postpone(unclaimed, leftovers)
        for message_id, _, reason, _ in rejected:
            self._observer.count("RejectedMessages")
            self._observer.count("Rejected" + reason.title().replace("_", ""))
            self._observer.log("error", "message_rejected", message_id=message_id, reason=reason)
        for one in rejected:
            requeue.call({one.message_id}, partial(self._reject, one))
        return settled

    def _reject(self, message: RejectedMessage) -> None:
        if self._rejected.put([message]):
            msg = "the events dead-letter queue did not take it"
            raise UnavailableError(msg)

    def _reads(self, message: Message, rejected: list[RejectedMessage]) -> list[Read]:
        content = self._content(message, message.arrived_at_ms)
        for name in content.ignored_types:
            self._observer.count("IgnoredEvents")
            if name in NO_COMPLAINTS:
                self._observer.count("Ignored" + name.title().replace("-", ""))
        rejected += _refused(message, content)
        if content.parts:
            return [
                Read(message, part.event, part.arrived_at_ms, _shard(part), part.webhook_ids)
                for part in content.parts
            ]
        return [Read(message, event, message.arrived_at_ms) for event in content.events]

    def _content(self, message: Message, sent_at_ms: int) -> Content:
        return read_message(
            message.body,
            sent_at_ms=sent_at_ms,
            ses_accounts=self._ses_accounts,
            ses_headers=self._ses_headers,
        )

    def _with_first_times(
        self,
        reads: Sequence[Read],
        failures: Failures,
        rejected: list[RejectedMessage],
        deadline: Deadline,
    ) -> tuple[list[Read], list[Read]]:
        """Give an event whose id does not fix its time the time of its first copy.

        With that it may be too large, by a digit or two of what is derived from its time. Returns
        the settled ones, and those that there was no time for.
        """
        first_ms = self._first_times(reads, deadline)
        settled: list[Read] = []
        unclaimed: list[Read] = []
        for place, read in enumerate(reads):
            event = read.event
            try:
                event_ms = first_ms[place].result() if place in first_ms else event.occurred_at_ms
                if event_ms != event.occurred_at_ms:
                    event = self._again(read, event_ms)
            except NoTimeLeftError:
                unclaimed.append(read)
            except InvalidEventError as error:
                rejected.append(_rejected(read.message, error))
            except UnavailableError as error:
                failures.add([read.message.id], error)
            else:
                settled.append(read._replace(event=event))
        return settled, unclaimed

    def _first_times(self, reads: Sequence[Read], deadline: Deadline) -> Mapping[int, Future[int]]:
        """Claim the events whose ids do not fix their times, by their places."""
        places = [place for place, read in enumerate(reads) if not read.event.id_fixes_time]
        turns = in_turns(places, lambda place: reads[place].event.account_id)
        claims = deadline.begin_reads(
            self._threads, lambda place: self._deliveries.claim(reads[place].event), turns
        )
        return dict(zip(turns, claims, strict=True))

    def _postpone(self, reads: Iterable[Read], leftovers: Leftovers) -> None:
        """Have events whose times are not settled come again as they came.

        In an envelope, all that it holds comes again: what arrives now is found recorded then.
        """
        unclaimed: defaultdict[Message, dict[str, set[str]]] = defaultdict(dict)
        for read in reads:
            event = read.event
            unclaimed[read.message].setdefault(event.account_id, set()).add(event.id)
        for message, accounts in unclaimed.items():
            documents = array_texts(message.body)
            if documents is None:
                leftovers.add_texts(message, [message.body], next(iter(accounts)))
                continue
            events = [(text, self._event_ids(message, text)) for text in documents]
            for account_id, ids in accounts.items():
                texts = [
                    text for text, found in events if found & {(account_id, one) for one in ids}
                ]
                leftovers.add_texts(message, list(joined(texts)), account_id, events=len(ids))

    def _event_ids(self, message: Message, text: str) -> Set[tuple[str, str]]:
        try:
            content = self._content(message._replace(body=text), message.arrived_at_ms)
        except (InvalidEventError, UnavailableError):
            return set()
        return {(event.account_id, event.id) for event in content.events}

    def _again(self, read: Read, first_ms: int) -> Event:
        """Return an event as it is with the time of its first copy; InvalidEventError as above."""
        content = self._content(read.message, first_ms)
        for event in content.events:
            if event.id == read.event.id:
                return replace(event, occurred_at_ms=first_ms)
        # Of an array, where this one alone is refused now.
        raise content.refusals[-1].error


def _shard(part: Part) -> Shard | None:
    """Return the shard to query, None where it is the whole account."""
    return None if part.shard == ALL else part.shard


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
