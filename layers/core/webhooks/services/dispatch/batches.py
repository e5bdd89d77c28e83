"""A batch of the events queue: what fails is sent again, and what may end its dispatcher is alone.

A message that fails through a fault of ours is sent again as a new one with a delay, and is done.
Where that fails too, the batch's answer has SQS hand it out again.

A message that was received more than twice is a suspect: it may have ended the dispatchers that had
it, or Lambda may have had no room for them. It is sent again as a new one with one suspicion more,
before anything else. A message with suspicions is handled when the others of its batch are done and
deleted, so that it can harm none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.ingest import RejectedMessage
from webhooks.domain.resending import Outgoing, delay_seconds, gives_up
from webhooks.services.dispatch.rejecting import reject
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from webhooks.ports import EventQueue, ReceivedMessages, RejectedMessages, Telemetry
    from webhooks.services.dispatch.dispatcher import Dispatcher
    from webhooks.services.dispatch.messages import QueueMessage

OLDEST_EVENT_AGE = "OldestEventAge"
"""The metric of how long ago the oldest event of a batch arrived first, in milliseconds."""

MOST_RECEIVES = 2
"""Receives that no dispatcher need have seen: a throttled batch, and a time-out of one's own."""

MOST_SUSPICIONS = 5
"""With so many a message is dead-lettered as one that ends its dispatchers."""

SUSPECTS_FIRST = 0.25
"""Share of the batches whose other messages go back to the queue at once, for the suspects' sake.
Beside messages that take all of each invocation's time no suspect would ever be handled."""

SECONDS_FOR_SENDING = 9.0
"""The call that sends messages again, at its slowest (see `adapters.aws`)."""

SECONDS_FOR_ONE_MESSAGE = 37.0
"""One attempt as the dispatcher begins it, and sending again what it failed with."""

_MILLISECONDS = 1000


class _Batch:
    """What has become of a batch's messages."""

    def __init__(self, messages: Sequence[QueueMessage]) -> None:
        self._messages = messages
        self._deleted: set[str] = set()
        self.done: set[str] = set()
        self.failed_ids: set[str] = set()

    def finish(self, messages: Iterable[QueueMessage]) -> None:
        """Note that messages are done: SQS may delete them."""
        self.done.update(message.id for message in messages)

    def receive_again(self, messages: Iterable[QueueMessage]) -> None:
        """Note that SQS is to hand messages out again."""
        self.failed_ids.update(message.id for message in messages)

    def to_delete(self) -> list[str]:
        """Return the receipt handles of what is done since this was last asked."""
        new = [one for one in self._messages if one.id in self.done - self._deleted]
        self._deleted.update(one.id for one in new)
        return [one.receipt_handle for one in new]

    @property
    def failed(self) -> list[str]:
        """The ids that the batch's answer names, in their order."""
        return [one.id for one in self._messages if one.id in self.failed_ids]


class Batches:
    """Handles the batches of one function's invocations."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        queue: EventQueue,
        received: ReceivedMessages,
        rejected: RejectedMessages,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds, `random` a number from 0 to 1."""
        self._dispatcher = dispatcher
        self._queue = queue
        self._received = received
        self._rejected = rejected
        self._telemetry = telemetry
        self._clock = clock
        self._random = random

    def handle(
        self, messages: Sequence[QueueMessage], remaining_seconds: Callable[[], float]
    ) -> list[str]:
        """Handle a batch; returns the ids of the messages that SQS is to hand out again."""
        now_ms = self._now_ms()
        oldest_ms = min(
            (message.arrived_at_ms for message in messages if not message.held_back),
            default=now_ms,
        )
        self._telemetry.record_time(OLDEST_EVENT_AGE, max(0, now_ms - oldest_ms))
        left = _Batch(messages)
        suspects = [one for one in messages if one.receive_count > MOST_RECEIVES or one.suspicions]
        if suspects:
            self._telemetry.count("SuspectMessages", len(suspects))
            suspects = self._told_apart(suspects, left)
        alone = {one.id for one in suspects} | left.done | left.failed_ids
        others = [one for one in messages if one.id not in alone]
        if suspects and self._random() > 1 - SUSPECTS_FIRST:
            self._put_back(others, left, delay=False)
        else:
            self._dispatch(others, left, remaining_seconds)
        while suspects:
            if remaining_seconds() < SECONDS_FOR_ONE_MESSAGE or not self._deleted(left):
                self._put_back(suspects, left)
                break
            self._dispatch([suspects.pop(0)], left, remaining_seconds)
        return left.failed

    def _told_apart(self, suspects: Sequence[QueueMessage], left: _Batch) -> list[QueueMessage]:
        """Return the suspects to handle here, in their order; send the others again first.

        One suspicion is as a rule no fault of the message's: those are handled one after the other.
        Of those with more, only one is handled here: none can add to another's suspicions.
        """
        raised = [one for one in suspects if one.receive_count > MOST_RECEIVES]
        self._raise_suspicions(raised, left)
        # What could not be sent again is handled here all the same, after the others.
        stuck = [one for one in raised if one.id not in left.done]
        fresh = sorted(
            (one for one in suspects if one.receive_count <= MOST_RECEIVES),
            key=lambda one: one.suspicions,
        )
        firsts = [one for one in fresh if one.suspicions == 1]
        repeated = [one for one in fresh if one.suspicions > 1]
        self._put_back(repeated[1:], left)
        return firsts + repeated[:1] + stuck

    def _raise_suspicions(self, suspects: Sequence[QueueMessage], left: _Batch) -> None:
        raised = [one._replace(suspicions=one.suspicions + 1) for one in suspects]
        killed = [one for one in raised if one.suspicions >= MOST_SUSPICIONS]
        self._dead_letter(killed, "killed", "ended its dispatcher each time", left)
        self._send([one for one in raised if one.suspicions < MOST_SUSPICIONS], left)

    def _put_back(
        self, messages: Sequence[QueueMessage], left: _Batch, *, delay: bool = True
    ) -> None:
        """Send messages again as they are. One that is not taken is received again."""
        self._send(messages, left, delay=delay)
        left.receive_again(one for one in messages if one.id not in left.done)

    def _dispatch(
        self, messages: Sequence[QueueMessage], left: _Batch, remaining_seconds: Callable[[], float]
    ) -> None:
        """Have messages handled; what fails is sent again, else it is received again."""
        if not messages:
            return
        failed_ids = set(self._dispatcher.dispatch(messages, remaining_seconds))
        left.finish(one for one in messages if one.id not in failed_ids)
        # They gave an answer: whatever they were suspected of, they did not end their dispatcher.
        failed = [
            one._replace(tries=one.tries + 1, suspicions=0)
            for one in messages
            if one.id in failed_ids
        ]
        if remaining_seconds() >= SECONDS_FOR_SENDING:
            now_ms = self._now_ms()
            given_up = [
                one
                for one in failed
                if gives_up(arrived_at_ms=one.arrived_at_ms, tries=one.tries, now_ms=now_ms)
            ]
            self._dead_letter(given_up, "gave_up", "failed through a fault of ours for days", left)
            given_up_ids = {one.id for one in given_up}
            self._send([one for one in failed if one.id not in given_up_ids], left)
        left.receive_again(one for one in failed if one.id not in left.done)

    def _send(self, messages: Sequence[QueueMessage], left: _Batch, *, delay: bool = True) -> None:
        """Send messages again as new ones; those that the queue took are done."""
        if not messages:
            return
        again = [self._again(message) for message in messages]
        if not delay:
            again = [one._replace(delay_seconds=0) for one in again]
        not_taken = set(self._queue.put(again))
        taken = [one for place, one in enumerate(messages) if place not in not_taken]
        if taken:
            self._telemetry.count("ResentMessages", len(taken))
        left.finish(taken)

    def _again(self, message: QueueMessage) -> Outgoing:
        failures = max(message.tries, message.suspicions)
        return Outgoing(
            message.body,
            message.group,
            delay_seconds=delay_seconds(failures, self._random()),
            arrived_at_ms=message.arrived_at_ms,
            tries=message.tries,
            suspicions=message.suspicions,
            delays=message.delays,
            paced=message.paced,
        )

    def _dead_letter(
        self, messages: Sequence[QueueMessage], reason: str, detail: str, left: _Batch
    ) -> None:
        rejects = [
            RejectedMessage(one.id, one.body, reason, detail, one.group, one.arrived_at_ms)
            for one in messages
        ]
        refused = reject(self._rejected, self._telemetry, rejects)
        left.finish(one for one in messages if one.id not in refused)

    def _deleted(self, left: _Batch) -> bool:
        """Delete what is done, so that no suspect can bring it back; False where that failed."""
        handles = left.to_delete()
        if not handles:
            return True
        try:
            self._received.delete(handles)
        except UnavailableError as error:
            log_failure(self._telemetry, "messages_not_deleted", error)
            return False
        return True

    def _now_ms(self) -> int:
        return int(self._clock() * _MILLISECONDS)
