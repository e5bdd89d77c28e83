"""What an invocation had no time for goes back to the queue, and nothing else of its messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.shard import ALL, MOST_AT_ONCE, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from webhooks.ports import Telemetry
    from webhooks.services.dispatch.messages import DeliveryTask, QueueMessage, ReceivedEvent
    from webhooks.services.dispatch.requeue import Requeue

UNREAD_DELAY_SECONDS = 5
"""How long the queue keeps what was not read: reads are slow, or too many at once."""

HELD_DELAY_SECONDS = 15
"""How long the queue keeps a copy of an event that another dispatcher holds: an attempt of five
seconds, a second one during a secret's rotation, and what records them. Then its records are found,
or the copy is delivered where they are not."""

_UNCOUNTED = 1
"""The delays of a part that is to be counted when it comes, though no limit delayed it."""


@dataclass(slots=True)
class _Left:
    """What is left of one message for one account, and the messages that wait for it."""

    source: QueueMessage
    delay_seconds: int
    delays: int = 0
    paced: int = 0
    message_ids: set[str] = field(default_factory=set)
    reads: list[ReceivedEvent] = field(default_factory=list)
    webhooks: dict[int, tuple[ReceivedEvent, list[str]]] = field(default_factory=dict)


class Leftovers:
    """The leftovers of one batch.

    To run out of time is nobody's failure: the message is done once its leftover is on the queue.
    """

    def __init__(self, requeue: Requeue, telemetry: Telemetry) -> None:
        """Send through `requeue`."""
        self._requeue = requeue
        self._telemetry = telemetry
        self._left: dict[tuple[str, str, int, int, int], _Left] = {}
        self._deliveries = 0
        self._events = 0
        self._messages: set[str] = set()

    def add(self, task: DeliveryTask, delay_seconds: int = 0) -> None:
        """Postpone a delivery that was not begun."""
        left = self._of(task.received, delay_seconds)
        left.message_ids |= task.message_ids
        _, webhook_ids = left.webhooks.setdefault(id(task.received), (task.received, []))
        webhook_ids.append(task.key.webhook_id)
        self._messages.add(task.received.message.id)
        self._deliveries += 1

    def add_unread(self, task: DeliveryTask) -> None:
        """Postpone a delivery whose record was not read."""
        self.add(task, UNREAD_DELAY_SECONDS)

    def add_in_turn(self, task: DeliveryTask, delay_seconds: int, paced: int) -> None:
        """Have a delivery come again after a delay, `HAS_TURN` at its host or `ASKED` for one.

        It is not counted as postponed, since no time was short.
        """
        left = self._of(task.received, delay_seconds, paced=paced)
        left.message_ids |= task.message_ids
        _, webhook_ids = left.webhooks.setdefault(id(task.received), (task.received, []))
        webhook_ids.append(task.key.webhook_id)

    def add_over_limit(self, received: ReceivedEvent, delay_seconds: int) -> None:
        """Have an event that is above its account's limit come again, to be counted then."""
        left = self._of(received, delay_seconds, delays=received.message.delays + 1)
        left.message_ids.add(received.message.id)
        left.reads.append(received)

    def add_events(self, reads: Iterable[ReceivedEvent]) -> None:
        """Postpone events whose webhooks were not read."""
        self._add_events(reads, UNREAD_DELAY_SECONDS)

    def add_held(self, reads: Iterable[ReceivedEvent]) -> None:
        """Postpone copies of events that another dispatcher may be delivering.

        They are not counted towards their account's limit yet, so they come as what a limit
        delayed: the first copy may be above it.
        """
        self._add_events(reads, HELD_DELAY_SECONDS, delays=_UNCOUNTED)

    def _add_events(
        self, reads: Iterable[ReceivedEvent], delay_seconds: int, delays: int = 0
    ) -> None:
        for received in reads:
            left = self._of(received, delay_seconds, delays=delays)
            left.message_ids.add(received.message.id)
            left.reads.append(received)
            self._messages.add(received.message.id)
            self._events += 1

    def add_texts(
        self, message: QueueMessage, texts: Sequence[str], group: str | None, *, events: int = 1
    ) -> None:
        """Postpone documents of a message of which nothing is settled, or all of it."""
        self._requeue.send_texts(message, texts, group, UNREAD_DELAY_SECONDS)
        self._messages.add(message.id)
        self._events += events

    def send(self) -> None:
        """Begin to send what was added since the last time."""
        left, self._left = self._left, {}
        for one in left.values():
            self._requeue.send_parts(
                one.source,
                one.message_ids,
                list(_parts(one)),
                most_deliveries=MOST_AT_ONCE,
                delay_seconds=one.delay_seconds,
                delays=one.delays,
                paced=one.paced,
            )

    def report(self) -> None:
        """Count and log, once, what was postponed; nothing where nothing was."""
        if not (self._deliveries or self._events):
            return
        self._telemetry.count("PostponedDeliveries", self._deliveries)
        self._telemetry.count("PostponedEvents", self._events)
        self._telemetry.log(
            "info",
            "postponed",
            deliveries=self._deliveries,
            events=self._events,
            messages=len(self._messages),
        )

    def _of(
        self, received: ReceivedEvent, delay_seconds: int, *, delays: int = 0, paced: int = 0
    ) -> _Left:
        key = received.message.id, received.event.account_id, delay_seconds, delays, paced
        return self._left.setdefault(key, _Left(received.message, delay_seconds, delays, paced))


def _parts(left: _Left) -> Iterator[tuple[Part, int]]:
    for received in left.reads:
        # Of how many deliveries is not known: the next dispatcher divides it where it has to.
        yield (
            Part(
                received.event, received.shard or ALL, received.arrived_at_ms, received.webhook_ids
            ),
            1,
        )
    for received, webhook_ids in left.webhooks.values():
        for start in range(0, len(webhook_ids), MOST_AT_ONCE):
            ids = webhook_ids[start : start + MOST_AT_ONCE]
            yield Part.naming(received.event, ids, received.arrived_at_ms), len(ids)
