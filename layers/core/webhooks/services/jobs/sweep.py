"""The sweep: what nobody works on any more, though it is due, is started again.

Most executions are started by somebody who tries again until they are; Step Functions keeps them
going. So there is nothing to find here, unless an operator stopped an execution, a message was lost
with its queue, or a fault of ours outlived every retry. What is found is counted, for an alarm.

Nothing that it comes upon keeps the rest from its turn: not one that fails, not one that cannot be
read, and not thousands whose executions go on, as in a long outage of ours.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.health import RecoveryKey
from webhooks.domain.retry import restart_delay
from webhooks.services.together import done
from webhooks.services.trouble import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import (
        DeliveryStore,
        HealthStore,
        JobScheduler,
        Observer,
        OverdueDeliveries,
        OverdueDelivery,
        Page,
        RetryScheduler,
    )

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

GRACE_SECONDS = 600.0
"""Due for longer than this is overdue: as long as a retry's own tries usually take."""

SWEPT_AT_ONCE = 500
"""Deliveries, and recoveries, that one sweep starts again, and a few more at most."""

SECONDS_FOR_ONE = 4 * 9.0
"""The calls that start one again, each at its slowest (see `adapters.aws`)."""

_PAGE = 8
"""Deliveries of a partition that are looked at before it is another partition's turn: few enough
that a sweep looks into each of them, and some way into it, where every single one takes a call."""

_MILLISECONDS = 1000


class _Turn:
    """One sweep: how long it may go on, and the first of what failed in it."""

    def __init__(self, remaining_seconds: Callable[[], float], observer: Observer) -> None:
        self._remaining_seconds = remaining_seconds
        self._observer = observer
        self.failure: BaseException | None = None

    def spare_seconds(self) -> float:
        """Return the seconds until none more is begun with."""
        return self._remaining_seconds() - SECONDS_FOR_ONE

    def attempt(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result | None:
        """Do a part of the sweep; where it fails, that is told, and the sweep goes on."""
        future = done(work, *args, **kwargs)
        error = future.exception()
        if error is None:
            return future.result()
        tell(self._observer, "sweep_failed", error)
        if not isinstance(error, UnreadableRecordError):
            self.failure = self.failure or error
        return None


class SweepJob:
    """Finds overdue deliveries and recoveries, and gives them a new execution."""

    def __init__(
        self,
        *,
        overdue: OverdueDeliveries,
        deliveries: DeliveryStore,
        scheduler: RetryScheduler,
        health: HealthStore,
        recoveries: JobScheduler,
        observer: Observer,
        clock: Callable[[], float],
        random: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`clock` gives Unix seconds, `random` 0 to 1."""
        self._overdue = overdue
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._health = health
        self._recoveries = recoveries
        self._observer = observer
        self._clock = clock
        self._random = random
        self._new_id = new_id

    def sweep(self, remaining_seconds: Callable[[], float]) -> tuple[int, int]:
        """Start again what is overdue; returns how many deliveries and how many recoveries.

        What does not fit in the time that is left is the next sweep's. Raises at its end what
        failed first, but for a record that cannot be read: of another sweep that gets no better.
        """
        turn = _Turn(remaining_seconds, self._observer)
        before_ms = int((self._clock() - GRACE_SECONDS) * _MILLISECONDS)
        recoveries = self._replace_overdue(turn, before_ms)
        deliveries = self._restart_overdue(turn, before_ms)
        # Zero too, but only of a sweep that came to its end: an alarm is to see that there was one.
        if deliveries or turn.failure is None:
            self._observer.count("OverdueDeliveries", deliveries)
        if recoveries or turn.failure is None:
            self._observer.count("OverdueRecoveries", recoveries)
        if turn.failure is not None:
            raise turn.failure
        return deliveries, recoveries

    def _replace_overdue(self, turn: _Turn, before_ms: int) -> int:
        """Replace recoveries: first, since they are few and much waits for each.

        But in half of the time, so that deliveries have their turn too.
        """
        half = turn.spare_seconds() / 2
        found = turn.attempt(self._health.overdue, before_ms, SWEPT_AT_ONCE) or ()
        replaced = 0
        for key in found:
            if turn.spare_seconds() < max(half, 0):
                break
            replaced += turn.attempt(self._replace, key) or 0
        return replaced

    def _restart_overdue(self, turn: _Turn, before_ms: int) -> int:
        """Restart deliveries, a page of each partition in turn, in another order each time."""
        partitions = sorted(self._overdue.partitions, key=lambda _: self._random())
        waiting = deque(self._pages(turn, partition, before_ms) for partition in partitions)
        restarted = 0
        while waiting and restarted < SWEPT_AT_ONCE and turn.spare_seconds() >= 0:
            pages = waiting.popleft()
            page = next(pages, None)
            if page is not None:
                restarted += self._restart_those(turn, page, before_ms)
                waiting.append(pages)
        return restarted

    def _pages(
        self, turn: _Turn, partition: str, before_ms: int
    ) -> Iterator[Sequence[DeliveryKey]]:
        """Yield a partition page by page, the longest overdue first.

        Where it has more than a page, what is behind begins somewhere else each time: most of it
        may be worked on, and more than a sweep can look at. Rather at the older end, to which
        everything comes that nobody works on.
        """
        first = turn.attempt(self._overdue.page, partition, 0, before_ms, _PAGE)
        if first is None:
            return
        yield _keys(first)
        if first.next is None:
            return
        place = first.items[-1]
        middle_ms = place.due_ms + int((before_ms - place.due_ms) * self._random() ** 3)
        yield from self._rest(turn, partition, middle_ms, before_ms, None)
        if place.due_ms < middle_ms:
            yield from self._rest(turn, partition, 0, middle_ms, place)

    def _rest(
        self,
        turn: _Turn,
        partition: str,
        since_ms: int,
        before_ms: int,
        after: OverdueDelivery | None,
    ) -> Iterator[Sequence[DeliveryKey]]:
        while True:
            page = turn.attempt(self._overdue.page, partition, since_ms, before_ms, _PAGE, after)
            if page is None:
                return
            yield _keys(page)
            if page.next is None:
                return
            after = page.items[-1]

    def _restart_those(self, turn: _Turn, keys: Sequence[DeliveryKey], before_ms: int) -> int:
        found = turn.attempt(self._deliveries.get_many, keys) if keys else None
        restarted = 0
        for key, delivery in (found or {}).items():
            if turn.spare_seconds() < 0:
                break
            restarted += turn.attempt(self._restart, key, delivery, before_ms) or 0
        return restarted

    def _restart(self, key: DeliveryKey, delivery: Delivery | None, before_ms: int) -> bool:
        if delivery is None:
            raise UnreadableRecordError(key)
        if (delivery.next_attempt_at_ms or before_ms) >= before_ms:
            # What the index still had is no more so.
            return False
        if self._scheduler.running(delivery):
            return False
        # Its execution may have come to its end only just now: what that recorded is there by now.
        if self._deliveries.get(key) != delivery:
            return False
        delay = restart_delay(delivery.restarts)
        again = delivery.restarted(int((self._clock() + delay) * _MILLISECONDS))
        if not self._deliveries.update(again, before=delivery):
            return False
        self._observer.log("error", "delivery_overdue", **key._asdict(), status=delivery.status)
        self._scheduler.start(again, delay_seconds=delay)
        return True

    def _replace(self, key: RecoveryKey) -> bool:
        new = RecoveryKey(key.account_id, key.webhook_id, self._new_id())
        due_ms = int(self._clock() * _MILLISECONDS)
        if not self._health.replace(key, new.recovery_id, due_ms):
            return False
        self._observer.log("error", "recovery_overdue", **key._asdict())
        self._recoveries.start(new, delay_seconds=0)
        return True


def _keys(page: Page[OverdueDelivery]) -> list[DeliveryKey]:
    return [overdue.key for overdue in page.items]
