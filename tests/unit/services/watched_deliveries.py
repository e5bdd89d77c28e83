"""Deliveries that are checked at every write, and their executions."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from support.fakes import FakeDeliveryStore, FakeJobScheduler, FakeScheduler
from support.fakes.schedulers import Name
from webhooks.domain.delivery import Delivery, DeliveryKey, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.ports import JobKey

Result = TypeVar("Result")

MOVES = {
    None: {Status.RETRYING, Status.WAITING, Status.SUCCEEDED},
    Status.RETRYING: {*Status} - {Status.PENDING},
    Status.WAITING: {*Status} - {Status.PENDING},
    # An owner's own attempt may still arrive, and an operator may restart the schedule.
    Status.EXHAUSTED: {Status.EXHAUSTED, Status.SUCCEEDED, Status.RETRYING},
    Status.SUCCEEDED: {Status.SUCCEEDED},
    Status.CANCELLED: {Status.CANCELLED},
}


class Inline(Executor):
    """Runs its task at once, so that the order is the same each time."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Watched(dict[DeliveryKey, Delivery]):
    """The stored deliveries, and a note of each forbidden write."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self._attempts = attempts

    def __setitem__(self, key: DeliveryKey, delivery: Delivery) -> None:
        before = self.get(key)
        was = before.status if before else None
        if delivery.status not in MOVES[was]:
            self.wrong.append(f"{was} became {delivery.status}")
        known = before.attempts if before else ()
        if delivery.attempts[: len(known)] != known:
            self.wrong.append("an attempt was lost")
        if [one.number for one in delivery.attempts] != [*range(1, len(delivery.attempts) + 1)]:
            self.wrong.append("the attempts have a gap")
        if before and delivery.generation not in {before.generation, before.generation + 1}:
            self.wrong.append("a generation was left out")
        exhausted = delivery.status is Status.EXHAUSTED and was is not Status.EXHAUSTED
        # After a receiver's "gone" at the last attempt, it goes once more to its new place.
        gone = sum(one.scheduled and one.status_code == 410 for one in delivery.attempts)
        if exhausted and not 0 <= delivery.scheduled_attempts - self._attempts <= gone:
            self.wrong.append(f"exhausted after {delivery.scheduled_attempts} attempts")
        super().__setitem__(key, delivery)

    def setdefault(self, key: DeliveryKey, default: Any = None) -> Delivery:
        if key not in self:
            self[key] = default
        return self[key]


class LossyDeliveryStore(FakeDeliveryStore):
    """Makes a write and loses its answer, where a test plans it."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self.watched = Watched(attempts)
        self.deliveries = self.watched
        self.lost_answers = 0
        self.unrecorded: list[Delivery] = []

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        unwritten = super().put_settled(deliveries)
        if self.lost_answers:
            self.lost_answers -= 1
            unwritten = [delivery.key for delivery in deliveries]
        self.unrecorded += [delivery for delivery in deliveries if delivery.key in unwritten]
        return unwritten

    def create(self, delivery: Delivery) -> Delivery:
        created = super().create(delivery)
        self._maybe_lose()
        return created

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        updated = super().update(delivery, before=before)
        self._maybe_lose()
        return updated

    def _maybe_lose(self) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            msg = "the answer was lost"
            raise UnavailableError(msg)


@dataclass
class Execution:
    attempt: int
    due_ms: int
    sent_dead_letter: bool = False


class Executions(FakeScheduler):
    """The executions of the retry state machine that are still running."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.live: dict[Name, Execution] = {}
        self._clock = clock

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        name = Name.of(delivery)
        known = name in self.generations
        assert delay_seconds >= 0
        super().start(delivery, delay_seconds=delay_seconds)
        if not known:
            due_ms = int((self._clock() + delay_seconds) * 1000)
            self.live[name] = Execution(delivery.scheduled_attempts + 1, due_ms)

    def end(self, name: Name) -> None:
        del self.live[name]
        self.generations[name] = False


@dataclass
class Recovering:
    key: RecoveryKey
    step: RecoveryState
    due_ms: int


class Recoveries(FakeJobScheduler):
    """The executions of the job state machine that are still running."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.live: dict[str, Recovering] = {}
        self._names: set[str] = set()
        self._clock = clock

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        assert isinstance(key, RecoveryKey)
        assert delay_seconds >= 0
        super().start(key, delay_seconds=delay_seconds, run=run)
        if key.recovery_id not in self._names:
            self._names.add(key.recovery_id)
            due_ms = int((self._clock() + delay_seconds) * 1000)
            self.live[key.recovery_id] = Recovering(key, RecoveryState(0), due_ms)
