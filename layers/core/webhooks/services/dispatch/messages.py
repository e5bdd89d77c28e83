"""The shapes that an event has on its way through the dispatcher.

An SQS record is a `QueueMessage`. The read step makes `ReceivedEvent`s of it, each of which is a
`DeliveryTask` for each webhook that it matches. The deliver step makes a task's `Delivery`, which
the record step writes.
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

    `arrived_at_ms` is when SQS took it, or the first of the messages that it was made of: `tries`
    of those failed through a fault of ours, `suspicions` of them may have ended their dispatcher.
    `receive_count` counts receives, also those whose batch no dispatcher ever saw. With `delays`
    its parts are events that are still to be counted towards their account's limit, and with
    `paced` deliveries that a host's line held back (see `domain.resending`).
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
        """True if a limit delayed the message: its age then says nothing of the stack."""
        return bool(self.delays or self.paced)


class ReceivedEvent(NamedTuple):
    """An event and its message; with a `shard`, for the webhooks of that shard only.

    With `webhook_ids`, for these of the shard alone. `arrived_at_ms` is when SQS took the event,
    which for a part is before its own message. `place` is the event's index in the message's
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
    """A delivery to attempt, the first event that it is of, and its record if it has one.

    The messages of `message_ids` are done only when the task is.
    """

    received: ReceivedEvent
    destination: Destination
    delivery: Delivery
    key: DeliveryKey
    message_ids: set[str] = field(default_factory=set)
    stored: Delivery | None = None


class Delivered(NamedTuple):
    """A task at its end: its delivery, None if it was recorded before or not begun, or an error."""

    task: DeliveryTask
    delivery: Delivery | None = None
    error: BaseException | None = None
