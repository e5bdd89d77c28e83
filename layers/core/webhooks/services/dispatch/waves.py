"""The attempts of a batch: all at once, but for webhooks on probation, whose go out in waves.

One success had such a webhook sent new events again. If it takes few, a wave finds that out at the
cost of a request or two, where a whole batch would cost a request and a retry for each event.
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
    """A task, and the future of what it comes to."""

    task: DeliveryTask
    handled: Handled


@dataclass(slots=True)
class _Line:
    """The tasks of one webhook on probation: those to come, and what the present wave came to."""

    webhook: Webhook
    left: list[_Held] = field(default_factory=list)
    size: int = 1
    running: int = 0
    done: list[tuple[_Held, Future[Delivery | None]]] = field(default_factory=list)
    waits: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Waves:
    """Begins tasks; of a webhook on probation one, then twice as many each time.

    Each wave is reported to the webhook's health before the next one. Where that finds the webhook
    down, what is left is handled as for any webhook that is down. No thread waits for another.
    """

    def __init__(
        self,
        *,
        handle: Callable[[DeliveryTask], Delivery | None],
        health: WebhookHealthService,
        threads: Executor,
    ) -> None:
        """`handle` makes a work's attempt, or defers it."""
        self._handle = handle
        self._health = health
        self._threads = threads
        self._lines: dict[Owner, _Line] = {}

    def begin(self, tasks: Iterable[DeliveryTask]) -> dict[Handled, DeliveryTask]:
        """Begin tasks of webhooks on probation, in their order; returns the future of each.

        A cancelled one is not begun.
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
        """Tell whether a webhook's failures wait for its recovery; None for one in no waves."""
        line = self._lines.get(owner)
        return None if line is None else line.waits

    def _next(self, line: _Line) -> None:
        """Begin the next wave, or all that is left where the webhook is down."""
        size = len(line.left) if line.waits else line.size
        wave, line.left = line.left[:size], line.left[size:]
        line.size *= 2
        line.running = len(wave)
        for one in wave:
            if line.waits:
                one.task.destination = _down(one.task)
            self._threads.submit(self._work, line, one)

    def _work(self, line: _Line, one: _Held) -> None:
        came_to = None
        if one.handled.set_running_or_notify_cancel():
            came_to = run_inline(self._handle, one.task)
        with line.lock:
            if came_to is not None:
                line.done.append((one, came_to))
            line.running -= 1
            ended = line.running == 0
        if ended:
            self._end_wave(line)

    def _end_wave(self, line: _Line) -> None:
        """Report the wave before what it came to is known, since retries go by the report."""
        wave, line.done = line.done, []
        report = run_inline(self._health.report, line.webhook, _attempts(wave))
        error = report.exception()
        if error is None:
            line.waits = report.result() or line.waits
        for one, came_to in wave:
            _hand_over(came_to, one.handled)
        if error is None and line.left:
            self._next(line)
        elif error is not None:
            # A bug: the messages of what is left come again.
            for one in line.left:
                if one.handled.set_running_or_notify_cancel():
                    one.handled.set_exception(error)


def _attempts(wave: Sequence[tuple[_Held, Future[Delivery | None]]]) -> list[Attempt]:
    afters = [came_to.result() for _, came_to in wave if came_to.exception() is None]
    return [attempt for after in afters if after is not None for attempt in after.attempts]


def _hand_over(came_to: Future[Delivery | None], handled: Handled) -> None:
    error = came_to.exception()
    if error is not None:
        handled.set_exception(error)
    else:
        handled.set_result(came_to.result())


def _down(task: DeliveryTask) -> Destination:
    """Return a work's destination as its health has become."""
    webhook = task.destination.webhook
    health = replace(webhook.health, circuit=Circuit.OPEN)
    return replace(task.destination, webhook=replace(webhook, health=health))
