"""A batch of event messages: attempt each matching delivery once, record, hand failures on.

The order of the steps is what a crash cannot break: attempt, record, schedule, and only then is
the message done. Between the attempt and its record lies the one window in which a crash sends
the same delivery twice, with the same id and bytes.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.delivery import Delivery, DeliveryKey, Status, delivery_id
from webhooks.domain.errors import InvalidEvent, Unavailable
from webhooks.domain.health import Circuit
from webhooks.domain.intake import read_message
from webhooks.ports import LATENCY, RejectedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.delivery import Attempt
    from webhooks.domain.event import Event
    from webhooks.domain.ses import SesAccounts
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import (
        DeliveryStore,
        DestinationStore,
        Observer,
        RejectedMessages,
        RetryScheduler,
    )
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.health import HealthKeeper

SECONDS_FOR_ONE_ATTEMPT = 2 * 5.0 + 2 * 9.0
"""An attempt's 5 seconds, once more for a rotated secret, and the two calls that record a failure,
each at its slowest (see `adapters.aws`): with less left, none is begun."""

_FLUSH_SECONDS = 0.25
"""How long a success waits for others to be recorded with: what a crash may send twice."""

_MILLISECONDS = 1000


class Message(NamedTuple):
    """A message of the events queue. `sent_at_ms` is when SQS took it."""

    id: str
    body: str
    sent_at_ms: int


class _Read(NamedTuple):
    """An event, and the message that it came in."""

    message: Message
    event: Event


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
        scheduler: RetryScheduler,
        rejected: RejectedMessages,
        observer: Observer,
        ses_accounts: SesAccounts,
        clock: Callable[[], float],
        max_threads: int,
    ) -> None:
        """Attempt up to `max_threads` deliveries at once; `clock` gives Unix seconds."""
        self._destinations = destinations
        self._deliveries = deliveries
        self._deliverer = deliverer
        self._health = health
        self._scheduler = scheduler
        self._rejected = rejected
        self._observer = observer
        self._ses_accounts = ses_accounts
        self._clock = clock
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="deliver")

    def dispatch(
        self, messages: Sequence[Message], remaining_seconds: Callable[[], float]
    ) -> list[str]:
        """Handle a batch; returns the ids of the messages to be received again.

        Those failed through our own side's fault, or did not fit in the time that
        `remaining_seconds` gives; a receiver's failure is never among them.
        """
        failed: set[str] = set()
        events = self._with_first_times(self._read(messages, failed), failed)
        works = self._plan(events, failed)
        works = self._without_existing(works, failed)
        self._attempt_all(works, failed, remaining_seconds)
        self._observer.count("Messages", len(messages))
        self._observer.count("FailedMessages", len(failed))
        return [message.id for message in messages if message.id in failed]

    def _read(self, messages: Sequence[Message], failed: set[str]) -> list[_Read]:
        """Read the messages' events; those that can never be read are put by, with the reason."""
        events: list[_Read] = []
        rejected: list[RejectedMessage] = []
        for message in messages:
            try:
                events += [_Read(message, event) for event in self._events(message)]
            except InvalidEvent as error:
                rejected.append(RejectedMessage(message.id, message.body, error.reason, str(error)))
            self._observer.trace("message_ids", message.id)
        for read in events:
            self._observer.trace("event_ids", read.event.id)
        for message_id, _, reason, _ in rejected:
            self._observer.count("RejectedMessages")
            self._observer.count("Rejected" + reason.title().replace("_", ""))
            self._observer.log("error", "message_rejected", message_id=message_id, reason=reason)
        failed.update(self._rejected.put(rejected) if rejected else ())
        return events

    def _events(self, message: Message, sent_at_ms: int | None = None) -> Sequence[Event]:
        read = read_message(
            message.body,
            sent_at_ms=message.sent_at_ms if sent_at_ms is None else sent_at_ms,
            ses_accounts=self._ses_accounts,
        )
        if read.ignored_type is not None:
            self._observer.count("IgnoredEvents")
        return read.events

    def _with_first_times(self, events: Iterable[_Read], failed: set[str]) -> list[_Read]:
        """Give an event whose id does not fix its time the time of its first copy."""
        claims = [
            (
                read,
                None
                if read.event.id_fixes_time
                else self._threads.submit(self._deliveries.claim, read.event),
            )
            for read in events
        ]
        settled: list[_Read] = []
        for read, claim in claims:
            try:
                first_ms = read.event.occurred_at_ms if claim is None else claim.result()
            except Unavailable as error:
                self._fail([read.message.id], failed, error)
                continue
            event = read.event
            if first_ms != event.occurred_at_ms:
                [event] = self._events(read.message, sent_at_ms=first_ms)
                event = replace(event, occurred_at_ms=first_ms)
            settled.append(_Read(read.message, event))
        return settled

    def _plan(self, events: Iterable[_Read], failed: set[str]) -> list[_Work]:
        """Match events with their accounts' webhooks; the same delivery twice is one."""
        by_account: defaultdict[str, list[_Read]] = defaultdict(list)
        for read in events:
            by_account[read.event.account_id].append(read)
        queries = {
            account_id: self._threads.submit(self._destinations.destinations, account_id)
            for account_id in by_account
        }
        works: dict[DeliveryKey, _Work] = {}
        now_ms = int(self._clock() * _MILLISECONDS)
        for account_id, query in queries.items():
            try:
                destinations = query.result()
            except Unavailable as error:
                self._fail((read.message.id for read in by_account[account_id]), failed, error)
                continue
            for message, event in by_account[account_id]:
                for destination in destinations:
                    if destination.webhook.wants(event.type):
                        delivery = _delivery(event, destination, now_ms)
                        work = works.setdefault(
                            delivery.key, _Work(destination, delivery, message.sent_at_ms)
                        )
                        work.message_ids.add(message.id)
                        self._compare(work.delivery, delivery)
        return list(works.values())

    def _compare(self, first: Delivery, again: Delivery) -> None:
        """Report two bodies under one event's id: the first wins. An erased one tells nothing."""
        if first.body != again.body and not first.erased:
            self._observer.count("Conflicts")
            self._observer.log(
                "warning", "event_conflict", **first.key._asdict(), event_id=first.event_id
            )

    def _without_existing(self, works: list[_Work], failed: set[str]) -> list[_Work]:
        """Drop deliveries that were recorded before, seeing that each has what it needs."""
        if not works:
            return []
        try:
            existing = self._deliveries.get_many([work.delivery.key for work in works])
        except Unavailable as error:
            for work in works:
                self._fail(work.message_ids, failed, error)
            return []
        for work in works:
            stored = existing.get(work.delivery.key)
            if stored is not None:
                self._repeat(work, stored, failed)
        return [work for work in works if work.delivery.key not in existing]

    def _repeat(self, work: _Work, stored: Delivery, failed: set[str]) -> None:
        self._observer.count("Duplicates")
        self._compare(stored, work.delivery)
        try:
            self._schedule(stored)
            self._health.ensure_recovery(work.destination.webhook)
        except Unavailable as error:
            self._fail(work.message_ids, failed, error)

    def _attempt_all(
        self, works: list[_Work], failed: set[str], remaining_seconds: Callable[[], float]
    ) -> None:
        """Attempt concurrently; record successes in batches while slower ones go on."""
        running = {
            self._threads.submit(self._attempt, work, remaining_seconds): work for work in works
        }
        finished: dict[Future[Delivery], _Work] = {}
        while running:
            done, _ = wait(running, timeout=_FLUSH_SECONDS)
            latest = {future: running.pop(future) for future in done}
            self._record_successes(latest, failed)
            finished |= latest
        self._report_health(finished, failed)

    def _report_health(self, finished: Mapping[Future[Delivery], _Work], failed: set[str]) -> None:
        """Report each webhook's attempts together: a batch changes its health once."""
        attempts: defaultdict[tuple[str, str], list[Attempt]] = defaultdict(list)
        webhooks: dict[tuple[str, str], Webhook] = {}
        for future, work in finished.items():
            owner = work.delivery.account_id, work.delivery.webhook_id
            webhooks[owner] = work.destination.webhook
            if future.exception() is None:
                attempts[owner] += future.result().attempts
        reports = [
            self._threads.submit(self._health.report, webhooks[owner], made)
            for owner, made in attempts.items()
        ]
        for report in wait(reports).done:
            error = report.exception()
            if error is not None:
                # The deliveries are recorded all the same; a bug is not to pass unseen.
                self._fail((), failed, error)

    def _attempt(self, work: _Work, remaining_seconds: Callable[[], float]) -> Delivery:
        """Attempt one delivery; one that fails is recorded and scheduled here, in its thread."""
        webhook = work.destination.webhook
        if not webhook.active:
            after = work.delivery.put_by(Status.WAITING, "webhook_disabled")
        elif webhook.health.circuit is Circuit.OPEN:
            after = work.delivery.put_by(Status.WAITING, "webhook_down")
        elif remaining_seconds() < SECONDS_FOR_ONE_ATTEMPT:
            msg = "no time left in this invocation"
            raise Unavailable(msg)
        else:
            after = self._deliverer.attempt(work.destination, work.delivery)
        if after.status is Status.WAITING:
            self._observer.count("PutBy")
        if after.status is not Status.SUCCEEDED:
            self._schedule(self._deliveries.create(after))
        return after

    def _schedule(self, delivery: Delivery) -> None:
        if delivery.status is Status.RETRYING:
            due_ms = delivery.next_attempt_at_ms or 0
            self._scheduler.start(
                delivery, delay_seconds=max(0.0, due_ms / _MILLISECONDS - self._clock())
            )

    def _record_successes(
        self, finished: Mapping[Future[Delivery], _Work], failed: set[str]
    ) -> None:
        successes: list[Delivery] = []
        messages = {work.delivery.key: work.message_ids for work in finished.values()}
        for future, work in finished.items():
            error = future.exception()
            if error is not None:
                self._fail(work.message_ids, failed, error)
            elif future.result().status is Status.SUCCEEDED:
                successes.append(future.result())
                last = future.result().attempts[-1]
                self._observer.measure(LATENCY, last.ended_after_ms(work.arrived_at_ms))
        if not successes:
            return
        for key in self._deliveries.put_settled(successes):
            failed.update(messages[key])
            self._observer.count("UnrecordedSuccesses")

    def _fail(self, message_ids: Iterable[str], failed: set[str], error: BaseException) -> None:
        """Have messages received again; the log tells our side's trouble from a bug of ours."""
        ids = sorted(message_ids)
        failed.update(ids)
        if isinstance(error, Unavailable):
            self._observer.log("warning", "message_failed", message_ids=ids, error=str(error))
        else:
            # Where it happened and what kind it is, but not its text, which may quote the input.
            self._observer.log(
                "error",
                "message_failed",
                message_ids=ids,
                error=type(error).__name__,
                stack=traceback.format_tb(error.__traceback__),
            )


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
