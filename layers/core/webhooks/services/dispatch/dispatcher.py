"""A batch of event messages: attempt each matching delivery once, record, hand failures on.

The order of the steps is what a crash cannot break: attempt, record, schedule, and only then is
the message done. Between the attempt and its record lies the one window in which a crash sends
the same delivery twice, with the same id and bytes.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError, UnreadableRecordError
from webhooks.domain.health import Circuit
from webhooks.domain.pauses import RETRY_AFTER
from webhooks.services.deadline import Deadline, NoTimeLeftError
from webhooks.services.deliverer import LATENCY
from webhooks.services.dispatch.aftermath import Aftermath
from webhooks.services.dispatch.fair_queueing import FairQueueing
from webhooks.services.dispatch.fan_out import FanOut
from webhooks.services.dispatch.leftovers import Leftovers
from webhooks.services.dispatch.messages import DeliveryTask
from webhooks.services.dispatch.read import Failures, MessageReader
from webhooks.services.dispatch.requeue import Requeue
from webhooks.services.dispatch.unwanted import Cause, Unwanted
from webhooks.services.dispatch.waves import Waves
from webhooks.services.pauses import BatchPauses
from webhooks.services.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Shard
    from webhooks.domain.webhook import Destination
    from webhooks.ports import (
        DeliveryStore,
        DestinationStore,
        EventQueue,
        RejectedMessages,
        Telemetry,
    )
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.dispatch.event_limits import EventLimits
    from webhooks.services.dispatch.fan_out import Match
    from webhooks.services.dispatch.messages import QueueMessage, ReceivedEvent
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.host_limits import HostLimits
    from webhooks.services.pauses import Pauses
    from webhooks.services.retries import Retries

_FLUSH_SECONDS = 0.25
"""How long a success waits for others to be recorded with: what a crash may send twice."""

_READ_AT_ONCE = 100
"""Records of a read: as many as one request takes."""

_SENDING_THREADS = 8
"""Requests at once to the events queue, and as many reports and retries: none waits for an attempt,
and no retry for the parts of a large message."""

_NO_TIME = "starting a retry: no time left"

_MILLISECONDS = 1000


class Dispatcher:
    """Handles batches of messages; kept between invocations, with its threads."""

    def __init__(
        self,
        *,
        destinations: DestinationStore,
        deliveries: DeliveryStore,
        deliverer: Deliverer,
        health: WebhookHealthService,
        pauses: Pauses,
        retries: Retries,
        queue: EventQueue,
        rejected: RejectedMessages,
        telemetry: Telemetry,
        ses_accounts: AccountChooser,
        clock: Callable[[], float],
        max_threads: int,
        ses_headers: Sequence[str] = (),
        event_limits: EventLimits | None = None,
        host_limits: HostLimits | None = None,
    ) -> None:
        """Attempt up to `max_threads` deliveries at once; `clock` gives Unix seconds.

        Without `event_limits` or `host_limits` nothing has that limit.
        `ses_headers` are the names of the headers that go into the events of SES's records.
        """
        self._destinations = destinations
        self._deliveries = deliveries
        self._deliverer = deliverer
        self._health = health
        self._pauses = pauses
        self._retries = retries
        self._queue = queue
        self._telemetry = telemetry
        self._clock = clock
        self._event_limits = event_limits
        self._host_limits = host_limits
        self._fair_queueing = FairQueueing(telemetry=telemetry, clock=clock)
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="deliver")
        self._sending = ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="requeue")
        self._following = ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="follow")
        self._reader = MessageReader(
            deliveries=deliveries,
            rejected=rejected,
            telemetry=telemetry,
            ses_accounts=ses_accounts,
            ses_headers=ses_headers,
            threads=self._threads,
            clock=clock,
        )

    def dispatch(
        self, messages: Sequence[QueueMessage], remaining_seconds: Callable[[], float]
    ) -> list[str]:
        """Handle a batch; returns the ids of the messages to be received again.

        Those failed through our own side's fault; a receiver's failure is never among them. What
        did not fit in the time that `remaining_seconds` gives is on the queue by itself.
        """
        failures = Failures(self._telemetry)
        deadline = Deadline(remaining_seconds)
        requeue = Requeue(self._queue, self._telemetry, deadline, self._sending)
        leftovers = Leftovers(requeue, self._telemetry)
        reads = self._reader.read(messages, failures, deadline, leftovers, requeue)
        if self._event_limits is not None:
            reads = self._event_limits.admitted(reads, self._threads, deadline, leftovers, requeue)
        reads = self._fair_queueing.ungrouped(reads, requeue)
        unwanted = Unwanted(self._telemetry)
        matches = self._matches(reads, failures, deadline, leftovers, unwanted)
        unwanted.report()
        tasks = self._tasks(FanOut(requeue, self._telemetry).undivided(matches))
        tasks = self._with_records(tasks, failures, deadline, leftovers)
        if self._host_limits is not None:
            tasks = self._host_limits.paced(tasks, self._threads, deadline, leftovers)
        self._handle_all(tasks, failures, deadline, leftovers)
        leftovers.send()
        requeue.finish(failures)
        leftovers.report()
        self._telemetry.count("Messages", len(messages))
        self._telemetry.count("FailedMessages", len(failures.ids))
        return [message.id for message in messages if message.id in failures.ids]

    def _matches(
        self,
        reads: Iterable[ReceivedEvent],
        failures: Failures,
        deadline: Deadline,
        leftovers: Leftovers,
        unwanted: Unwanted,
    ) -> list[Match]:
        """Match events with their accounts' webhooks."""
        groups: defaultdict[tuple[str, Shard | None], list[ReceivedEvent]] = defaultdict(list)
        for received in reads:
            groups[received.event.account_id, received.shard].append(received)
        turns = in_turns(groups, lambda group: group[0])
        queries = deadline.begin_reads(
            self._threads, lambda group: self._destinations.destinations(*group), turns
        )
        matches: list[Match] = []
        for group, query in zip(turns, queries, strict=True):
            error = query.exception()
            if isinstance(error, NoTimeLeftError):
                leftovers.add_events(groups[group])
            elif error is not None:
                # A bug too: a record that cannot be read is one account's trouble.
                failures.add((received.message.id for received in groups[group]), error)
            else:
                destinations = query.result()
                for received in groups[group]:
                    matching = _matching(received, destinations)
                    matches.append((received, matching))
                    # A part is for some of the webhooks only: others have the event.
                    if not matching and received.shard is None and received.webhook_ids is None:
                        unwanted.add(received.event, _cause(destinations))
        return matches

    def _tasks(self, matches: Iterable[Match]) -> list[DeliveryTask]:
        """Return the deliveries, each account's in its turn; the same one twice is one."""
        tasks: dict[DeliveryKey, DeliveryTask] = {}
        now_ms = int(self._clock() * _MILLISECONDS)
        for received, matching in matches:
            for destination in matching:
                again = DeliveryTask.of(received, destination, now_ms)
                task = tasks.setdefault(again.delivery.key, again)
                task.message_ids.add(received.message.id)
                self._compare(task.delivery, again.delivery)
        return in_turns(tasks.values(), attrgetter("account_id"), attrgetter("webhook_id"))

    def _compare(self, first: Delivery, again: Delivery) -> None:
        """Report two bodies under one event's id: the first wins. An erased one tells nothing."""
        if first.body != again.body and not first.erased:
            self._telemetry.count("Conflicts")
            self._telemetry.log(
                "warning", "event_conflict", **first.key._asdict(), event_id=first.event_id
            )

    def _with_records(
        self,
        tasks: list[DeliveryTask],
        failures: Failures,
        deadline: Deadline,
        leftovers: Leftovers,
    ) -> list[DeliveryTask]:
        """Give the tasks the records that they have already, without those that cannot be read."""
        chunks = [
            tasks[start : start + _READ_AT_ONCE] for start in range(0, len(tasks), _READ_AT_ONCE)
        ]
        queries = deadline.begin_reads(
            self._threads,
            lambda chunk: self._deliveries.get_many([task.delivery.key for task in chunk]),
            chunks,
        )
        read: list[DeliveryTask] = []
        for chunk, query in zip(chunks, queries, strict=True):
            error = query.exception()
            existing = {} if error else query.result()
            for task in chunk:
                key = task.delivery.key
                task.stored = existing.get(key)
                if isinstance(error, NoTimeLeftError):
                    leftovers.add_unread(task)
                elif error is not None:
                    failures.add(task.message_ids, error)
                elif key in existing and task.stored is None:
                    # Nobody knows whether it arrived, so it is not sent; the others are.
                    failures.add(task.message_ids, UnreadableRecordError(key))
                else:
                    read.append(task)
        return read

    def _repeat(self, task: DeliveryTask, stored: Delivery, deadline: Deadline) -> None:
        """See that a delivery which was recorded before has what it needs."""
        self._telemetry.count("Duplicates")
        self._compare(stored, task.delivery)
        # One that is marked is the sweep's. A short one may be started twice: its claim is not.
        if not stored.unstarted:
            self._schedule(deadline, stored)
        self._health.ensure_recovery(task.destination.webhook)

    def _handle_all(
        self,
        tasks: list[DeliveryTask],
        failures: Failures,
        deadline: Deadline,
        leftovers: Leftovers,
    ) -> None:
        """Attempt concurrently; record successes in batches while slower ones go on.

        Works that there is no time for go back to the queue as soon as that is known.
        """
        pauses = BatchPauses(self._pauses)
        waves = Waves(
            handle=lambda task: self._handle(task, deadline, pauses),
            health=self._health,
            threads=self._threads,
        )
        running = waves.begin(tasks)
        aftermath = Aftermath(
            tasks,
            health=self._health,
            deliveries=self._deliveries,
            telemetry=self._telemetry,
            schedule=partial(self._schedule, deadline),
            threads=self._following,
            failures=failures,
            reported=waves.waits,
        )
        while running:
            done, _ = wait(running, timeout=_FLUSH_SECONDS)
            latest = {future: running.pop(future) for future in done}
            if running and not deadline.allows_attempt():
                for future in [one for one in running if one.cancel()]:
                    task = running.pop(future)
                    leftovers.add(task)
                    aftermath.add(task, None)
            self._record_successes(latest, failures, leftovers)
            for future, task in latest.items():
                aftermath.add(task, None if future.exception() else future.result())
            aftermath.go_on()
            leftovers.send()
        aftermath.finish()

    def _handle(
        self, task: DeliveryTask, deadline: Deadline, pauses: BatchPauses
    ) -> Delivery | None:
        """Attempt one delivery; one that fails is recorded here, and scheduled by the aftermath.

        None where it was recorded before. Raises NoTimeLeftError where it was not begun.
        """
        if not deadline.allows_attempt():
            raise NoTimeLeftError
        if task.stored is not None:
            self._repeat(task, task.stored, deadline)
            return None
        webhook = task.destination.webhook
        if not webhook.active:
            after = task.delivery.defer("webhook_disabled")
        elif webhook.health.circuit is Circuit.OPEN:
            after = task.delivery.defer("webhook_down")
        elif pauses.defers(webhook):
            after = task.delivery.defer(RETRY_AFTER)
        else:
            after = self._deliverer.attempt(task.destination, task.delivery)
        if after.status is Status.WAITING:
            self._telemetry.count("DeferredDeliveries")
        if after.status is not Status.SUCCEEDED:
            task.stored = self._deliveries.create(after)
            self._compare(task.stored, after)
        # Once it is recorded: what waits for that is only the next request.
        if after.attempts and deadline.allows_call():
            pauses.heard(webhook, after.attempts)
        return after

    def _schedule(self, deadline: Deadline, delivery: Delivery) -> None:
        """Start what makes a delivery's next attempt, or leave that to the sweep.

        While Step Functions does not respond, each start takes a call's time. Raises
        UnavailableError where there is no time for either: the message comes again.
        """
        if delivery.status is not Status.RETRYING:
            return
        if deadline.allows_start():
            self._retries.start(delivery)
        elif deadline.allows_call():
            self._retries.leave_to_sweep(delivery, _NO_TIME)
        else:
            raise UnavailableError(_NO_TIME)

    def _record_successes(
        self,
        handled: Mapping[Future[Delivery | None], DeliveryTask],
        failures: Failures,
        leftovers: Leftovers,
    ) -> None:
        """Record what arrived."""
        successes: list[Delivery] = []
        messages = {task.delivery.key: task.message_ids for task in handled.values()}
        for future, task in handled.items():
            error = future.exception()
            if isinstance(error, NoTimeLeftError):
                leftovers.add(task)
                continue
            if error is not None:
                failures.add(task.message_ids, error)
                continue
            after = future.result()
            if after is not None and after.status is Status.SUCCEEDED:
                successes.append(after)
                last = after.attempts[-1]
                if not task.received.message.held_back:
                    self._telemetry.record_time(
                        LATENCY, last.ended_after_ms(task.received.arrived_at_ms)
                    )
        for key in self._deliveries.put_settled(successes) if successes else ():
            failures.ids.update(messages[key])
            self._telemetry.count("UnrecordedSuccesses")


def _cause(destinations: Sequence[Destination]) -> Cause:
    """Return why no webhook of an account is sent an event."""
    return Cause.NO_MATCHING_WEBHOOK if destinations else Cause.NO_SUCH_ACCOUNT


def _matching(received: ReceivedEvent, destinations: Sequence[Destination]) -> list[Destination]:
    """Return the webhooks that an event is for."""
    return [
        one
        for one in destinations
        if one.webhook.wants(received.event.type)
        and (received.webhook_ids is None or one.webhook.id in received.webhook_ids)
    ]
