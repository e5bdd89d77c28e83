"""Divides a message of many deliveries into parts, and puts these back on the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.shard import ALL, MOST_AT_ONCE, SHARD_WEBHOOKS, Part, divide

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from webhooks.domain.event import Event
    from webhooks.domain.webhook import Destination
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import QueueMessage, ReceivedEvent

    Match = tuple[ReceivedEvent, Sequence[Destination]]


@dataclass(slots=True)
class _Divided:
    """One account's parts of a message, and the messages that are done once they are sent."""

    source: QueueMessage
    parts: list[tuple[Part, int]] = field(default_factory=list)
    message_ids: set[str] = field(default_factory=set)


class FanOut:
    """The messages of one batch that are divided.

    Every part is on the queue before its message is done. A message that comes back after a crash
    is divided again, and its deliveries are found recorded, like those of any repeat. Messages
    cannot multiply without end, since each part is smaller than its message.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._divided: dict[tuple[str, str], _Divided] = {}
        self._taken: dict[object, tuple[Event, _Divided]] = {}

    def undivided(self, matches: Sequence[Match], deliveries: Counter[str]) -> list[Match]:
        """Begin to send the parts of large messages; returns the events of all others.

        `matches` are the batch's events, each with its webhooks; `deliveries` counts these for
        each message.
        """
        others: list[Match] = []
        for received, matching in matches:
            if deliveries[received.message.id] <= MOST_AT_ONCE:
                others.append((received, matching))
            elif matching:
                self._take(received, matching)
        for one in self._divided.values():
            self._batch.requeue.send_parts(
                one.source,
                one.message_ids,
                one.parts,
                most_deliveries=SHARD_WEBHOOKS,
                metric="Shards",
            )
        return others

    def _take(self, received: ReceivedEvent, matching: Sequence[Destination]) -> None:
        """Divide an event; a second copy waits for the first one's parts."""
        event = received.event
        key = event.account_id, event.id, event.occurred_at_ms, received.shard, received.webhook_ids
        first, divided = self._taken.get(key, (None, None))
        if first is None or divided is None:
            owner = received.message.id, event.account_id
            divided = self._divided.setdefault(owner, _Divided(received.message))
            self._taken[key] = event, divided
            divided.parts += _parts(received, [one.webhook.id for one in matching])
        elif first.body != event.body:
            self._batch.telemetry.count("Conflicts")
            self._batch.telemetry.log(
                "warning", "event_conflict", account_id=event.account_id, event_id=event.id
            )
        divided.message_ids.add(received.message.id)


def _parts(received: ReceivedEvent, webhook_ids: Sequence[str]) -> Iterator[tuple[Part, int]]:
    """Yield an event's parts, each with its number of webhooks."""
    event, arrived_at_ms = received.event, received.arrived_at_ms
    chunks = [
        webhook_ids[start : start + SHARD_WEBHOOKS]
        for start in range(0, len(webhook_ids), SHARD_WEBHOOKS)
    ]
    if received.webhook_ids is None:
        shards = divide(webhook_ids, received.shard or ALL)
        for shard, chunk in zip(shards, chunks, strict=True):
            yield Part(event, shard, arrived_at_ms), len(chunk)
    else:
        for chunk in chunks:
            yield Part.naming(event, chunk, arrived_at_ms), len(chunk)
