"""The messages of one invocation: what they hold, and which of them are to be received again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.arrays import array_texts, joined
from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.event import EventClaim, Holder
from webhooks.domain.ingest import RejectedMessage, read_message
from webhooks.domain.ses_kinds import NO_COMPLAINTS
from webhooks.domain.shard import ALL
from webhooks.services.concurrency import submit_all
from webhooks.services.deadline import NoTimeLeftError
from webhooks.services.dispatch.messages import QueueMessage, ReceivedEvent
from webhooks.services.dispatch.rejecting import tell_rejected
from webhooks.services.failures import log_failure
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
    from concurrent.futures import Executor

    from webhooks.domain.event import Event
    from webhooks.domain.ingest import ParsedMessage
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Part, Shard
    from webhooks.ports import DeliveryStore, RejectedMessages, Telemetry
    from webhooks.services.deadline import Deadline
    from webhooks.services.dispatch.leftovers import Leftovers
    from webhooks.services.dispatch.requeue import Requeue

    _Claims = Mapping[int, EventClaim | BaseException | None]
    """What claiming events came to, by their indices; None where there was no time for it."""

_MILLISECONDS = 1000

CLAIMS_AT_ONCE = 512
"""Events whose first times are asked for together: one that waits for its turn takes memory."""


class _EventId(NamedTuple):
    account_id: str
    id: str


class _Share(NamedTuple):
    """What of an array comes again for one account: its documents, and which events they hold."""

    documents: list[str]
    events: set[_EventId]


class Failures:
    """The ids of a batch's messages that are to be received again."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Hold none yet."""
        self._telemetry = telemetry
        self.ids: set[str] = set()

    def add(self, message_ids: Iterable[str], error: BaseException) -> None:
        """Have messages received again, and say why."""
        ids = sorted(message_ids)
        self.ids.update(ids)
        log_failure(self._telemetry, "message_failed", error, message_ids=ids)


class MessageReader:
    """Reads batches of messages."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        rejected: RejectedMessages,
        telemetry: Telemetry,
        ses_accounts: AccountChooser,
        ses_headers: Sequence[str],
        threads: Executor,
        clock: Callable[[], float],
    ) -> None:
        """Settle first times in `threads`; `ses_headers` are what SES's records tell of headers.

        `clock` gives Unix seconds.
        """
        self._deliveries = deliveries
        self._rejected = rejected
        self._telemetry = telemetry
        self._ses_accounts = ses_accounts
        self._ses_headers = ses_headers
        self._threads = threads
        self._clock = clock

    def read(
        self,
        messages: Sequence[QueueMessage],
        failures: Failures,
        deadline: Deadline,
        leftovers: Leftovers,
        requeue: Requeue,
    ) -> list[ReceivedEvent]:
        """Read the messages' events; unreadable ones are dead-lettered with their reason.

        That goes on, in `requeue`, while the others are delivered.
        """
        reads: list[ReceivedEvent] = []
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
            self._telemetry.annotate("message_ids", message.id)
        for event_id in dict.fromkeys(received.event.id for received in reads):
            self._telemetry.annotate("event_ids", event_id)
        claims = self._claims(reads, deadline, _batch_name(messages))
        settled, unclaimed = self._with_first_times(reads, claims, failures, rejected)
        self._postpone(unclaimed, leftovers)
        held = {(received.message.id, received.place) for received in _held(reads, claims)}
        if held:
            self._telemetry.count("HeldEvents", len(held))
            leftovers.add_held(one for one in settled if (one.message.id, one.place) in held)
            settled = [one for one in settled if (one.message.id, one.place) not in held]
        tell_rejected(self._telemetry, rejected)
        for one in rejected:
            requeue.call({one.message_id}, partial(self._reject, one))
        return settled

    def _reject(self, message: RejectedMessage) -> None:
        if self._rejected.put([message]):
            msg = "the events dead-letter queue did not take it"
            raise UnavailableError(msg)

    def _reads(self, message: QueueMessage, rejected: list[RejectedMessage]) -> list[ReceivedEvent]:
        content = self._content(message)
        for name in content.ignored_types:
            self._telemetry.count("IgnoredEvents")
            if name in NO_COMPLAINTS:
                self._telemetry.count("Ignored" + name.title().replace("-", ""))
        rejected += _refused(message, content)
        if content.parts:
            return [
                ReceivedEvent(
                    message,
                    part.event,
                    part.arrived_at_ms,
                    _shard(part),
                    part.webhook_ids,
                    admitted=not message.delays,
                )
                for part in content.parts
            ]
        return [
            ReceivedEvent(message, event, message.arrived_at_ms, place=place)
            for event, place in zip(content.events, content.places, strict=True)
        ]

    def _content(
        self, message: QueueMessage, first_times: Mapping[int, int] | None = None
    ) -> ParsedMessage:
        return read_message(
            message.body,
            sent_at_ms=message.arrived_at_ms,
            ses_accounts=self._ses_accounts,
            ses_headers=self._ses_headers,
            first_times=first_times,
        )

    def _with_first_times(
        self,
        reads: Sequence[ReceivedEvent],
        claims: _Claims,
        failures: Failures,
        rejected: list[RejectedMessage],
    ) -> tuple[list[ReceivedEvent], list[ReceivedEvent]]:
        """Give an event whose id does not fix its time the time of its first copy.

        With that it may be too large, by a digit or two of what is derived from its time. Returns
        the settled ones, and those that there was no time for.
        """
        changed: defaultdict[QueueMessage, dict[int, int]] = defaultdict(dict)
        unclaimed: list[ReceivedEvent] = []
        for index, claim in claims.items():
            received = reads[index]
            if claim is None:
                unclaimed.append(received)
            elif isinstance(claim, BaseException):
                failures.add([received.message.id], claim)
            elif claim.occurred_at_ms != received.event.occurred_at_ms and not received.event.ahead:
                changed[received.message][received.place] = claim.occurred_at_ms
        again = {
            message: self._again(message, times, rejected) for message, times in changed.items()
        }
        settled: list[ReceivedEvent] = []
        for index, received in enumerate(reads):
            event: Event | None = received.event
            claim = claims.get(index)
            if index in claims and not isinstance(claim, EventClaim):
                continue
            if event is not None and event.ahead and isinstance(claim, EventClaim):
                # Its body does not depend on when it was accepted: it need not be read again.
                event = replace(event, occurred_at_ms=claim.occurred_at_ms)
            if received.place in changed.get(received.message, ()):
                event = again[received.message].get(received.place)
            if event is not None:
                settled.append(received._replace(event=event))
        return settled, unclaimed

    def _claims(self, reads: Sequence[ReceivedEvent], deadline: Deadline, batch: str) -> _Claims:
        """Claim each event whose id does not fix its time; the claims by the events' indices."""
        indices = [
            index for index, received in enumerate(reads) if not received.event.id_fixes_time
        ]
        turns = in_turns(indices, lambda index: reads[index].event.account_id)
        now_ms = int(self._clock() * _MILLISECONDS)

        def claim_one(index: int) -> EventClaim:
            message = reads[index].message
            # The event of a message that failed before may be held by the batch it failed in.
            again = bool(message.tries or message.suspicions)
            return self._deliveries.claim(reads[index].event, Holder(batch, now_ms, again))

        claim = deadline.in_time(claim_one)
        claims: dict[int, EventClaim | BaseException | None] = {}
        for start in range(0, len(turns), CLAIMS_AT_ONCE):
            some = turns[start : start + CLAIMS_AT_ONCE]
            for index, claimed in zip(some, submit_all(self._threads, claim, some), strict=True):
                error = claimed.exception()
                if error is None:
                    claims[index] = claimed.result()
                else:
                    # A bug too: a claim that cannot be read is one event's trouble.
                    claims[index] = None if isinstance(error, NoTimeLeftError) else error
        return claims

    def _postpone(self, reads: Iterable[ReceivedEvent], leftovers: Leftovers) -> None:
        """Have events whose times are not settled come again as they came.

        In an envelope, all that it holds comes again: what arrives now is found recorded then. So
        does all of an array in which one of them is not found again.
        """
        unclaimed: defaultdict[QueueMessage, set[_EventId]] = defaultdict(set)
        for received in reads:
            unclaimed[received.message].add(_EventId(received.event.account_id, received.event.id))
        for message, wanted in unclaimed.items():
            shares = self._shares(message, wanted)
            if set().union(*(share.events for share in shares.values())) != wanted:
                account_id = min(wanted).account_id
                leftovers.add_texts(message, [message.body], account_id, events=len(wanted))
                continue
            for account_id, share in shares.items():
                texts = list(joined(share.documents))
                leftovers.add_texts(message, texts, account_id, events=len(share.events))

    def _shares(self, message: QueueMessage, wanted: Set[_EventId]) -> dict[str, _Share]:
        """Return the documents of an array that hold these events, by the account to come again.

        A document of several accounts is the first one's: if it were each one's, it would be more
        messages each time.
        """
        shares: defaultdict[str, _Share] = defaultdict(lambda: _Share([], set()))
        for text in array_texts(message.body) or ():
            held = self._event_ids(message, text) & wanted
            if held:
                share = shares[min(held).account_id]
                share.documents.append(text)
                share.events.update(held)
        return shares

    def _event_ids(self, message: QueueMessage, text: str) -> Set[_EventId]:
        try:
            content = self._content(message._replace(body=text))
        except (InvalidEventError, UnavailableError):
            return set()
        return {_EventId(event.account_id, event.id) for event in content.events}

    def _again(
        self,
        message: QueueMessage,
        first_times: Mapping[int, int],
        rejected: list[RejectedMessage],
    ) -> dict[int, Event]:
        """Return events of a message as they are with the times of their first copies, by place.

        None of them is a record of SES, so that no account is read for it.
        """
        try:
            content = self._content(message, first_times)
        except InvalidEventError as error:
            rejected.append(_rejected(message, error))
            return {}
        # Of an array, those that alone are refused now.
        rejected += _refused(message, content)
        return {
            place: replace(event, occurred_at_ms=first_times[place])
            for place, event in zip(content.places, content.events, strict=True)
        }


def _batch_name(messages: Sequence[QueueMessage]) -> str:
    """Return a name that no other batch has: no message is received twice under one count."""
    return f"{messages[0].id}.{messages[0].receive_count}" if messages else ""


def _held(reads: Sequence[ReceivedEvent], claims: _Claims) -> Iterator[ReceivedEvent]:
    """Yield the events that another dispatcher may be delivering now."""
    for index, claim in claims.items():
        if isinstance(claim, EventClaim) and claim.held:
            yield reads[index]


def _shard(part: Part) -> Shard | None:
    """Return the shard to query, None where it is the whole account."""
    return None if part.shard == ALL else part.shard


def _refused(message: QueueMessage, content: ParsedMessage) -> list[RejectedMessage]:
    """Return what a message has of documents that can never be processed; many as it came, once."""
    return [_rejected(message, error, body) for error, body in content.refusals]


def _rejected(
    message: QueueMessage, error: InvalidEventError, body: str | None = None
) -> RejectedMessage:
    """Reject a message, or of an array the one document that `body` is."""
    body = message.body if body is None else body
    return RejectedMessage(
        message.id, body, error.reason, str(error), message.group, message.arrived_at_ms
    )
