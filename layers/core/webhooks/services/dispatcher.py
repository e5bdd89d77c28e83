"""A batch of event messages: attempt each matching delivery once, record, hand failures on.

The order of the steps is what a crash cannot break: attempt, record, schedule, and only then is
the message done. Between the attempt and its record lies the one window in which a crash sends
the same delivery twice, with the same id and bytes.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Delivery, DeliveryKey, Status, delivery_id
from webhooks.domain.errors import UnavailableError, UnreadableRecordError
from webhooks.domain.health import Circuit
from webhooks.services.deliverer import LATENCY
from webhooks.services.health import is_news
from webhooks.services.reader import Failures, Reader
from webhooks.services.sharder import Sharding
from webhooks.services.together import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.delivery import Attempt
    from webhooks.domain.event import Event
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import (
        DeliveryStore,
        DestinationStore,
        EventQueue,
        Observer,
        RejectedMessages,
    )
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.health import HealthKeeper
    from webhooks.services.reader import Message, Read
    from webhooks.services.retries import Retries

SECONDS_FOR_ONE_ATTEMPT = 2 * 5.0 + 2 * 9.0
"""An attempt's 5 seconds, once more for a rotated secret, and the two calls that record a failure,
each at its slowest (see `adapters.aws`): with less left, none is begun."""

_FLUSH_SECONDS = 0.25
"""How long a success waits for others to be recorded with: what a crash may send twice."""

_MILLISECONDS = 1000


@dataclass(slots=True)
class _Work:
    """A delivery to attempt, and the messages that are done only when it is.

    `arrived_at_ms` is when SQS took the first of them.
    """

    destination: Destination
    delivery: Delivery
    arrived_at_ms: int
    message_ids: set[str] = field(default_factory=set)


class Dispatcher:
    """Handles batches of messages; kept between invocations, with its threads."""

    def __init__(
        self,
        *,
        destinations: DestinationStore,
        deliveries: DeliveryStore,
        deliverer: Deliverer,
        health: HealthKeeper,
        retries: Retries,
        queue: EventQueue,
        rejected: RejectedMessages,
        observer: Observer,
        ses_accounts: AccountChooser,
        clock: Callable[[], float],
        max_threads: int,
        ses_headers: Sequence[str] = (),
    ) -> None:
        """Attempt up to `max_threads` deliveries at once; `clock` gives Unix seconds.

        `ses_headers` are the names of the headers that go into the events of SES's records.
        """
        self._destinations = destinations
        self._deliveries = deliveries
        self._deliverer = deliverer
        self._health = health
        self._retries = retries
        self._queue = queue
        self._observer = observer
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="deliver")
        self._reader = Reader(
            deliveries=deliveries,
            rejected=rejected,
            observer=observer,
            ses_accounts=ses_accounts,
            ses_headers=ses_headers,
            threads=self._threads,
        )

    def dispatch(
        self, messages: Sequence[Message], remaining_seconds: Callable[[], float]
    ) -> list[str]:
        """Handle a batch; returns the ids of the messages to be received again.

        Those failed through our own side's fault, or did not fit in the time that
        `remaining_seconds` gives; a receiver's failure is never among them.
        """
        failures = Failures(self._observer)
        sharding = Sharding(self._queue, self._observer, self._threads)
        works = self._plan(self._reader.read(messages, failures), sharding, failures)
        works = self._without_existing(works, failures)
        self._attempt_all(works, failures, remaining_seconds)
        sharding.finish(failures)
        self._observer.count("Messages", len(messages))
        self._observer.count("FailedMessages", len(failures.ids))
        return [message.id for message in messages if message.id in failures.ids]

    def _plan(self, reads: Iterable[Read], sharding: Sharding, failures: Failures) -> list[_Work]:
        """Match events with their accounts' webhooks; the same delivery twice is one."""
        groups: defaultdict[tuple[str, Shard | None], list[Read]] = defaultdict(list)
        for read in reads:
            groups[read.event.account_id, read.shard].append(read)
        queries = begin(
            self._threads, lambda group: self._destinations.destinations(*group), list(groups)
        )
        works: dict[DeliveryKey, _Work] = {}
        now_ms = int(self._clock() * _MILLISECONDS)
        for group, query in zip(groups, queries, strict=True):
            error = query.exception()
            if error is not None:
                # A bug too: a record that cannot be read is one account's trouble.
                failures.add((read.message.id for read in groups[group]), error)
                continue
            destinations = query.result()
            for read in groups[group]:
                event = read.event
                matching = [one for one in destinations if one.webhook.wants(event.type)]
                if sharding.take(read, matching):
                    continue
                for destination in matching:
                    delivery = _delivery(event, destination, now_ms)
                    work = works.setdefault(
                        delivery.key, _Work(destination, delivery, read.arrived_at_ms)
                    )
                    work.message_ids.add(read.message.id)
                    self._compare(work.delivery, delivery)
        return list(works.values())

    def _compare(self, first: Delivery, again: Delivery) -> None:
        """Report two bodies under one event's id: the first wins. An erased one tells nothing."""
        if first.body != again.body and not first.erased:
            self._observer.count("Conflicts")
            self._observer.log(
                "warning", "event_conflict", **first.key._asdict(), event_id=first.event_id
            )

    def _without_existing(self, works: list[_Work], failures: Failures) -> list[_Work]:
        """Drop deliveries that were recorded before, seeing that each has what it needs."""
        if not works:
            return []
        try:
            existing = self._deliveries.get_many([work.delivery.key for work in works])
        except UnavailableError as error:
            for work in works:
                failures.add(work.message_ids, error)
            return []
        for work in works:
            stored = existing.get(work.delivery.key)
            if stored is not None:
                self._repeat(work, stored, failures)
            elif work.delivery.key in existing:
                # What became of it is not known, so it is not sent; the others of its batch are.
                failures.add(work.message_ids, UnreadableRecordError(work.delivery.key))
        return [work for work in works if work.delivery.key not in existing]

    def _repeat(self, work: _Work, stored: Delivery, failures: Failures) -> None:
        self._observer.count("Duplicates")
        self._compare(stored, work.delivery)
        try:
            # One that is marked is the sweep's. A short one may be started twice: its claim is not.
            if not stored.unstarted:
                self._schedule(stored)
            self._health.ensure_recovery(work.destination.webhook)
        except UnavailableError as error:
            failures.add(work.message_ids, error)

    def _attempt_all(
        self, works: list[_Work], failures: Failures, remaining_seconds: Callable[[], float]
    ) -> None:
        """Attempt concurrently; record successes in batches while slower ones go on."""
        attempts = begin(self._threads, lambda work: self._attempt(work, remaining_seconds), works)
        running = dict(zip(attempts, works, strict=True))
        finished: dict[Future[Delivery], _Work] = {}
        while running:
            done, _ = wait(running, timeout=_FLUSH_SECONDS)
            latest = {future: running.pop(future) for future in done}
            self._record_successes(latest, failures)
            finished |= latest
        self._report_health(finished, failures)

    def _report_health(
        self, finished: Mapping[Future[Delivery], _Work], failures: Failures
    ) -> None:
        """Report each webhook's attempts together: a batch changes its health once."""
        attempts: defaultdict[tuple[str, str], list[Attempt]] = defaultdict(list)
        webhooks: dict[tuple[str, str], Webhook] = {}
        for future, work in finished.items():
            owner = work.delivery.account_id, work.delivery.webhook_id
            webhooks[owner] = work.destination.webhook
            if future.exception() is None:
                attempts[owner] += future.result().attempts
        reports = begin(
            self._threads,
            lambda owner: self._health.report(webhooks[owner], attempts[owner]),
            [owner for owner, made in attempts.items() if is_news(webhooks[owner], made)],
        )
        for report in wait(reports).done:
            error = report.exception()
            if error is not None:
                # The deliveries are recorded all the same; a bug is not to pass unseen.
                failures.add((), error)

    def _attempt(self, work: _Work, remaining_seconds: Callable[[], float]) -> Delivery:
        """Attempt one delivery; one that fails is recorded and scheduled here, in its thread."""
        webhook = work.destination.webhook
        if not webhook.active:
            after = work.delivery.defer("webhook_disabled")
        elif webhook.health.circuit is Circuit.OPEN:
            after = work.delivery.defer("webhook_down")
        elif remaining_seconds() < SECONDS_FOR_ONE_ATTEMPT:
            msg = "no time left in this invocation"
            raise UnavailableError(msg)
        else:
            after = self._deliverer.attempt(work.destination, work.delivery)
        if after.status is Status.WAITING:
            self._observer.count("DeferredDeliveries")
        if after.status is not Status.SUCCEEDED:
            stored = self._deliveries.create(after)
            self._compare(stored, after)
            self._schedule(stored)
        return after

    def _schedule(self, delivery: Delivery) -> None:
        if delivery.status is Status.RETRYING:
            self._retries.start(delivery)

    def _record_successes(
        self, finished: Mapping[Future[Delivery], _Work], failures: Failures
    ) -> None:
        successes: list[Delivery] = []
        messages = {work.delivery.key: work.message_ids for work in finished.values()}
        for future, work in finished.items():
            error = future.exception()
            if error is not None:
                failures.add(work.message_ids, error)
            elif future.result().status is Status.SUCCEEDED:
                successes.append(future.result())
                last = future.result().attempts[-1]
                self._observer.measure(LATENCY, last.ended_after_ms(work.arrived_at_ms))
        if not successes:
            return
        for key in self._deliveries.put_settled(successes):
            failures.ids.update(messages[key])
            self._observer.count("UnrecordedSuccesses")


def _delivery(event: Event, destination: Destination, now_ms: int) -> Delivery:
    webhook = destination.webhook
    return Delivery(
        account_id=event.account_id,
        webhook_id=webhook.id,
        id=delivery_id(event.id, event.occurred_at_ms, webhook.id),
        event_id=event.id,
        event_type=event.type,
        body=event.body,
        status=Status.PENDING,
        created_at_ms=now_ms,
    )
