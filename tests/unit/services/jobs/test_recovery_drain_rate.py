"""Draining at a receiver's rate: a limited receiver, a dead receiver, and all others."""

from __future__ import annotations

import heapq
import math
import threading
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from unit.services.jobs.recovery_fixture import DRAINING, FIRST, REFUSED, RecoveryFixture
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.retry import DEFAULT_RECOVERY_SCHEDULE, DEFAULT_SCHEDULE
from webhooks.services.retrier import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.fakes.schedulers import Name
    from webhooks.domain.delivery import DeliveryKey

HOUR = 3600
RATE = 50
TAKEN = Outcome(status_code=200)
LIMITED = Outcome(FailureReason.HTTP_STATUS, status_code=429)


@pytest.fixture
def services() -> RecoveryFixture:
    return RecoveryFixture(recovery_rate=RATE)


class Limit:
    """A receiver that accepts so many deliveries a second, and answers all the others with 429."""

    def __init__(self, services: RecoveryFixture, a_second: float) -> None:
        self._world = services
        self._a_second = a_second
        self._left = 1.0
        self._at_ms = services.now_ms
        self._lock = threading.Lock()

    def __call__(self, _: str, __: Mapping[str, str]) -> Outcome:
        with self._lock:
            passed = (self._world.now_ms - self._at_ms) / 1000
            self._at_ms = self._world.now_ms
            self._left = min(max(1.0, self._a_second), self._left + passed * self._a_second)
            if self._left < 1:
                return LIMITED
            self._left -= 1
            return TAKEN


class Hour:
    """An hour of a recovery and of its retries, each at its time."""

    def __init__(
        self, answer: Callable[[RecoveryFixture], Callable[..., Outcome]], waiting: int
    ) -> None:
        self.services = RecoveryFixture(
            schedule=DEFAULT_SCHEDULE,
            recovery_schedule=DEFAULT_RECOVERY_SCHEDULE,
            recovery_rate=RATE,
        )
        self.services.wait_for(waiting)
        self.services.sender.answer = answer(self.services)
        self.retries: set[Name] = set()
        self.sent: list[tuple[int, int]] = []
        """The second of each of the recovery's steps, and the number of its deliveries."""
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._start_ms = self.services.now_ms
        self._later(0, partial(self._recover, FIRST))
        while self._due and self._due[0][0] <= self._start_ms + HOUR * 1000:
            self.services.now_ms, _, work = heapq.heappop(self._due)
            work()
            self._follow()

    @property
    def told(self) -> Counter[str]:
        """The number of operational events of each type about the webhook."""
        return Counter(self.services.operational_events.types)

    @property
    def statuses(self) -> Counter[Status]:
        """The number of deliveries in each status."""
        return Counter(one.status for one in self.services.deliveries.deliveries.values())

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        # Step Functions waits whole seconds.
        at_ms = self.services.now_ms + math.ceil(seconds) * 1000
        heapq.heappush(self._due, (at_ms, next(self._order), work))

    def _recover(self, before: RecoveryState) -> None:
        posts = len(self.services.sender.posts)
        step = self.services.step(before)
        second = (self.services.now_ms - self._start_ms) // 1000
        self.sent.append((second, len(self.services.sender.posts) - posts))
        if step is not None:
            self._later(step.seconds, partial(self._recover, step))

    def _retry(self, key: DeliveryKey, attempt: int, generation: int) -> None:
        verdict = self.services.retry(key, attempt, generation)
        if verdict.decision is Decision.WAIT:
            self._later(verdict.seconds, partial(self._retry, key, attempt + 1, generation))

    def _follow(self) -> None:
        for name in self.services.scheduler.generations.keys() - self.retries:
            self.retries.add(name)
            key, generation, _ = name
            attempt, delay = self.services.scheduler.executions[key]
            self._later(delay, partial(self._retry, key, attempt, generation))


@pytest.mark.parametrize(
    ("a_second", "taken", "retried"), [(5, 3_000, 150), (1, 2_600, 350), (0.2, 300, 100)]
)
def test_an_hour_with_a_receiver_that_takes_so_many_a_second(
    a_second: float, taken: int, retried: int
) -> None:
    """It is reported down a few times and not each minute, and the draining delivers most."""
    hour = Hour(lambda services: Limit(services, a_second), waiting=3_000)
    assert hour.told["webhook.down"] <= 5
    assert hour.told["webhook.recovered"] <= 6
    assert hour.statuses[Status.SUCCEEDED] >= taken
    assert len(hour.retries) <= retried


def test_a_healthy_receiver_gets_the_full_rate_from_the_first_step_on() -> None:
    hour = Hour(lambda _: lambda *_: TAKEN, waiting=501)
    assert hour.sent[:12] == [(0, 1), *[(second, RATE) for second in range(1, 11)], (11, 0)]
    assert hour.statuses == {Status.SUCCEEDED: 501}


def test_one_in_ten_that_fails_slows_nothing() -> None:
    sent = count()

    def flaky(*_: object) -> Outcome:
        return REFUSED if next(sent) % 10 == 3 else TAKEN

    hour = Hour(lambda _: flaky, waiting=501)
    assert hour.sent[:12] == [(0, 1), *[(second, RATE) for second in range(1, 11)], (11, 0)]


def test_a_dead_receiver_is_probed_by_the_schedule() -> None:
    hour = Hour(lambda _: lambda *_: REFUSED, waiting=100)
    # The first delay is over when the execution begins.
    assert hour.sent == [(second, 1) for second in (0, 60, 180, 480, 1080, 1980, 2880)]
    assert not hour.told


def test_a_receiver_that_refuses_a_part_is_sent_no_more_in_that_step(
    services: RecoveryFixture,
) -> None:
    services.wait_for(60)
    services.drain()
    services.sender.answer = Limit(services, 20)
    services.now_ms += 1_000
    # Sixteen were accepted, and four of the next sixteen.
    assert services.step() == DRAINING._replace(pace=16.0)
    assert len(services.sent()) == 32


def test_what_a_step_sent_is_reported_together(services: RecoveryFixture) -> None:
    """The second batch by itself is sixteen failures in a row."""
    deliveries = services.wait_for(50)
    services.drain()
    taken = {one.id for one in deliveries[:16]}
    services.sender.answer = lambda _, headers: (
        TAKEN if headers["X-SendComms-Delivery"] in taken else LIMITED
    )
    assert services.step() == DRAINING._replace(pace=16.0)
    assert len(services.sent()) == 32
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.operational_events.types == []


def test_what_a_step_sent_before_our_own_side_failed_counts(services: RecoveryFixture) -> None:
    deliveries = services.wait_for(40)
    services.be(Circuit.DRAINING, failures=FAILURES_TO_OPEN - 1, draining_since_ms=services.now_ms)
    drain = services.retrier.drain
    later = {one.id for one in deliveries[16:]}

    def lost(destination: object, delivery: object) -> object:
        if delivery.id in later:  # type: ignore[attr-defined]
            raise UnavailableError("lost")
        return drain(destination, delivery)  # type: ignore[arg-type]

    services.retrier.drain = lost  # type: ignore[assignment,method-assign]
    with pytest.raises(UnavailableError):
        services.step()
    assert services.webhook().health.failures == 0


def test_the_pace_is_kept_from_probe_to_probe_and_by_the_draining_after_it(
    services: RecoveryFixture,
) -> None:
    services.wait_for(40)
    services.sender.answer = lambda *_: LIMITED
    step = services.step(RecoveryState(0, probe=1, pace=0.25))
    assert step is not None
    assert (step.probe, step.pace) == (2, 0.25)
    services.sender.answer = None
    # The probe is one of them; therefore the next is four seconds after it.
    assert services.step(step) == RecoveryState(4, probe=0, pace=0.25)
    step = services.step(RecoveryState(0, probe=0, pace=0.25))
    assert step is not None
    assert step.pace == pytest.approx(0.275)
    assert step.seconds == pytest.approx(1 / 0.275)
    assert len(services.sent()) == 3


def test_a_rate_that_was_lowered_meanwhile_is_kept_to(services: RecoveryFixture) -> None:
    services.recovery_rate = 3
    services.wait_for(9)
    services.drain()
    assert services.step(RecoveryState(0, probe=0, pace=8.0)) == DRAINING
    assert len(services.sent()) == 3
