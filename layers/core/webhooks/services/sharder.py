"""Puts an event that matches many webhooks back on the queue, in shards."""

from __future__ import annotations

from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.resending import Outgoing
from webhooks.domain.shard import MOST_AT_ONCE, SHARD_WEBHOOKS, Part, divide, to_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor, Future

    from webhooks.domain.event import Event
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination
    from webhooks.ports import EventQueue, Observer
    from webhooks.services.reader import Failures, Read


@dataclass(slots=True)
class _Wide:
    """An event whose shards are being sent, and the messages that are done only when they are."""

    event: Event
    sending: list[Future[Sequence[int]]]
    message_ids: set[str] = field(default_factory=set)


class Sharding:
    """The wide events of one batch.

    A shard is on the queue before the message that it came of is done. That message again, after a
    crash, makes shards again, whose deliveries are found recorded as those of any repeat are.
    """

    def __init__(self, queue: EventQueue, observer: Observer, threads: Executor) -> None:
        """Send in `threads`, ten shards to a request."""
        self._queue = queue
        self._observer = observer
        self._threads = threads
        self._wide: dict[tuple[str, str, int], _Wide] = {}

    def take(self, read: Read, matching: Sequence[Destination]) -> bool:
        """Begin to send an event's shards, where it is wide; a second copy waits for the same ones.

        False where the event is to be attempted here: a shard always is, however many webhooks it
        has by now.
        """
        if read.shard is not None or len(matching) <= MOST_AT_ONCE:
            return False
        event = read.event
        key = event.account_id, event.id, event.occurred_at_ms
        wide = self._wide.get(key)
        if wide is None:
            wide = self._wide[key] = _Wide(event, list(self._send(read, matching)))
        elif wide.event.body != event.body:
            self._observer.count("Conflicts")
            self._observer.log(
                "warning", "event_conflict", account_id=event.account_id, event_id=event.id
            )
        wide.message_ids.add(read.message.id)
        return True

    def finish(self, failures: Failures) -> None:
        """Wait for the queue; a message of which a shard was not taken is received again."""
        for wide in self._wide.values():
            wait(wide.sending)
            errors = [error for sending in wide.sending if (error := sending.exception())]
            if errors:
                failures.add(wide.message_ids, errors[0])
            elif any(sending.result() for sending in wide.sending):
                failures.add(
                    wide.message_ids, UnavailableError("the events queue took not every shard")
                )

    def _send(self, read: Read, matching: Sequence[Destination]) -> Iterator[Future[Sequence[int]]]:
        shards = divide([destination.webhook.id for destination in matching])
        self._observer.count("Shards", len(shards))
        for start in range(0, len(shards), _AT_ONCE):
            yield self._threads.submit(self._put, read, shards[start : start + _AT_ONCE])

    def _put(self, read: Read, shards: Sequence[Shard]) -> Sequence[int]:
        # Made here: all the messages of a batch's widest events would not fit in the memory.
        account_id, arrived_at_ms = read.event.account_id, read.arrived_at_ms
        texts = (to_message(Part(read.event, one, arrived_at_ms)) for one in shards)
        return self._queue.put(
            [Outgoing(text, account_id, arrived_at_ms=arrived_at_ms) for text in texts]
        )


_AT_ONCE = MOST_AT_ONCE // SHARD_WEBHOOKS
"""Messages of a request to the queue, which takes ten: several requests are under way at once."""
