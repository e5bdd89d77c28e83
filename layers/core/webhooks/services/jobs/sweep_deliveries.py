"""The sweep of deliveries: restarts overdue ones, and notifies owners about long waits.

No delivery blocks the others: neither a failing one, nor an unreadable one, nor thousands whose
executions still run, for example in a long outage of ours.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.overdue import (
    GRACE_SECONDS,
    Overdue,
    given_another_execution,
    overdue,
)
from webhooks.domain.retry import restart_delay
from webhooks.domain.timestamps import MILLISECONDS, to_ms
from webhooks.services.concurrency import submit_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import (
        DeliveryStore,
        OverdueDeliveries,
        OverdueDelivery,
        Page,
        RetryScheduler,
        Telemetry,
    )
    from webhooks.services.jobs.quota import Quota
    from webhooks.services.jobs.turn import Turn

SWEPT_AT_ONCE = 500
"""The most deliveries that one sweep restarts after a look at their executions, and the most whose
owners it notifies. Deliveries that could not be started or were lost have no such limit: a sweep
starts as many as its time allows.
"""

THREADS = 16
"""As many threads as the index has partitions: calls mostly wait, even on a shared CPU."""

_PAGE = 8
"""Deliveries examined in a partition before the next partition's turn. Few enough that a sweep gets
to every partition, and some way into it, even if each delivery needs a look at its execution.
"""

_ORDER = (Overdue.UNSTARTED, Overdue.SHORT, Overdue.EXPIRING, Overdue.LONG)
"""Deliveries that need no look at an execution come first, because the others are slower."""

_FEW = {Overdue.EXPIRING, Overdue.LONG}
"""Kinds of which each delivery takes a notice or a call with a low quota."""


class _Candidate(NamedTuple):
    """A delivery as the table has it, and the reason why it is overdue."""

    delivery: Delivery
    why: Overdue


class DeliverySweep:
    """Restarts overdue deliveries, and notifies owners of deliveries whose retention ends.

    `notify_expiring` takes a delivery and the end of its retention, in Unix milliseconds. `looks`
    limits reads of executions, `starts` limits starts of Standard ones.
    """

    def __init__(
        self,
        *,
        overdue: OverdueDeliveries,
        deliveries: DeliveryStore,
        scheduler: RetryScheduler,
        notify_expiring: Callable[[Delivery, int], None],
        telemetry: Telemetry,
        looks: Quota,
        starts: Quota,
        retention_seconds: int,
        clock: Callable[[], float],
        random: Callable[[], float],
        threads: int = THREADS,
    ) -> None:
        self._overdue = overdue
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._notify_expiring = notify_expiring
        self._telemetry = telemetry
        self._looks = looks
        self._starts = starts
        self._retention_seconds = retention_seconds
        self._clock = clock
        self._random = random
        # The pool starts its threads at the first work: a sweep that finds nothing starts none.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sweep")

    def sweep(self, turn: Turn, now_ms: int) -> Counter[Overdue]:
        """Handle deliveries due before a time, one page per partition in turn; return their counts.

        The order of partitions is random, so no partition is always the last.
        """
        partitions = sorted(self._overdue.partitions, key=lambda _: self._random())
        waiting: list[tuple[Iterator[Sequence[DeliveryKey]], Sequence[DeliveryKey]]] = []
        for partition in partitions:
            if turn.spare_seconds() < 0:
                break
            pages = self._pages(turn, partition, now_ms)
            first = next(pages, None)
            if first:
                waiting.append((pages, first))
        seen: set[DeliveryKey] = set()
        counts: Counter[Overdue] = Counter()
        while waiting and counts[Overdue.LONG] < SWEPT_AT_ONCE and turn.spare_seconds() >= 0:
            pages_of_keys = [[key for key in keys if key not in seen] for _, keys in waiting]
            seen.update(key for keys in pages_of_keys for key in keys)
            self._see_to(turn, pages_of_keys, now_ms, counts)
            iterators = [pages for pages, _ in waiting]
            following = submit_all(self._threads, partial(_next, turn), iterators)
            waiting = [
                (pages, keys)
                for pages, future in zip(iterators, following, strict=True)
                if (keys := future.result()) is not None
            ]
        return counts

    def _see_to(
        self,
        turn: Turn,
        pages_of_keys: Sequence[Sequence[DeliveryKey]],
        now_ms: int,
        counts: Counter[Overdue],
    ) -> None:
        pages = [keys for keys in pages_of_keys if keys]
        reads = submit_all(self._threads, partial(self._read, turn, now_ms), pages)
        found = [each for read in reads for each in read.result()]
        for why in _ORDER:
            chosen = [each for each in found if each.why is why]
            if why in _FEW:
                chosen = chosen[: max(0, SWEPT_AT_ONCE - counts[why])]
            results = submit_all(self._threads, partial(self._try_one, turn, now_ms), chosen)
            counts[why] += sum(result.result() for result in results)

    def _read(self, turn: Turn, now_ms: int, keys: Sequence[DeliveryKey]) -> list[_Candidate]:
        """Return the overdue deliveries on a page of the index; the table is up to date."""
        read = turn.attempt(self._deliveries.get_many, keys) or {}
        found = []
        for key, delivery in read.items():
            if delivery is None:
                turn.attempt(_unreadable, key)
            else:
                why = overdue(delivery, now_ms, self._retention_seconds)
                found.append(_Candidate(delivery, why))
        return found

    def _try_one(self, turn: Turn, now_ms: int, found: _Candidate) -> bool:
        if turn.spare_seconds() < 0:
            return False
        if found.why is Overdue.UNSTARTED:
            return bool(turn.attempt(self._start, turn, found.delivery))
        if found.why is Overdue.EXPIRING:
            return bool(turn.attempt(self._notify, found.delivery))
        return bool(turn.attempt(self._restart, turn, found, now_ms))

    def _start(self, turn: Turn, delivery: Delivery) -> bool:
        """Start an execution that could not be started, in the same generation, so it is unique.

        If it runs already, a claim prevents a second attempt.
        """
        if not self._may_start(turn, delivery):
            return False
        self._scheduler.start(delivery, delay_seconds=0)
        self._telemetry.log("warning", "delivery_started_late", **delivery.key._asdict())
        if turn.spare_seconds() >= 0:
            # From now on it is overdue like any other: a delivery that fails each time is started
            # less often.
            self._deliveries.update(delivery.started(), before=delivery)
        return True

    def _restart(self, turn: Turn, found: _Candidate, now_ms: int) -> bool:
        delivery = found.delivery
        if found.why is Overdue.LONG:
            if not self._looks.take(turn.spare_seconds()) or self._scheduler.running(delivery):
                return False
            if turn.spare_seconds() < 0:
                return False
        delay = restart_delay(delivery.restarts)
        again = given_another_execution(delivery, to_ms(self._clock()), delay)
        # Its execution may have ended just now, or another sweep may be faster.
        if not self._deliveries.update(again, before=delivery):
            return False
        self._telemetry.log(
            "error",
            "delivery_overdue",
            **delivery.key._asdict(),
            status=delivery.status,
            seconds=(now_ms - (delivery.next_attempt_at_ms or now_ms)) // MILLISECONDS,
        )
        if turn.spare_seconds() >= 0 and self._may_start(turn, again):
            self._scheduler.start(again, delay_seconds=delay)
        return True

    def _may_start(self, turn: Turn, delivery: Delivery) -> bool:
        """Wait for a start's token; False if that takes longer than the sweep has time."""
        return delivery.short or self._starts.take(turn.spare_seconds())

    def _notify(self, delivery: Delivery) -> bool:
        if not self._deliveries.note_expiring(delivery):
            return False
        expires_at_ms = delivery.last_active_at_ms + self._retention_seconds * MILLISECONDS
        self._notify_expiring(delivery, expires_at_ms)
        return True

    def _pages(self, turn: Turn, partition: str, now_ms: int) -> Iterator[Sequence[DeliveryKey]]:
        """Yield a partition page by page, the longest overdue first.

        If it has more than one page, the deliveries that became due lately come next: among them
        are short delays that were lost a minute ago and need no look at an execution. The older
        ones begin at another random place each time, because executions may still run for most of
        them, and they are more than a sweep can examine. The place is more often near the older
        end, where abandoned deliveries gather.
        """
        first = turn.attempt(self._overdue.page, partition, 0, now_ms, _PAGE)
        if first is None:
            return
        yield _keys(first)
        if first.next is None:
            return
        place = first.items[-1]
        lately_ms = max(place.due_ms, now_ms - to_ms(GRACE_SECONDS))
        yield from self._rest(turn, partition, lately_ms, now_ms, None)
        middle_ms = place.due_ms + int((lately_ms - place.due_ms) * self._random() ** 3)
        if middle_ms < lately_ms:
            yield from self._rest(turn, partition, middle_ms, lately_ms, None)
        if place.due_ms < middle_ms:
            yield from self._rest(turn, partition, 0, middle_ms, place)

    def _rest(
        self,
        turn: Turn,
        partition: str,
        since_ms: int,
        before_ms: int,
        after: OverdueDelivery | None,
    ) -> Iterator[Sequence[DeliveryKey]]:
        while turn.spare_seconds() >= 0:
            page = turn.attempt(self._overdue.page, partition, since_ms, before_ms, _PAGE, after)
            if page is None:
                return
            yield _keys(page)
            if page.next is None:
                return
            after = page.items[-1]


def _next(turn: Turn, pages: Iterator[Sequence[DeliveryKey]]) -> Sequence[DeliveryKey] | None:
    return turn.attempt(next, pages, None)


def _unreadable(key: DeliveryKey) -> None:
    raise UnreadableRecordError(key)


def _keys(page: Page[OverdueDelivery]) -> list[DeliveryKey]:
    return [each.key for each in page.items]
