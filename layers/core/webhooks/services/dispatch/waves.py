"""Attempts in waves, for webhooks on probation.

Such a webhook gets new events again after a single success. If it takes few, a wave finds that out
at the cost of a request or two. A whole batch at once would cost a request and a retry for each
event.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.health import Circuit
from webhooks.services.concurrency import run_inline
from webhooks.services.dispatch.record import Owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.services.dispatch.messages import DeliveryTask
    from webhooks.services.health import WebhookHealthService

Handled = Future["Delivery | None"]


class _Held(NamedTuple):
    """A task, and the future of its delivery."""

    task: DeliveryTask
    handled: Handled


@dataclass(slots=True)
class _Line:
    """The tasks of one webhook on probation: `left` are to come, `done` those of this wave."""

    webhook: Webhook
    left: list[_Held] = field(default_factory=list)
    size: int = 1
    running: int = 0
    done: list[tuple[_Held, Future[Delivery | None]]] = field(default_factory=list)
    waits: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Waves:
    """Begins the tasks of webhooks on probation: one, then twice as many each time.

    Each wave is reported to the webhook's health before the next begins. If that finds the webhook
    down, the rest are handled like those of any webhook that is down. No thread waits for another.
    `handle` makes a task's attempt, or defers it.
    """

    def __init__(
        self,
        *,
        handle: Callable[[DeliveryTask], Delivery | None],
        health: WebhookHealthService,
        threads: Executor,
    ) -> None:
        self._handle = handle
        self._health = health
        self._threads = threads
        self._lines: dict[Owner, _Line] = {}

    def begin(self, tasks: Iterable[DeliveryTask]) -> dict[Handled, DeliveryTask]:
        """Begin the tasks in order; return the future of each.

        A cancelled task is not begun.
        """
        held: defaultdict[Owner, list[DeliveryTask]] = defaultdict(list)
        for task in tasks:
            held[Owner(task.key.account_id, task.key.webhook_id)].append(task)
        running: dict[Handled, DeliveryTask] = {}
        for owner, its_tasks in held.items():
            line = _Line(its_tasks[0].destination.webhook)
            line.left = [_Held(task, Future()) for task in its_tasks]
            running |= {one.handled: one.task for one in line.left}
            self._lines[owner] = line
            self._next(line)
        return running

    def waits(self, owner: Owner) -> bool | None:
        """Return whether a webhook's failures wait for its recovery; None if it has no waves."""
        line = self._lines.get(owner)
        return None if line is None else line.waits

    def _next(self, line: _Line) -> None:
        """Begin the next wave, or all tasks that are left if the webhook is down."""
        size = len(line.left) if line.waits else line.size
        wave, line.left = line.left[:size], line.left[size:]
        line.size *= 2
        line.running = len(wave)
        for one in wave:
            if line.waits:
                one.task.destination = _down(one.task)
            self._threads.submit(self._work, line, one)

    def _work(self, line: _Line, one: _Held) -> None:
        finished = None
        if one.handled.set_running_or_notify_cancel():
            finished = run_inline(self._handle, one.task)
        with line.lock:
            if finished is not None:
                line.done.append((one, finished))
            line.running -= 1
            ended = line.running == 0
        if ended:
            self._end_wave(line)

    def _end_wave(self, line: _Line) -> None:
        """Report the wave before handing over its results, since retries depend on the report."""
        wave, line.done = line.done, []
        report = run_inline(self._health.report, line.webhook, _attempts(wave))
        error = report.exception()
        if error is None:
            line.waits = report.result() or line.waits
        for one, finished in wave:
            _hand_over(finished, one.handled)
        if error is None and line.left:
            self._next(line)
        elif error is not None:
            # A bug: the messages of the remaining tasks are received again.
            for one in line.left:
                if one.handled.set_running_or_notify_cancel():
                    one.handled.set_exception(error)


def _attempts(wave: Sequence[tuple[_Held, Future[Delivery | None]]]) -> list[Attempt]:
    afters = [finished.result() for _, finished in wave if finished.exception() is None]
    return [attempt for after in afters if after is not None for attempt in after.attempts]


def _hand_over(finished: Future[Delivery | None], handled: Handled) -> None:
    error = finished.exception()
    if error is not None:
        handled.set_exception(error)
    else:
        handled.set_result(finished.result())


def _down(task: DeliveryTask) -> Destination:
    """Return a task's destination as its health has become."""
    webhook = task.destination.webhook
    health = replace(webhook.health, circuit=Circuit.OPEN)
    return replace(task.destination, webhook=replace(webhook, health=health))
