"""Gives messages without a group their account's group if the account floods the queue.

SQS treats each message without a group as a tenant of its own ("How Amazon SQS fair queues work" in
its developer guide). Therefore a flood of such messages is never noisy, and delays all other
accounts. Records of Amazon SES come without a group, and so do events of producers that set none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from webhooks.domain.shard import ALL, MOST_AT_ONCE, Part, to_messages
from webhooks.services.dispatch.requeue import empty_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from webhooks.domain.resending import Outgoing
    from webhooks.ports import Telemetry
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import ReceivedEvent

MOST_UNGROUPED = 30
"""Messages without a group that a process delivers for an account in a minute.

A group with fewer messages in flight is not noisy by their number (see the same page of SQS)."""

_SECONDS = 60


class FairQueueing:
    """Counts an account's messages without a group; kept between invocations.

    The count is this process's own and costs no write. The first messages of a flood are delivered
    by each process until its own count is full: `MOST_UNGROUPED` times the number of processes.
    `clock` gives Unix seconds.
    """

    def __init__(self, *, telemetry: Telemetry, clock: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._minute = 0
        self._counts: Counter[str] = Counter()
        self._flooding: set[str] = set()
        self._logged: set[str] = set()

    def ungrouped(self, events: Sequence[ReceivedEvent], batch: Batch) -> list[ReceivedEvent]:
        """Return the events to deliver now; the others are on the queue again, in a group.

        A message goes back once: it returns as parts, which are never sent back here. Events that
        the queue does not take are delivered now.
        """
        self._begin_minute()
        floods = self._floods(events)
        if not floods:
            return list(events)
        sent = self._send(floods, batch)
        return [received for received in events if id(received) not in sent]

    def _begin_minute(self) -> None:
        """Count anew in each minute. An account that flooded the last one is still flooding."""
        minute = int(self._clock() // _SECONDS)
        if minute == self._minute:
            return
        follows = minute == self._minute + 1
        self._flooding = {one for one in self._counts if self._is_over(one)} if follows else set()
        self._minute = minute
        self._counts.clear()
        self._logged.clear()

    def _is_over(self, account_id: str) -> bool:
        return self._counts[account_id] > MOST_UNGROUPED

    def _floods(self, events: Iterable[ReceivedEvent]) -> list[list[ReceivedEvent]]:
        """Return the events to send back: each list has those of one message and account."""
        messages: defaultdict[tuple[str, str], list[ReceivedEvent]] = defaultdict(list)
        for received in events:
            if received.message.group is None and not _is_of_part(received):
                messages[received.message.id, received.event.account_id].append(received)
        floods: list[list[ReceivedEvent]] = []
        for (_, account_id), some in messages.items():
            self._counts[account_id] += 1
            if account_id in self._flooding or self._is_over(account_id):
                floods.append(some)
        return floods

    def _send(self, floods: Sequence[Sequence[ReceivedEvent]], batch: Batch) -> set[int]:
        """Put events on the queue; returns the ids of the objects that it took."""
        chunks: list[Sequence[ReceivedEvent]] = []

        def messages() -> Iterator[Outgoing]:
            for events in floods:
                source, account_id = events[0].message, events[0].event.account_id
                # This dispatcher got this far: the message is not suspected of ending one.
                again = empty_copy(source)._replace(group=account_id, suspicions=0)
                begin = 0
                for text, count in to_messages(map(_counted, events), lambda: MOST_AT_ONCE):
                    chunks.append(events[begin : begin + count])
                    begin += count
                    yield again._replace(body=text)

        taken = batch.requeue.put(messages())
        sent = {id(received) for place in taken for received in chunks[place]}
        self._telemetry.count("GroupedMessages", len(taken))
        self._log_once_a_minute(events[0].event.account_id for events in floods)
        if len(sent) < sum(map(len, floods)):
            # The queue refuses them. Counting from zero spares the next batches a wait for it.
            self._counts.clear()
            self._flooding.clear()
        return sent

    def _log_once_a_minute(self, account_ids: Iterable[str]) -> None:
        """Log each account, once a minute in each process."""
        for account_id in dict.fromkeys(account_ids):
            if account_id not in self._logged:
                self._logged.add(account_id)
                self._telemetry.log("info", "messages_grouped", account_id=account_id)


def _counted(received: ReceivedEvent) -> tuple[Part, int]:
    """Return an event as a part for all webhooks, counted as one."""
    return Part(received.event, ALL, received.arrived_at_ms), 1


def _is_of_part(received: ReceivedEvent) -> bool:
    """True if a dispatcher put the message on the queue: then it has its account's group."""
    return received.admitted or received.message.delays > 0
