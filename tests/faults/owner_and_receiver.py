"""A webhook's events, retries and recoveries, each at its time, and its owner's acts."""

from __future__ import annotations

import heapq
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING

from support import samples
from support.fakes import FakeJobScheduler, FakeRateLimitStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Status
from webhooks.domain.errors import TooManyEnablesError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.retry import (
    DEFAULT_RECOVERY_SCHEDULE,
    DEFAULT_SCHEDULE,
    SHORT_DELAY_SECONDS,
)
from webhooks.ports import WebhookChanges
from webhooks.services.dispatch.messages import QueueMessage
from webhooks.services.rate_limits import RateLimits
from webhooks.services.retrier import Decision, Machine
from webhooks.services.webhooks import WebhookService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from support.fakes.schedulers import Name
    from webhooks.domain.delivery import DeliveryKey, Outcome
    from webhooks.ports import JobKey
    from webhooks.services.dispatch.dispatcher import Dispatcher

BATCH = 10
OWNER = ("acc_1", samples.WEBHOOK_ID)


class Story:
    """The course of a webhook's events; `answer` is its receiver's."""

    def __init__(self, answer: Callable[[], Outcome], *, dispatchers: int = 1) -> None:
        """Prepare so many dispatchers that receive a batch at the same time."""
        self.services = ServiceFixture(
            schedule=DEFAULT_SCHEDULE,
            recovery_schedule=DEFAULT_RECOVERY_SCHEDULE,
            recovery_rate=50,
            short_delay_seconds=SHORT_DELAY_SECONDS,
            recoveries=_Recoveries(self),
            dispatcher_threads=1,
        )
        # One at a time, so that a random seed gives one story.
        self.services.recovery_job._threads = ThreadPoolExecutor(1)
        self.services.add()
        self.services.sender.answer = self._answer
        self.receiver = answer
        self.refused = 0
        self.executions = 0
        self._dispatchers = [_new_dispatcher(self.services) for _ in range(dispatchers)]
        self._at_once: list[Sequence[QueueMessage]] = []
        self._retries: set[Name] = set()
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._lock = threading.Lock()

    @property
    def posts(self) -> int:
        """The number of the receiver's requests."""
        return len(self.services.sender.posts)

    @property
    def notices(self) -> list[str]:
        """The operational events about the webhook, in order."""
        return self.services.operational_events.types

    @property
    def delivered(self) -> int:
        """How many deliveries have succeeded."""
        stored = self.services.deliveries.deliveries.values()
        return sum(delivery.status is Status.SUCCEEDED for delivery in stored)

    @cached_property
    def webhook_service(self) -> WebhookService:
        """Takes the owner's calls."""
        return WebhookService(
            self.services.store,
            recoveries=self.services.recoveries,
            rate_limits=RateLimits(
                FakeRateLimitStore(),
                limits={RateLimit.ENABLES: 60},
                telemetry=self.services.telemetry,
                clock=self.services.clock,
            ),
            telemetry=self.services.telemetry,
            check_url=lambda _: None,
            resolve=lambda _: [],
            is_public=lambda _: True,
            max_webhooks=2,
            max_webhooks_per_host=2,
            cursor_key=b"key",
            now_ns=lambda: self.services.now_ms * 1_000_000,
        )

    def events(self, number: int, *, a_second: float) -> None:
        """Send so many events, in full batches."""
        together = BATCH * len(self._dispatchers)
        for first in range(0, number, together):
            numbers = range(first, min(first + together, number))
            self.later(first / a_second, partial(self._receive, numbers))

    def owner_repeats(self, every_seconds: float, seconds: float, **changes: object) -> None:
        """Repeat the same call of the owner."""
        for number in range(int(seconds / every_seconds)):
            self.later(number * every_seconds, partial(self._change, WebhookChanges(**changes)))

    def owner_acts_during_requests(self, **changes: object) -> None:
        """Repeat the same call of the owner while each request is on its way."""
        receiver = self.receiver

        def interrupted() -> Outcome:
            self.services.now_ms += 1
            self._change(WebhookChanges(**changes))
            return receiver()

        self.receiver = interrupted

    def go_on(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds."""
        end_ms = self.services.now_ms + int(seconds * 1000)
        while self._due and self._due[0][0] <= end_ms:
            self.services.now_ms, _, work = heapq.heappop(self._due)
            work()
            self._follow()
        self.services.now_ms = end_ms

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Act after so many seconds."""
        at_ms = self.services.now_ms + math.ceil(seconds * 1000)
        heapq.heappush(self._due, (at_ms, next(self._order), work))

    def recover(self, key: RecoveryKey, before: RecoveryState) -> None:
        """Run a recovery's step."""
        step = self.services.recovery_job.advance(key, before, lambda: 60.0)
        if step is not None:
            self.later(math.ceil(step.seconds), partial(self.recover, key, step))

    def _receive(self, numbers: range) -> None:
        """Let every dispatcher read the webhook before the first of them reports."""
        self._at_once = [
            [_message(n, self.services.now_ms) for n in numbers[start : start + BATCH]]
            for start in range(0, len(numbers), BATCH)
        ]
        while self._at_once:
            # If events wait, no request is made, and no other batch is received meanwhile.
            self._receive_next()

    def _receive_next(self) -> None:
        with self._lock:
            batch = self._at_once.pop() if self._at_once else []
            dispatcher = self._dispatchers[len(self._at_once) % len(self._dispatchers)]
        if batch:
            assert dispatcher.dispatch(batch, lambda: 60.0) == []

    def _answer(self, _: str, __: Mapping[str, str]) -> Outcome:
        self._receive_next()
        return self.receiver()

    def _change(self, changes: WebhookChanges) -> None:
        try:
            self.webhook_service.update(*OWNER, changes)
        except TooManyEnablesError:
            self.refused += 1

    def _follow(self) -> None:
        scheduler = self.services.scheduler
        for name in scheduler.generations.keys() - self._retries:
            self._retries.add(name)
            self.executions += 1
            attempt, delay = scheduler.executions[name.key]
            self.later(delay, partial(self._retry, name.key, attempt, name.generation))
        shorts, scheduler.shorts = scheduler.shorts, []
        for key, attempt, delay in shorts:
            self.executions += 1
            self.later(delay, partial(self._retry_shortly, key, attempt))

    def _retry(self, key: DeliveryKey, attempt: int, generation: int) -> None:
        verdict = self.services.retry(key, attempt, generation)
        if verdict.decision is Decision.WAIT and verdict.delivery is not None:
            # The same execution again if it was only moved.
            following = verdict.delivery.next_attempt
            self.later(verdict.seconds, partial(self._retry, key, following, generation))

    def _retry_shortly(self, key: DeliveryKey, attempt: int) -> None:
        delivery = self.services.deliveries.get(key)
        assert delivery is not None
        self.services.retry(key, attempt, delivery.generation, machine=Machine.SHORT)


class _Recoveries(FakeJobScheduler):
    """Begins the executions of recoveries when they are due."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        assert isinstance(key, RecoveryKey)
        known = {started for started, _ in self.started}
        super().start(key, delay_seconds=delay_seconds, run=run)
        if key not in known:
            self._story.executions += 1
            begin = partial(self._story.recover, key, RecoveryState(0))
            self._story.later(math.ceil(delay_seconds), begin)


def _new_dispatcher(services: ServiceFixture) -> Dispatcher:
    with suppress(AttributeError):
        del services.dispatcher
    return services.dispatcher


def _message(number: int, now_ms: int) -> QueueMessage:
    text = samples.event_text(transaction_id=f"txn_{number}", timestamp=None)
    return QueueMessage(f"m{number}", text, now_ms, group="acc_1")
