"""Batches of the events queue: failed messages are sent again, suspects are handled alone.

A message that fails through a fault of ours is sent again as a new message with a delay, and the
old one is done. If that fails too, the batch's response makes SQS deliver the old one again.

A message that was received more than twice is a suspect: it may have ended the dispatchers that had
it, or Lambda may have had no room for them. Before anything else, it is sent again as a new message
with one more suspicion. A message with suspicions is handled after the other messages of its batch
are done and deleted, so that it cannot harm them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.ingest import RejectedMessage
from webhooks.domain.resending import Outgoing, delay_seconds, gives_up
from webhooks.domain.timestamps import to_ms
from webhooks.services.dispatch.rejecting import reject
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from webhooks.ports import EventQueue, ReceivedMessages, RejectedMessages, Telemetry
    from webhooks.services.dispatch.dispatcher import Dispatcher
    from webhooks.services.dispatch.messages import QueueMessage

OLDEST_EVENT_AGE = "OldestEventAge"
"""The metric of the age of a batch's oldest event since its first arrival, in milliseconds."""

MOST_RECEIVES = 2
"""Receives without suspicion. No dispatcher saw the batch if it was throttled, and a dispatcher may
have timed out by itself."""

MOST_SUSPICIONS = 5
"""A message with so many is dead-lettered, because it ends its dispatchers."""

SUSPECTS_FIRST = 0.25
"""Share of the batches with suspects whose other messages go back to the queue at once. Otherwise
no suspect would be handled beside messages that take all of each invocation's time."""

SECONDS_FOR_SENDING = 9.0
"""The longest time of the call that sends messages again (see `adapters.aws`)."""

SECONDS_FOR_ONE_MESSAGE = 37.0
"""One attempt that the dispatcher begins, and sending its message again if it fails."""


class _Progress:
    """The state of a batch's messages: done, deleted or failed."""

    def __init__(self, messages: Sequence[QueueMessage]) -> None:
        self._messages = messages
        self._deleted: set[str] = set()
        self.done: set[str] = set()
        self.failed_ids: set[str] = set()

    def finish(self, messages: Iterable[QueueMessage]) -> None:
        """Mark messages as done: SQS may delete them."""
        self.done.update(message.id for message in messages)

    def receive_again(self, messages: Iterable[QueueMessage]) -> None:
        """Mark messages for redelivery."""
        self.failed_ids.update(message.id for message in messages)

    def to_delete(self) -> list[str]:
        """Return the receipt handles of the messages that were done since the last call."""
        new = [one for one in self._messages if one.id in self.done - self._deleted]
        self._deleted.update(one.id for one in new)
        return [one.receipt_handle for one in new]

    @property
    def failed(self) -> list[str]:
        """The ids that the batch's response names, in order."""
        return [one.id for one in self._messages if one.id in self.failed_ids]


class Batches:
    """Handles the batches of a function's invocations.

    `clock` gives Unix seconds, `random` a number from 0 to 1.
    """

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
        """Handle a batch; return the ids of the messages that SQS must deliver again."""
        now_ms = to_ms(self._clock())
        oldest_ms = min(
            (message.arrived_at_ms for message in messages if not message.held_back),
            default=now_ms,
        )
        self._telemetry.record_time(OLDEST_EVENT_AGE, max(0, now_ms - oldest_ms))
        progress = _Progress(messages)
        suspects = [one for one in messages if one.receive_count > MOST_RECEIVES or one.suspicions]
        if suspects:
            self._telemetry.count("SuspectMessages", len(suspects))
            suspects = self._separate_suspects(suspects, progress)
        alone = {one.id for one in suspects} | progress.done | progress.failed_ids
        others = [one for one in messages if one.id not in alone]
        if suspects and self._random() > 1 - SUSPECTS_FIRST:
            self._put_back(others, progress, delay=False)
        else:
            self._dispatch(others, progress, remaining_seconds)
        while suspects:
            if remaining_seconds() < SECONDS_FOR_ONE_MESSAGE or not self._deleted(progress):
                self._put_back(suspects, progress)
                break
            self._dispatch([suspects.pop(0)], progress, remaining_seconds)
        return progress.failed

    def _separate_suspects(
        self, suspects: Sequence[QueueMessage], progress: _Progress
    ) -> list[QueueMessage]:
        """Return the suspects to handle here, in order, after sending the others again.

        A single suspicion is usually no fault of the message: such suspects are handled one after
        the other. Of the suspects with more, only one is handled here, so that none can add to
        another's suspicions.
        """
        raised = [one for one in suspects if one.receive_count > MOST_RECEIVES]
        self._raise_suspicions(raised, progress)
        # Suspects that could not be sent again are handled here too, after the others.
        stuck = [one for one in raised if one.id not in progress.done]
        fresh = sorted(
            (one for one in suspects if one.receive_count <= MOST_RECEIVES),
            key=lambda one: one.suspicions,
        )
        firsts = [one for one in fresh if one.suspicions == 1]
        repeated = [one for one in fresh if one.suspicions > 1]
        self._put_back(repeated[1:], progress)
        return firsts + repeated[:1] + stuck

    def _raise_suspicions(self, suspects: Sequence[QueueMessage], progress: _Progress) -> None:
        raised = [one._replace(suspicions=one.suspicions + 1) for one in suspects]
        killed = [one for one in raised if one.suspicions >= MOST_SUSPICIONS]
        self._dead_letter(killed, "killed", "ended its dispatcher each time", progress)
        self._send([one for one in raised if one.suspicions < MOST_SUSPICIONS], progress)

    def _put_back(
        self, messages: Sequence[QueueMessage], progress: _Progress, *, delay: bool = True
    ) -> None:
        """Send messages again unchanged; leave refused messages to SQS's redelivery."""
        self._send(messages, progress, delay=delay)
        progress.receive_again(one for one in messages if one.id not in progress.done)

    def _dispatch(
        self,
        messages: Sequence[QueueMessage],
        progress: _Progress,
        remaining_seconds: Callable[[], float],
    ) -> None:
        """Dispatch messages; send failed ones again, or leave them to SQS's redelivery."""
        if not messages:
            return
        failed_ids = set(self._dispatcher.dispatch(messages, remaining_seconds))
        progress.finish(one for one in messages if one.id not in failed_ids)
        # The dispatcher has returned, so they did not end it: no suspicion stays.
        failed = [
            one._replace(tries=one.tries + 1, suspicions=0)
            for one in messages
            if one.id in failed_ids
        ]
        if remaining_seconds() >= SECONDS_FOR_SENDING:
            now_ms = to_ms(self._clock())
            given_up = [
                one
                for one in failed
                if gives_up(arrived_at_ms=one.arrived_at_ms, tries=one.tries, now_ms=now_ms)
            ]
            self._dead_letter(
                given_up, "gave_up", "failed through a fault of ours for days", progress
            )
            given_up_ids = {one.id for one in given_up}
            self._send([one for one in failed if one.id not in given_up_ids], progress)
        progress.receive_again(one for one in failed if one.id not in progress.done)

    def _send(
        self, messages: Sequence[QueueMessage], progress: _Progress, *, delay: bool = True
    ) -> None:
        """Send messages again as new ones; mark the messages that the queue took as done."""
        if not messages:
            return
        again = [self._again(message) for message in messages]
        if not delay:
            again = [one._replace(delay_seconds=0) for one in again]
        not_taken = set(self._queue.put(again))
        taken = [one for place, one in enumerate(messages) if place not in not_taken]
        if taken:
            self._telemetry.count("ResentMessages", len(taken))
        progress.finish(taken)

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
        self, messages: Sequence[QueueMessage], reason: str, detail: str, progress: _Progress
    ) -> None:
        rejects = [
            RejectedMessage(one.id, one.body, reason, detail, one.group, one.arrived_at_ms)
            for one in messages
        ]
        refused = reject(self._rejected, self._telemetry, rejects)
        progress.finish(one for one in messages if one.id not in refused)

    def _deleted(self, progress: _Progress) -> bool:
        """Delete messages that are done, so that no suspect revives them; False if that failed."""
        handles = progress.to_delete()
        if not handles:
            return True
        try:
            self._received.delete(handles)
        except UnavailableError as error:
            log_failure(self._telemetry, "messages_not_deleted", error)
            return False
        return True
