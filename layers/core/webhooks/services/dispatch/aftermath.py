"""What follows the attempts of a batch: each webhook's health, then the retries of what failed.

In that order, so that of the many deliveries that fail at once because their webhook is down, few
get an execution each: the others wait for its recovery.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from webhooks.domain.delivery import Status
from webhooks.services.concurrency import submit_all
from webhooks.services.signs import is_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor, Future

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.ports import DeliveryStore, Telemetry
    from webhooks.services.dispatch.messages import DeliveryTask
    from webhooks.services.dispatch.read import Failures
    from webhooks.services.health import WebhookHealthService

Item = TypeVar("Item")
Result = TypeVar("Result")


class Owner(NamedTuple):
    """A webhook of an account."""

    account_id: str
    webhook_id: str


class Aftermath:
    """Reports a webhook's attempts run_all, once all of its tasks in the batch are handled.

    A batch changes its health once, and no other webhook's slow receiver delays its retries.
    """

    def __init__(
        self,
        tasks: Iterable[DeliveryTask],
        *,
        health: WebhookHealthService,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        schedule: Callable[[Delivery], None],
        threads: Executor,
        failures: Failures,
        reported: Callable[[Owner], bool | None],
    ) -> None:
        """Expect `works`; `schedule` starts a delivery's retry, `threads` wait for no attempt.

        `reported` tells whether the failures of a webhook wait whose attempts were reported
        already, None for any other webhook.
        """
        self._left = Counter(_owner(task) for task in tasks)
        self._finished: defaultdict[Owner, list[tuple[DeliveryTask, Delivery]]] = defaultdict(list)
        self._health = health
        self._deliveries = deliveries
        self._telemetry = telemetry
        self._schedule = schedule
        self._threads = threads
        self._failures = failures
        self._reported = reported
        self._reports: list[tuple[list[tuple[DeliveryTask, Delivery]], Future[bool]]] = []
        self._starts: list[tuple[DeliveryTask, Future[None]]] = []

    def add(self, task: DeliveryTask, after: Delivery | None) -> None:
        """Note that a work was handled, and what it came to: None where it was not attempted."""
        owner = _owner(task)
        self._left[owner] -= 1
        if after is not None:
            self._finished[owner].append((task, after))

    def go_on(self) -> None:
        """Go on with the webhooks all of whose tasks are handled, and wait for nothing.

        However long a report or a start takes, what other attempts come to is recorded meanwhile.
        """
        self._go_on(_submit)

    def finish(self) -> None:
        """Go on to the end, where all tasks are handled; what fails fails its messages."""
        self._go_on(submit_all)
        wait([report for _, report in self._reports])
        self._go_on(submit_all)
        for task, start in self._starts:
            error = start.exception()
            if error is not None:
                self._failures.add(task.message_ids, error)

    def _go_on(self, begin_all: Callable[..., list[Future[Any]]]) -> None:
        ready = [owner for owner in self._finished if not self._left[owner]]
        finished = [self._finished.pop(owner) for owner in ready]
        quiet = [made for made in finished if not _is_news(made)]
        news = [made for made in finished if _is_news(made)]
        self._reports += zip(news, begin_all(self._threads, self._report, news), strict=True)
        # One of many that fails may be no news of its webhook, and is retried all the same.
        retries = [(task, after, False) for made in quiet for task, after in made if _failed(task)]
        reports, self._reports = self._reports, []
        for made, report in reports:
            if not report.done():
                self._reports.append((made, report))
                continue
            error = report.exception()
            if error is not None:
                # The deliveries are recorded all the same; a bug is not to pass unseen.
                self._failures.add((), error)
            waits = error is None and report.result()
            retries += [(task, after, waits) for task, after in made if _failed(task)]
        starts = begin_all(self._threads, lambda retry: self._retry(*retry), retries)
        self._starts += zip((task for task, _, _ in retries), starts, strict=True)

    def _report(self, made: list[tuple[DeliveryTask, Delivery]]) -> bool:
        task = made[0][0]
        waits = self._reported(_owner(task))
        if waits is not None:
            return waits
        return self._health.report(task.destination.webhook, _attempts(made))

    def _retry(self, task: DeliveryTask, after: Delivery, waits: bool) -> None:
        stored = task.stored
        if stored is None:
            return
        if waits and stored == after:
            deferred = stored.defer("webhook_down")
            if self._deliveries.update(deferred, before=stored):
                self._telemetry.count("DeferredDeliveries")
                return
        self._schedule(stored)


def _submit(
    threads: Executor, task: Callable[[Item], Result], items: Sequence[Item]
) -> list[Future[Result]]:
    return [threads.submit(task, item) for item in items]


def _owner(task: DeliveryTask) -> Owner:
    return Owner(task.account_id, task.webhook_id)


def _attempts(made: list[tuple[DeliveryTask, Delivery]]) -> list[Attempt]:
    return [attempt for _, after in made for attempt in after.attempts]


def _is_news(made: list[tuple[DeliveryTask, Delivery]]) -> bool:
    return is_news(made[0][0].destination.webhook, _attempts(made))


def _failed(task: DeliveryTask) -> bool:
    return task.stored is not None and task.stored.status is Status.RETRYING
