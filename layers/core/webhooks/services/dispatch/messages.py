"""The shapes of an event on its way through the dispatcher.

An SQS record is a `QueueMessage`. The read step makes `ReceivedEvent`s from it. Each event becomes
a `DeliveryTask` for each webhook that it matches. The deliver step makes the task's `Delivery`, and
the record step writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.domain.event import Event
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination


class QueueMessage(NamedTuple):
    """A message of the events queue.

    `arrived_at_ms` is when SQS took it, or took the first of the messages that it was made from. Of
    those messages, `tries` failed through a fault of ours, and `suspicions` may have ended their
    dispatcher. `receive_count` includes receives whose batch no dispatcher ever saw. With `delays`
    its parts are events that must still be counted towards their account's limit; with `paced` they
    are deliveries that a host's line held back (see `domain.resending`).
    """

    id: str
    body: str
    arrived_at_ms: int
    group: str | None = None
    receive_count: int = 1
    tries: int = 0
    suspicions: int = 0
    receipt_handle: str = ""
    delays: int = 0
    paced: int = 0

    @property
    def held_back(self) -> bool:
        """True if a limit delayed the message: then its age says nothing about the stack."""
        return bool(self.delays or self.paced)


class ReceivedEvent(NamedTuple):
    """An event and its message; with a `shard`, only for the webhooks of that shard.

    With `webhook_ids`, only for these webhooks of the shard. `arrived_at_ms` is when SQS took the
    event; for a part, that is before its own message. `place` is the event's index in the message's
    array. An `admitted` event was counted towards its account's limit in an earlier message.
    """

    message: QueueMessage
    event: Event
    arrived_at_ms: int
    shard: Shard | None = None
    webhook_ids: tuple[str, ...] | None = None
    place: int = 0
    admitted: bool = False


@dataclass(slots=True)
class DeliveryTask:
    """A delivery to attempt, its first event, and its record if it has one.

    The messages of `message_ids` are done only when the task is.
    """

    received: ReceivedEvent
    destination: Destination
    delivery: Delivery
    key: DeliveryKey
    message_ids: set[str] = field(default_factory=set)
    stored: Delivery | None = None


class Delivered(NamedTuple):
    """A finished task: its delivery, None if recorded before or not begun, or its error."""

    task: DeliveryTask
    delivery: Delivery | None = None
    error: BaseException | None = None
