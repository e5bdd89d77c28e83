"""The schedulers of the state machines, which note the requested starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from support.fakes.failures import Failures
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import JobKey


class Name(NamedTuple):
    """The parts of a retry execution's name."""

    key: DeliveryKey
    generation: int
    letter: int = 0
    """The number of times that the dead letter of an exhausted delivery was sent again before."""

    @classmethod
    def of(cls, delivery: Delivery) -> Name:
        letter = delivery.restarts if delivery.status is Status.EXHAUSTED else 0
        return cls(delivery.key, delivery.generation, letter)


class FakeScheduler:
    """A `RetryScheduler` that keeps one execution a generation, as Step Functions does by name."""

    def __init__(self) -> None:
        self.executions: dict[DeliveryKey, tuple[int, float]] = {}
        self.generations: dict[Name, bool] = {}
        self.shorts: list[tuple[DeliveryKey, int, float]] = []
        self.resends: dict[str, tuple[DeliveryKey, int]] = {}
        self.resend_delays: list[float] = []
        self.calls = 0
        self.failures = Failures()

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        self.calls += 1
        self.failures.check("start")
        if delivery.short:
            # Express starts another execution under the same name.
            self.shorts.append((delivery.key, delivery.next_attempt, delay_seconds))
            return
        name = Name.of(delivery)
        if name not in self.generations:
            self.generations[name] = True
            self.executions[delivery.key] = (delivery.scheduled_attempts + 1, delay_seconds)

    def running(self, delivery: Delivery) -> bool:
        self.failures.check("running")
        return self.generations.get(Name.of(delivery), False)

    def stop(self, delivery: Delivery) -> None:
        """End an execution early, an operator's act."""
        self.generations[Name.of(delivery)] = False

    def resend(
        self, key: DeliveryKey, *, attempt: int, request_id: str, delay_seconds: float = 0
    ) -> None:
        self.failures.check("resend")
        self.resend_delays.append(delay_seconds)
        self.resends.setdefault(request_id, (key, attempt))


class FakeJobScheduler:
    """A `JobScheduler` that keeps each start, and its delay in seconds."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, float]] = []
        self.runs: list[tuple[Any, int]] = []
        self.failures = Failures()

    @property
    def keys(self) -> list[Any]:
        """The jobs that were started."""
        return [key for key, _ in self.started]

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        self.failures.check("start")
        self.started.append((key, delay_seconds))
        self.runs.append((key, run))
