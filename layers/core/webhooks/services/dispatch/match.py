"""The tasks of a batch: matches its events with webhooks, and finds existing deliveries."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Delivery
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.shard import MOST_AT_ONCE
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.domain.webhook import wanting
from webhooks.services.concurrency import NoTimeLeftError
from webhooks.services.dispatch.fan_out import FanOut
from webhooks.services.dispatch.messages import DeliveryTask
from webhooks.services.dispatch.unwanted import Cause, report_unwanted
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.domain.event import Event
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination
    from webhooks.ports import DeliveryStore, DestinationStore, Telemetry
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.fan_out import Match
    from webhooks.services.dispatch.messages import ReceivedEvent

_READ_AT_ONCE = 100
"""Records in one read: as many as one request takes."""


class Matcher:
    """Matches events with webhooks; `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        destinations: DestinationStore,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._destinations = destinations
        self._deliveries = deliveries
        self._telemetry = telemetry
        self._clock = clock

    def tasks(self, events: Sequence[ReceivedEvent], batch: Batch) -> list[DeliveryTask]:
        """Return the deliveries of events with their records, in turns by account.

        A message of more than `MOST_AT_ONCE` deliveries goes back to the queue in parts.
        """
        matches = self._matches(events, batch)
        deliveries: Counter[str] = Counter()
        for received, matching in matches:
            deliveries[received.message.id] += len(matching)
        if max(deliveries.values(), default=0) > MOST_AT_ONCE:
            matches = FanOut(batch).undivided(matches, deliveries)
        tasks: dict[DeliveryKey, DeliveryTask] = {}
        now_ms = int(self._clock() * MILLISECONDS)
        for received, matching in matches:
            for destination in matching:
                delivery = Delivery.of(received.event, destination.webhook.id, now_ms)
                again = DeliveryTask(received, destination, delivery, delivery.key)
                task = tasks.setdefault(again.key, again)
                task.message_ids.add(received.message.id)
                # The same delivery twice is one task.
                if task is not again:
                    report_conflict(self._telemetry, task.delivery, again.delivery)
        return self._with_records(_in_turns(tasks.values()), batch)

    def _matches(self, events: Iterable[ReceivedEvent], batch: Batch) -> list[Match]:
        groups: defaultdict[tuple[str, Shard | None], list[ReceivedEvent]] = defaultdict(list)
        for received in events:
            groups[received.event.account_id, received.shard].append(received)
        turns = in_turns(groups, lambda group: group[0]) if len(groups) > 1 else list(groups)
        reads = [partial(self._destinations.destinations, *group) for group in turns]
        queries = batch.deadline.begin_reads(batch.threads.attempts, reads)
        matches: list[Match] = []
        unwanted: list[tuple[Event, Cause]] = []
        for group, query in zip(turns, queries, strict=True):
            error = query.exception()
            if isinstance(error, NoTimeLeftError):
                batch.leftovers.add_events(groups[group])
            elif error is not None:
                # Bugs included: an unreadable record affects one account only.
                batch.fail((received.message.id for received in groups[group]), error)
            else:
                destinations = query.result()
                for received in groups[group]:
                    matching = wanting(destinations, received.event.type, received.webhook_ids)
                    matches.append((received, matching))
                    # A part is for some of the webhooks only: others have the event.
                    if not matching and received.shard is None and received.webhook_ids is None:
                        unwanted.append((received.event, _cause(destinations)))
        if unwanted:
            report_unwanted(self._telemetry, unwanted)
        return matches

    def _with_records(self, tasks: list[DeliveryTask], batch: Batch) -> list[DeliveryTask]:
        """Give tasks their records; leave out the tasks whose records cannot be read."""
        chunks = [
            tasks[start : start + _READ_AT_ONCE] for start in range(0, len(tasks), _READ_AT_ONCE)
        ]
        reads = [
            partial(self._deliveries.get_many, [task.key for task in chunk]) for chunk in chunks
        ]
        queries = batch.deadline.begin_reads(batch.threads.attempts, reads)
        read: list[DeliveryTask] = []
        for chunk, query in zip(chunks, queries, strict=True):
            error = query.exception()
            existing = {} if error else query.result()
            for task in chunk:
                task.stored = existing.get(task.key)
                if isinstance(error, NoTimeLeftError):
                    batch.leftovers.add_unread(task)
                elif error is not None:
                    batch.fail(task.message_ids, error)
                elif task.key in existing and task.stored is None:
                    # It may have arrived, so it is not sent; the others are.
                    batch.fail(task.message_ids, UnreadableRecordError(task.key))
                else:
                    read.append(task)
        return read


def _in_turns(tasks: Collection[DeliveryTask]) -> list[DeliveryTask]:
    """Return deliveries in turns by account and, within an account, by webhook."""
    if len(tasks) < 2:
        return list(tasks)
    return in_turns(tasks, attrgetter("key.account_id"), attrgetter("key.webhook_id"))


def report_conflict(telemetry: Telemetry, first: Delivery, again: Delivery) -> None:
    """Report two bodies under one event's id: the first wins. An erased body is no conflict."""
    if first.body != again.body and not first.erased:
        telemetry.count("Conflicts")
        telemetry.log("warning", "event_conflict", **first.key._asdict(), event_id=first.event_id)


def _cause(destinations: Sequence[Destination]) -> Cause:
    """Return why no webhook of an account is sent an event."""
    return Cause.NO_MATCHING_WEBHOOK if destinations else Cause.NO_SUCH_ACCOUNT
