"""A batch of messages: its time, its failed messages, and the ways back to the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.services.dispatch.leftovers import Leftovers
from webhooks.services.dispatch.rejecting import log_rejected
from webhooks.services.dispatch.requeue import Requeue
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from webhooks.domain.ingest import RejectedMessage
    from webhooks.ports import EventQueue, RejectedMessages, Telemetry
    from webhooks.services.concurrency import Deadline
    from webhooks.services.dispatch.messages import QueueMessage


@dataclass
class Threads:
    """The threads of a dispatcher, kept between invocations.

    `attempts` make reads and attempts. `senders` make the queue's requests. `followers` report
    health and start retries. Senders and followers never wait for an attempt, and no retry waits
    for the parts of a large message.
    """

    attempts: Executor
    senders: Executor
    followers: Executor


@dataclass
class Batch:
    """The state of a batch that its steps share.

    `failed_ids` are the ids of the messages that SQS delivers again.
    """

    messages: Sequence[QueueMessage]
    deadline: Deadline
    queue: EventQueue
    rejected: RejectedMessages
    telemetry: Telemetry
    threads: Threads
    failed_ids: set[str] = field(default_factory=set)
    has_leftovers: bool = False

    @cached_property
    def requeue(self) -> Requeue:
        """The messages that this batch puts on the queue."""
        return Requeue(self.queue, self.telemetry, self.deadline, self.threads.senders)

    @cached_property
    def leftovers(self) -> Leftovers:
        """The events and deliveries that must wait: time is short, or a limit delays them."""
        self.has_leftovers = True
        return Leftovers(self.requeue, self.telemetry)

    def fail(self, message_ids: Iterable[str], error: BaseException) -> None:
        """Mark messages for redelivery and log the reason."""
        ids = sorted(message_ids)
        self.failed_ids.update(ids)
        log_failure(self.telemetry, "message_failed", error, message_ids=ids)

    def reject(self, messages: Sequence[RejectedMessage]) -> None:
        """Begin to dead-letter messages; a message that the queue does not take fails."""
        log_rejected(self.telemetry, messages)
        for one in messages:
            self.requeue.call({one.message_id}, partial(self._put_rejected, one))

    def finish(self) -> list[str]:
        """Wait for the queue; return the ids of the messages that SQS delivers again."""
        if self.has_leftovers:
            self.leftovers.send()
        if "requeue" in self.__dict__:
            for message_ids, error in self.requeue.finish():
                self.fail(message_ids, error)
        if self.has_leftovers:
            self.leftovers.report()
        self.telemetry.count("Messages", len(self.messages))
        self.telemetry.count("FailedMessages", len(self.failed_ids))
        return [message.id for message in self.messages if message.id in self.failed_ids]

    def _put_rejected(self, message: RejectedMessage) -> None:
        if self.rejected.put([message]):
            msg = "the events dead-letter queue did not take it"
            raise UnavailableError(msg)
