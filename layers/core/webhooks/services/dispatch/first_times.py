"""The times of events whose ids do not fix them: the first copy's time holds for all copies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.arrays import array_texts, joined
from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.event import EventClaim, Holder
from webhooks.domain.timestamps import to_ms
from webhooks.services.concurrency import NoTimeLeftError, submit_all
from webhooks.services.dispatch.rejecting import refused, rejected_message
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

    from webhooks.domain.event import Event
    from webhooks.domain.ingest import ParsedMessage, RejectedMessage
    from webhooks.ports import DeliveryStore
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import QueueMessage, ReceivedEvent

    _Claims = Mapping[int, EventClaim | BaseException | None]
    """The result of claiming each event, by its index; None if there was no time for it."""

CLAIMS_AT_ONCE = 512
"""Events whose first times are claimed together: each waiting claim takes memory."""


class _EventId(NamedTuple):
    account_id: str
    id: str


class _Share(NamedTuple):
    """The part of an array that is sent again for one account: its documents and events."""

    documents: list[str]
    events: set[_EventId]


class FirstTimes:
    """Claims the first times of events.

    `parse` is `ingest.read_message` with the settings of the stack; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        deliveries: DeliveryStore,
        parse: Callable[..., ParsedMessage],
        clock: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._parse = parse
        self._clock = clock

    def settle(
        self, events: Sequence[ReceivedEvent], rejected: list[RejectedMessage], batch: Batch
    ) -> list[ReceivedEvent]:
        """Return the events with the times of their first copies.

        An event that another dispatcher holds, or that there was no time to claim, is postponed. A
        document that is too large with its first time goes to `rejected`.
        """
        claims = self._claims(events, batch)
        settled, unclaimed = self._with_first_times(events, claims, rejected, batch)
        self._postpone(unclaimed, batch)
        held = {(received.message.id, received.place) for received in _held(events, claims)}
        if held:
            batch.telemetry.count("HeldEvents", len(held))
            batch.leftovers.add_held(one for one in settled if (one.message.id, one.place) in held)
            settled = [one for one in settled if (one.message.id, one.place) not in held]
        return settled

    def _with_first_times(
        self,
        events: Sequence[ReceivedEvent],
        claims: _Claims,
        rejected: list[RejectedMessage],
        batch: Batch,
    ) -> tuple[list[ReceivedEvent], list[ReceivedEvent]]:
        """Give each event whose id does not fix its time the time of its first copy.

        That time may make it too large, by a digit or two of the values derived from it. Returns
        the settled events, and the events that there was no time to claim.
        """
        changed: defaultdict[QueueMessage, dict[int, int]] = defaultdict(dict)
        unclaimed: list[ReceivedEvent] = []
        for index, claim in claims.items():
            received = events[index]
            if claim is None:
                unclaimed.append(received)
            elif isinstance(claim, BaseException):
                batch.fail([received.message.id], claim)
            elif claim.occurred_at_ms != received.event.occurred_at_ms and not received.event.ahead:
                changed[received.message][received.place] = claim.occurred_at_ms
        again = {
            message: self._again(message, times, rejected) for message, times in changed.items()
        }
        settled: list[ReceivedEvent] = []
        for index, received in enumerate(events):
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

    def _claims(self, events: Sequence[ReceivedEvent], batch: Batch) -> _Claims:
        """Claim each event whose id does not fix its time; return the claims by index."""
        indices = [
            index for index, received in enumerate(events) if not received.event.id_fixes_time
        ]
        turns = in_turns(indices, lambda index: events[index].event.account_id)
        now_ms = to_ms(self._clock())
        name = _batch_name(batch.messages)

        def claim_one(index: int) -> EventClaim:
            message = events[index].message
            # The event of a message that failed before may be held by the batch it failed in.
            again = bool(message.tries or message.suspicions)
            return self._deliveries.claim(events[index].event, Holder(name, now_ms, again))

        claim = batch.deadline.in_time(claim_one)
        claims: dict[int, EventClaim | BaseException | None] = {}
        for start in range(0, len(turns), CLAIMS_AT_ONCE):
            some = turns[start : start + CLAIMS_AT_ONCE]
            begun = submit_all(batch.threads.attempts, claim, some)
            for index, claimed in zip(some, begun, strict=True):
                error = claimed.exception()
                if error is None:
                    claims[index] = claimed.result()
                else:
                    # Bugs included: a claim that cannot be read affects one event only.
                    claims[index] = None if isinstance(error, NoTimeLeftError) else error
        return claims

    def _postpone(self, events: Iterable[ReceivedEvent], batch: Batch) -> None:
        """Send events whose times are not settled again, in their original form.

        An envelope is sent again whole: deliveries that are made now are found recorded then. An
        array is sent again whole if one of the events is not found in it.
        """
        unclaimed: defaultdict[QueueMessage, set[_EventId]] = defaultdict(set)
        for received in events:
            unclaimed[received.message].add(_EventId(received.event.account_id, received.event.id))
        for message, wanted in unclaimed.items():
            shares = self._shares(message, wanted)
            if set().union(*(share.events for share in shares.values())) != wanted:
                account_id = min(wanted).account_id
                batch.leftovers.add_texts(message, [message.body], account_id, events=len(wanted))
                continue
            for account_id, share in shares.items():
                texts = list(joined(share.documents))
                batch.leftovers.add_texts(message, texts, account_id, events=len(share.events))

    def _shares(self, message: QueueMessage, wanted: Set[_EventId]) -> dict[str, _Share]:
        """Return the documents of an array that hold these events, by the account that gets them.

        A document of several accounts goes to the first: if it went to each, it would become more
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
            content = self._parse(text, sent_at_ms=message.arrived_at_ms)
        except (InvalidEventError, UnavailableError):
            return set()
        return {_EventId(event.account_id, event.id) for event in content.events}

    def _again(
        self,
        message: QueueMessage,
        first_times: Mapping[int, int],
        rejected: list[RejectedMessage],
    ) -> dict[int, Event]:
        """Return events of a message with the times of their first copies, by place.

        None of them is a record of SES, so no account is read for it.
        """
        try:
            content = self._parse(
                message.body, sent_at_ms=message.arrived_at_ms, first_times=first_times
            )
        except InvalidEventError as error:
            rejected.append(rejected_message(message, error))
            return {}
        # The documents of an array that are refused with these times.
        rejected += refused(message, content)
        return {
            place: replace(event, occurred_at_ms=first_times[place])
            for place, event in zip(content.places, content.events, strict=True)
        }


def _batch_name(messages: Sequence[QueueMessage]) -> str:
    """Return a unique name: no message is received twice with the same receive count."""
    return f"{messages[0].id}.{messages[0].receive_count}" if messages else ""


def _held(events: Sequence[ReceivedEvent], claims: _Claims) -> Iterator[ReceivedEvent]:
    """Yield the events that another dispatcher may be delivering now."""
    for index, claim in claims.items():
        if isinstance(claim, EventClaim) and claim.held:
            yield events[index]
