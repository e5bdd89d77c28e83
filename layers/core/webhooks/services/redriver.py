"""The redrive: an operator starts deliveries of the dead-letter queue again."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from webhooks.domain.delivery import MAX_ATTEMPTS, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import DeliveryStore, RetryScheduler


_SHORT_GRACE_MS = 60_000
"""How long after a short delay its attempt may still be under way. The sweep waits as long."""


class Redriven(StrEnum):
    """The result of a redrive. Only a result that is `done` finishes the message."""

    STARTED = "started"
    LEFT_TO_SWEEP = "left to the sweep"
    REDRIVEN_BEFORE = "redriven before"
    IN_PROGRESS = "under way"
    SETTLED = "settled"
    WAITING = "waiting"
    EXPIRED = "expired"
    ERASED = "erased"
    LOG_FULL = "log full"
    BUSY = "busy"

    @property
    def done(self) -> bool:
        """True if nothing is left to do for the message."""
        return self not in {Redriven.LOG_FULL, Redriven.BUSY}


_NOT_OURS = {
    Status.WAITING: Redriven.WAITING,
    Status.SUCCEEDED: Redriven.SETTLED,
    Status.CANCELLED: Redriven.SETTLED,
}


class Redriver:
    """Gives deliveries a new generation, whose schedule begins again.

    The retrier reads the webhook again: the delivery of a deleted webhook is cancelled, and that of
    a disabled webhook waits. `clock` gives Unix seconds.
    """

    def __init__(
        self, deliveries: DeliveryStore, scheduler: RetryScheduler, clock: Callable[[], float]
    ) -> None:
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._clock = clock

    def redrive(self, key: DeliveryKey, generation: int | None = None) -> Redriven:
        """Start a delivery's schedule again at once, unless the result says why not.

        `generation` is that of the message: two messages of one generation are one redrive. If Step
        Functions refuses the start, the sweep makes it. Raises UnavailableError.
        """
        delivery = self._deliveries.get(key)
        if delivery is None:
            return Redriven.EXPIRED
        refused = _refusal(delivery, generation)
        if refused is not None:
            return refused
        now_ms = to_ms(self._clock())
        # The execution of an exhausted delivery sends the message before it ends, and may seem to
        # run for a moment longer. It makes no further attempt, so the new generation may begin. The
        # same holds while the sweep's execution only waits, up to a day, for a fault that may be
        # over by now.
        ended = delivery.status is Status.EXHAUSTED
        waits = delivery.restarts and (delivery.next_attempt_at_ms or 0) > now_ms
        if not (ended or waits) and self._under_way(delivery, now_ms):
            return Redriven.IN_PROGRESS
        again = replace(
            delivery.resumed(now_ms),
            status=Status.RETRYING,
            reason=None,
            earlier_attempts=delivery.earlier_attempts + delivery.scheduled_attempts,
        )
        if not self._deliveries.update(again, before=delivery):
            return Redriven.BUSY
        return self._start(again)

    def _start(self, again: Delivery) -> Redriven:
        try:
            self._scheduler.start(again, delay_seconds=0)
        except UnavailableError:
            self._deliveries.mark_unstarted(again)
            return Redriven.LEFT_TO_SWEEP
        return Redriven.STARTED

    def _under_way(self, delivery: Delivery, now_ms: int) -> bool:
        """True if the delivery's next attempt is expected without a redrive."""
        if not delivery.short:
            return self._scheduler.running(delivery)
        leased_ms = delivery.claim.until_ms if delivery.claim else 0
        return now_ms < max(delivery.next_attempt_at_ms or 0, leased_ms) + _SHORT_GRACE_MS


def _refusal(delivery: Delivery, generation: int | None) -> Redriven | None:
    """Return why a delivery is not attempted again, even if nothing else works on it; else None."""
    if generation is not None and delivery.generation != generation:
        return Redriven.REDRIVEN_BEFORE
    if delivery.erased:
        return Redriven.ERASED
    if len(delivery.attempts) >= MAX_ATTEMPTS and delivery.status not in _NOT_OURS:
        return Redriven.LOG_FULL
    return _NOT_OURS.get(delivery.status)
