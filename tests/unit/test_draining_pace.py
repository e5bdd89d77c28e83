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

from support.recovering import DRAINING, FIRST, REFUSED, World
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
def world() -> World:
    return World(recovery_rate=RATE)


class Limit:
    """A receiver that accepts so many deliveries a second, and answers all the others with 429."""

    def __init__(self, world: World, a_second: float) -> None:
        self._world = world
        self._a_second = a_second
        self._left = 1.0
        self._at_ms = world.now_ms
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

    def __init__(self, answer: Callable[[World], Callable[..., Outcome]], waiting: int) -> None:
        self.world = World(
            schedule=DEFAULT_SCHEDULE,
            recovery_schedule=DEFAULT_RECOVERY_SCHEDULE,
            recovery_rate=RATE,
        )
        self.world.wait_for(waiting)
        self.world.sender.answer = answer(self.world)
        self.retries: set[Name] = set()
        self.sent: list[tuple[int, int]] = []
        """The second of each of the recovery's steps, and the number of its deliveries."""
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._start_ms = self.world.now_ms
        self._later(0, partial(self._recover, FIRST))
        while self._due and self._due[0][0] <= self._start_ms + HOUR * 1000:
            self.world.now_ms, _, work = heapq.heappop(self._due)
            work()
            self._follow()

    @property
    def told(self) -> Counter[str]:
        """The number of operational events of each type about the webhook."""
        return Counter(self.world.operational_events.types)

    @property
    def statuses(self) -> Counter[Status]:
        """The number of deliveries in each status."""
        return Counter(one.status for one in self.world.deliveries.deliveries.values())

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        # Step Functions waits whole seconds.
        at_ms = self.world.now_ms + math.ceil(seconds) * 1000
        heapq.heappush(self._due, (at_ms, next(self._order), work))

    def _recover(self, before: RecoveryState) -> None:
        posts = len(self.world.sender.posts)
        step = self.world.step(before)
        second = (self.world.now_ms - self._start_ms) // 1000
        self.sent.append((second, len(self.world.sender.posts) - posts))
        if step is not None:
            self._later(step.seconds, partial(self._recover, step))

    def _retry(self, key: DeliveryKey, attempt: int, generation: int) -> None:
        verdict = self.world.retry(key, attempt, generation)
        if verdict.decision is Decision.WAIT:
            self._later(verdict.seconds, partial(self._retry, key, attempt + 1, generation))

    def _follow(self) -> None:
        for name in self.world.scheduler.generations.keys() - self.retries:
            self.retries.add(name)
            key, generation, _ = name
            attempt, delay = self.world.scheduler.executions[key]
            self._later(delay, partial(self._retry, key, attempt, generation))


@pytest.mark.parametrize(
    ("a_second", "taken", "retried"), [(5, 3_000, 150), (1, 2_600, 350), (0.2, 300, 100)]
)
def test_an_hour_with_a_receiver_that_takes_so_many_a_second(
    a_second: float, taken: int, retried: int
) -> None:
    """It is reported down a few times and not each minute, and the draining delivers most."""
    hour = Hour(lambda world: Limit(world, a_second), waiting=3_000)
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


def test_a_receiver_that_refuses_a_part_is_sent_no_more_in_that_step(world: World) -> None:
    world.wait_for(60)
    world.drain()
    world.sender.answer = Limit(world, 20)
    world.now_ms += 1_000
    # Sixteen were accepted, and four of the next sixteen.
    assert world.step() == DRAINING._replace(pace=16.0)
    assert len(world.sent()) == 32


def test_what_a_step_sent_is_reported_together(world: World) -> None:
    """The second batch by itself is sixteen failures in a row."""
    deliveries = world.wait_for(50)
    world.drain()
    taken = {one.id for one in deliveries[:16]}
    world.sender.answer = lambda _, headers: (
        TAKEN if headers["X-SendComms-Delivery"] in taken else LIMITED
    )
    assert world.step() == DRAINING._replace(pace=16.0)
    assert len(world.sent()) == 32
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == []


def test_what_a_step_sent_before_our_own_side_failed_counts(world: World) -> None:
    deliveries = world.wait_for(40)
    world.be(Circuit.DRAINING, failures=FAILURES_TO_OPEN - 1, draining_since_ms=world.now_ms)
    drain = world.retrier.drain
    later = {one.id for one in deliveries[16:]}

    def lost(destination: object, delivery: object) -> object:
        if delivery.id in later:  # type: ignore[attr-defined]
            raise UnavailableError("lost")
        return drain(destination, delivery)  # type: ignore[arg-type]

    world.retrier.drain = lost  # type: ignore[assignment,method-assign]
    with pytest.raises(UnavailableError):
        world.step()
    assert world.webhook().health.failures == 0


def test_the_pace_is_kept_from_probe_to_probe_and_by_the_draining_after_it(world: World) -> None:
    world.wait_for(40)
    world.sender.answer = lambda *_: LIMITED
    step = world.step(RecoveryState(0, probe=1, pace=0.25))
    assert step is not None
    assert (step.probe, step.pace) == (2, 0.25)
    world.sender.answer = None
    # The probe is one of them; therefore the next is four seconds after it.
    assert world.step(step) == RecoveryState(4, probe=0, pace=0.25)
    step = world.step(RecoveryState(0, probe=0, pace=0.25))
    assert step is not None
    assert step.pace == pytest.approx(0.275)
    assert step.seconds == pytest.approx(1 / 0.275)
    assert len(world.sent()) == 3


def test_a_rate_that_was_lowered_meanwhile_is_kept_to(world: World) -> None:
    world.recovery_rate = 3
    world.wait_for(9)
    world.drain()
    assert world.step(RecoveryState(0, probe=0, pace=8.0)) == DRAINING
    assert len(world.sent()) == 3
