"""Simulates slow tenants, outages and recoveries, with the real schedule, circuit and recovery.

Run it with `PYTHONPATH=functions:layers/core:tests:. python -m benchmarks.simulate`. A tenant's
events are sampled: one batch of ten every ten seconds represents all of them, because decisions
about a webhook depend on the results of its attempts only, not on their number.
"""

from __future__ import annotations

import heapq
import json
import sys
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks import machines
from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.retry import DEFAULT_RECOVERY_SCHEDULE, DEFAULT_SCHEDULE
from webhooks.services.retrier import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.domain.health import RecoveryKey

BATCH = 10
BATCH_EVERY_SECONDS = 10
TIMEOUT_SECONDS = 5.0
OWN_SECONDS = 0.03
"""An invocation's time without its wait for receivers: its calls of AWS, and its work."""

RECOVERY_RATE = 50
DISPATCHERS = 50
"""The template's RecoveryRate and DispatcherConcurrency; a test compares them."""

HOUR = 3600

_RETRY = machines.definition("retry")
_STATES_A_STEP = 3
"""Wait, Step, Decide: the states of a recovery's step, and of a later attempt."""


@dataclass(frozen=True)
class Tenant:
    """An account with one webhook: its events, its response time, and its outage."""

    events_per_second: float
    answer_seconds: float = 0.1
    down: tuple[int, int] = (0, 0)


@dataclass
class Simulation:
    """Tenants on one stack, second by second."""

    tenants: Sequence[Tenant]
    services: ServiceFixture = field(init=False)
    executions: int = 0
    transitions: int = 0
    probes: int = 0
    posts: int = 0
    deferred: float = 0.0
    peak_dispatchers: float = 0.0
    drained: dict[int, float] = field(default_factory=dict)
    """By tenant, the seconds in which a recovery sent its backlog, at its limited rate."""

    def __post_init__(self) -> None:
        """Register the tenants' webhooks."""
        self.services = ServiceFixture(
            schedule=DEFAULT_SCHEDULE,
            recovery_schedule=DEFAULT_RECOVERY_SCHEDULE,
            recovery_rate=RECOVERY_RATE,
        )
        self.services.sender.answer = self._answer
        for number, _ in enumerate(self.tenants):
            self.services.add(
                number + 1, account_id=f"acc_{number}", url=f"https://t{number}.example"
            )
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._events = count()
        self._known: set[Any] = set()
        self._second = 0.0
        self._backlog: dict[int, float] = {}

    def run(self, seconds: int) -> dict[str, Any]:
        """Run this many seconds; return the counts, scaled to all events."""
        start_ms = self.services.now_ms
        for second in range(seconds):
            self._at(start_ms, second)
            while self._due and self._due[0][0] <= second:
                at, _, work = heapq.heappop(self._due)
                self._at(start_ms, max(at, second))
                work()
                self._follow()
            if second % BATCH_EVERY_SECONDS == 0:
                self._dispatch()
        events = sum(tenant.events_per_second for tenant in self.tenants) * seconds
        return {
            "events": events,
            "executions": self.executions,
            "executions at most, with every dispatcher at work": self.executions
            + BATCH * DISPATCHERS * sum(1 for tenant in self.tenants if any(tenant.down)),
            "transitions": self.transitions,
            "probes and drains": self.probes,
            "deferred": round(self.deferred),
            "dispatchers at once, at most": round(self.peak_dispatchers, 1),
            "hours to drain, at the recovery rate": {
                str(number): round(backlog / RECOVERY_RATE / HOUR, 1)
                for number, backlog in self._backlog.items()
            },
        }

    def _at(self, start_ms: int, second: float) -> None:
        self._second = second
        self.services.now_ms = start_ms + int(second * 1000)

    def _answer(self, url: str, _: Mapping[str, str]) -> Outcome:
        self.posts += 1
        tenant = self.tenants[int(url.removeprefix("https://t").removesuffix(".example"))]
        if tenant.down[0] <= self._second < tenant.down[1]:
            return Outcome(FailureReason.TIMEOUT, duration_ms=int(TIMEOUT_SECONDS * 1000))
        return Outcome(status_code=200, duration_ms=int(tenant.answer_seconds * 1000))

    def _dispatch(self) -> None:
        """Dispatch each tenant's sample, and add up the dispatchers that all its events occupy."""
        dispatchers = 0.0
        for number, tenant in enumerate(self.tenants):
            posts = self.posts
            events = [self._event(number) for _ in range(BATCH)]
            self.services.send(*events, group=f"acc_{number}")
            busy = OWN_SECONDS
            if self.posts > posts:
                down = tenant.down[0] <= self._second < tenant.down[1]
                busy += TIMEOUT_SECONDS if down else tenant.answer_seconds
            else:
                scaled = tenant.events_per_second * BATCH_EVERY_SECONDS
                self.deferred += scaled
                self._backlog[number] = self._backlog.get(number, 0.0) + scaled
            dispatchers += tenant.events_per_second / BATCH * busy
            self._follow()
        self.peak_dispatchers = max(self.peak_dispatchers, dispatchers)

    def _event(self, number: int) -> str:
        return samples.event_text(
            account_id=f"acc_{number}", transaction_id=f"txn_{next(self._events)}"
        )

    def _follow(self) -> None:
        """Find the executions that were started, and the time of their first step."""
        for name in [
            name for name in self.services.scheduler.generations if name not in self._known
        ]:
            self._known.add(name)
            self.executions += 1
            key, generation, _ = name
            attempt, delay = self.services.scheduler.executions[key]
            self._later(delay, _bound(self._retry, key, attempt, generation))
        while self.services.recoveries.started:
            recovery, delay = self.services.recoveries.started.pop()
            # A recovery that is due may be started again by a caller unaware of the first start:
            # the name is taken.
            if recovery in self._known:
                continue
            self._known.add(recovery)
            self.executions += 1
            self._later(delay, _bound(self._recover, recovery, RecoveryState(0)))

    def _later(self, delay: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._second + delay, next(self._order), work))

    def _retry(self, key: DeliveryKey, attempt: int, generation: int) -> None:
        verdict = self.services.retry(key, attempt, generation)
        ending = machines.states_entered(_RETRY, [verdict.decision]) if _ends(verdict) else []
        self.transitions += len(ending) or _STATES_A_STEP
        if verdict.decision is Decision.WAIT:
            self._later(verdict.seconds, _bound(self._retry, key, attempt + 1, generation))

    def _recover(self, key: RecoveryKey, step: RecoveryState) -> None:
        following = self.services.recovery_job.advance(key, step, lambda: 45.0)
        self.probes += 1
        self.transitions += _STATES_A_STEP
        if following is None:
            self.transitions += 1
        else:
            self._later(following.seconds, _bound(self._recover, key, following))

    def waiting(self) -> int:
        """Return the number of sampled deliveries that still wait."""
        found = self.services.deliveries.deliveries.values()
        return sum(delivery.status is Status.WAITING for delivery in found)


def _ends(verdict: Any) -> bool:
    return verdict.decision is not Decision.WAIT


def _bound(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    return lambda: work(*arguments)


def outage(events_per_second: float = 1000.0) -> dict[str, Any]:
    """Simulate one dead webhook at this rate for an hour."""
    return Simulation([Tenant(events_per_second, down=(0, HOUR))]).run(HOUR)


def recovered(events_per_second: float = 1000.0) -> dict[str, Any]:
    """Simulate a webhook that is down for half an hour, and the hour after that."""
    simulation = Simulation([Tenant(events_per_second, down=(0, HOUR // 2))])
    return {**simulation.run(HOUR + HOUR // 2), "sampled and waiting": simulation.waiting()}


def busy_stack(events_per_second: float = 10_000.0) -> dict[str, Any]:
    """Simulate an hour with 80 % healthy tenants, 15 % slow ones, 5 % down for half of it."""
    share = events_per_second / 20
    healthy = [Tenant(share) for _ in range(16)]
    slow = [Tenant(share, answer_seconds=4.0) for _ in range(3)]
    return Simulation([*healthy, *slow, Tenant(share, down=(600, 2400))]).run(HOUR)


def measure() -> dict[str, Any]:
    """Return the results of all simulations."""
    return {
        "a dead webhook, 1,000 events a second, an hour": outage(),
        "down for half an hour, then back": recovered(),
        "10,000 events a second, 15 % slow, 5 % down": busy_stack(),
    }


if __name__ == "__main__":
    json.dump(measure(), sys.stdout, indent=2)
    sys.stdout.write("\n")
