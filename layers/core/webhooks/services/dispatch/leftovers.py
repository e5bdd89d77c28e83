"""Leftovers: the events and deliveries that go back to the queue, without their whole messages."""

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
"""How long the queue keeps unread work: reads are slow, or too many at once."""

HELD_DELAY_SECONDS = 15
"""How long the queue keeps a copy of an event that another dispatcher holds: an attempt of five
seconds, a second one during a secret's rotation, and the calls that record them. Then its records
are found, or the copy is delivered."""

_UNCOUNTED = 1
"""The `delays` of a part that must be counted when it comes, although no limit delayed it."""


@dataclass(slots=True)
class _Left:
    """The leftovers of one message for one account, and the messages that wait for them."""

    source: QueueMessage
    delay_seconds: int
    delays: int = 0
    paced: int = 0
    message_ids: set[str] = field(default_factory=set)
    events: list[ReceivedEvent] = field(default_factory=list)
    webhooks: dict[int, tuple[ReceivedEvent, list[str]]] = field(default_factory=dict)


class Leftovers:
    """The leftovers of one batch.

    Running out of time is no failure: the message is done once its leftovers are on the queue.
    """

    def __init__(self, requeue: Requeue, telemetry: Telemetry) -> None:
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
        """Send a delivery again after a delay, `HAS_TURN` at its host or `ASKED` for one.

        It is not counted as postponed, since no time was short.
        """
        left = self._of(task.received, delay_seconds, paced=paced)
        left.message_ids |= task.message_ids
        _, webhook_ids = left.webhooks.setdefault(id(task.received), (task.received, []))
        webhook_ids.append(task.key.webhook_id)

    def add_over_limit(self, received: ReceivedEvent, delay_seconds: int) -> None:
        """Send an event above its account's limit again, to be counted then."""
        left = self._of(received, delay_seconds, delays=received.message.delays + 1)
        left.message_ids.add(received.message.id)
        left.events.append(received)

    def add_events(self, events: Iterable[ReceivedEvent]) -> None:
        """Postpone events whose webhooks were not read."""
        self._add_events(events, UNREAD_DELAY_SECONDS)

    def add_held(self, events: Iterable[ReceivedEvent]) -> None:
        """Postpone copies of events that another dispatcher may be delivering.

        They are not counted towards their account's limit yet, so they come back as if a limit had
        delayed them: the first copy may be above it.
        """
        self._add_events(events, HELD_DELAY_SECONDS, delays=_UNCOUNTED)

    def _add_events(
        self, events: Iterable[ReceivedEvent], delay_seconds: int, delays: int = 0
    ) -> None:
        for received in events:
            left = self._of(received, delay_seconds, delays=delays)
            left.message_ids.add(received.message.id)
            left.events.append(received)
            self._messages.add(received.message.id)
            self._events += 1

    def add_texts(
        self, message: QueueMessage, texts: Sequence[str], group: str | None, *, events: int = 1
    ) -> None:
        """Postpone a message, or documents of it, before any of its events is settled."""
        self._requeue.send_texts(message, texts, group, UNREAD_DELAY_SECONDS)
        self._messages.add(message.id)
        self._events += events

    def send(self) -> None:
        """Begin to send the leftovers that were added since the last call."""
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
        """Count and log the postponed work once; nothing if there is none."""
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
    for received in left.events:
        # Its number of deliveries is unknown: the next dispatcher divides it if it must.
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
