"""The record step: writes the records, then reports health, then starts retries of failures.

With this order, if many deliveries fail at once because their webhook is down, only a few get an
execution each: the others wait for the webhook's recovery.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import CLEAN
from webhooks.services.concurrency import (
    SECONDS_FOR_ONE_ATTEMPT,
    SECONDS_FOR_ONE_CALL,
    SECONDS_FOR_ONE_START,
    NoTimeLeftError,
    submit_all,
)
from webhooks.services.deliverer import LATENCY
from webhooks.services.dispatch.match import report_conflict
from webhooks.services.dispatch.messages import Delivered
from webhooks.services.signs import is_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor, Future

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.ports import DeliveryStore, Telemetry
    from webhooks.services.concurrency import Deadline
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.deliver import Attempts
    from webhooks.services.dispatch.messages import DeliveryTask
    from webhooks.services.dispatch.waves import Waves
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.retries import Retries

Item = TypeVar("Item")
Result = TypeVar("Result")

_FLUSH_SECONDS = 0.25
"""How long a success waits to be recorded with others. A crash may send that much twice."""

_NO_TIME = "starting a retry: no time left"


class Owner(NamedTuple):
    """A webhook of an account."""

    account_id: str
    webhook_id: str


class RecordStep:
    """Records deliveries, reports the health of their webhooks, and starts retries."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        health: WebhookHealthService,
        retries: Retries,
        telemetry: Telemetry,
    ) -> None:
        self.deliveries = deliveries
        self.health = health
        self.telemetry = telemetry
        self._retries = retries

    def record(self, attempts: Attempts, batch: Batch) -> None:
        """Record tasks as they end, successes in batches, while slower attempts go on.

        A task that there is no time for goes back to the queue as soon as that is known.
        """
        running = attempts.running
        aftermath = _Aftermath(self, running.values(), batch, attempts.waves)
        while running:
            done, _ = wait(running, timeout=_FLUSH_SECONDS)
            ended = [_delivered(running.pop(one), one) for one in done]
            if running and batch.deadline.remaining_seconds() < SECONDS_FOR_ONE_ATTEMPT:
                cancelled = [one for one in running if one.cancel()]
                ended += [Delivered(running.pop(one), error=NoTimeLeftError()) for one in cancelled]
            self._successes(ended, batch)
            for one in ended:
                if isinstance(one.error, NoTimeLeftError):
                    batch.leftovers.add(one.task)
                aftermath.add(one.task, one.delivery)
            aftermath.advance()
            # What a limit held back waits on the queue, and not for the slowest attempt.
            if batch.has_leftovers:
                batch.leftovers.send()
        aftermath.finish()

    def failure(self, task: DeliveryTask, after: Delivery) -> None:
        """Record a delivery that did not succeed, as soon as its attempt has ended.

        The retry starts later, after the report to the webhook's health.
        """
        if after.status is Status.WAITING:
            self.telemetry.count("DeferredDeliveries")
        task.stored = self.deliveries.create(after)
        report_conflict(self.telemetry, task.stored, after)

    def repeat(self, task: DeliveryTask, stored: Delivery, deadline: Deadline) -> None:
        """Ensure that a recorded delivery has an execution, and its webhook a recovery."""
        self.telemetry.count("Duplicates")
        report_conflict(self.telemetry, stored, task.delivery)
        # The sweep starts a marked delivery. A short one may start twice, but is claimed once.
        if not stored.unstarted:
            self.schedule(stored, deadline)
        self.health.ensure_recovery(task.destination.webhook)

    def schedule(self, delivery: Delivery, deadline: Deadline) -> None:
        """Start the execution of a delivery's next attempt, or leave that to the sweep.

        While Step Functions does not respond, each start takes a call's time. Raises
        UnavailableError if there is no time for either: then the message is received again.
        """
        if delivery.status is not Status.RETRYING:
            return
        seconds = deadline.remaining_seconds()
        if seconds >= SECONDS_FOR_ONE_START:
            self._retries.start(delivery)
        elif seconds >= SECONDS_FOR_ONE_CALL:
            self._retries.leave_to_sweep(delivery, _NO_TIME)
        else:
            raise UnavailableError(_NO_TIME)

    def _successes(self, ended: Iterable[Delivered], batch: Batch) -> None:
        successes: list[Delivery] = []
        messages = {task.key: task.message_ids for task, _, _ in ended}
        for task, after, error in ended:
            if error is not None and not isinstance(error, NoTimeLeftError):
                batch.fail(task.message_ids, error)
            if after is not None and after.status is Status.SUCCEEDED:
                successes.append(after)
                message = task.received.message
                if not (message.delays or message.paced):
                    latency_ms = after.attempts[-1].ended_after_ms(task.received.arrived_at_ms)
                    self.telemetry.record_time(LATENCY, latency_ms)
        for key in self.deliveries.put_settled(successes) if successes else ():
            batch.failed_ids.update(messages[key])
            self.telemetry.count("UnrecordedSuccesses")


class _Aftermath:
    """Reports a webhook's attempts once all of its tasks in the batch have ended.

    A batch changes a webhook's health once, and another webhook's slow receiver does not delay its
    retries. The attempts in `waves` are reported by the waves.
    """

    def __init__(
        self, step: RecordStep, tasks: Iterable[DeliveryTask], batch: Batch, waves: Waves | None
    ) -> None:
        self._step = step
        self._batch = batch
        self._waves = waves
        self._left = Counter(_owner(task) for task in tasks)
        self._finished: defaultdict[Owner, list[tuple[DeliveryTask, Delivery]]] = defaultdict(list)
        self._reports: list[tuple[list[tuple[DeliveryTask, Delivery]], Future[bool]]] = []
        self._starts: list[tuple[DeliveryTask, Future[None]]] = []

    def add(self, task: DeliveryTask, after: Delivery | None) -> None:
        """Note a task that ended, and its delivery: None if it was not attempted."""
        owner = _owner(task)
        self._left[owner] -= 1
        if after is not None:
            self._finished[owner].append((task, after))

    def advance(self) -> None:
        """Process the webhooks whose tasks have all ended, without waiting.

        The results of other attempts are recorded meanwhile, however long a report or a start
        takes.
        """
        self._advance(_submit)

    def finish(self) -> None:
        """Process the rest once all tasks have ended; a failed start fails its messages."""
        self._advance(submit_all)
        if self._reports:
            wait([report for _, report in self._reports])
            self._advance(submit_all)
        for task, start in self._starts:
            error = start.exception()
            if error is not None:
                self._batch.fail(task.message_ids, error)

    def _advance(self, submit: Callable[..., list[Future[Any]]]) -> None:
        followers = self._batch.threads.followers
        ready = [owner for owner in self._finished if not self._left[owner]]
        retries: list[tuple[DeliveryTask, Delivery, bool]] = []
        news: list[list[tuple[DeliveryTask, Delivery]]] = []
        for owner in ready:
            made = self._finished.pop(owner)
            if _is_news(made):
                news.append(made)
            else:
                # A failure that is no news about its webhook's health is retried nevertheless.
                retries += [(task, after, False) for task, after in made if _failed(task)]
        if news:
            self._reports += zip(news, submit(followers, self._report, news), strict=True)
        reports, self._reports = self._reports, []
        for made, report in reports:
            if not report.done():
                self._reports.append((made, report))
                continue
            error = report.exception()
            if error is not None:
                # The deliveries are recorded, so no message fails; this logs the bug.
                self._batch.fail((), error)
            waits = error is None and report.result()
            retries += [(task, after, waits) for task, after in made if _failed(task)]
        if retries:
            starts = submit(followers, lambda retry: self._retry(*retry), retries)
            self._starts += zip((task for task, _, _ in retries), starts, strict=True)

    def _report(self, made: list[tuple[DeliveryTask, Delivery]]) -> bool:
        task = made[0][0]
        waits = None if self._waves is None else self._waves.waits(_owner(task))
        if waits is not None:
            return waits
        return self._step.health.report(task.destination.webhook, _attempts(made))

    def _retry(self, task: DeliveryTask, after: Delivery, waits: bool) -> None:
        stored = task.stored
        if stored is None:
            return
        if waits and stored == after:
            deferred = stored.defer("webhook_down")
            if self._step.deliveries.update(deferred, before=stored):
                self._step.telemetry.count("DeferredDeliveries")
                return
        self._step.schedule(stored, self._batch.deadline)


def _delivered(task: DeliveryTask, attempt: Future[Delivery | None]) -> Delivered:
    error = attempt.exception()
    return Delivered(task, None if error else attempt.result(), error)


def _submit(
    threads: Executor, work: Callable[[Item], Result], items: Sequence[Item]
) -> list[Future[Result]]:
    return [threads.submit(work, item) for item in items]


def _owner(task: DeliveryTask) -> Owner:
    return Owner(task.key.account_id, task.key.webhook_id)


def _attempts(made: list[tuple[DeliveryTask, Delivery]]) -> list[Attempt]:
    return [attempt for _, after in made for attempt in after.attempts]


def _is_news(made: list[tuple[DeliveryTask, Delivery]]) -> bool:
    webhook = made[0][0].destination.webhook
    attempts = _attempts(made)
    if webhook.health == CLEAN and all(attempt.error is None for attempt in attempts):
        return False
    return is_news(webhook, attempts)


def _failed(task: DeliveryTask) -> bool:
    return task.stored is not None and task.stored.status is Status.RETRYING
