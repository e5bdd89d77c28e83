"""A redrive: what an operator has the dead-letter queue's deliveries do once more."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from webhooks.domain.delivery import MAX_ATTEMPTS, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import DeliveryStore, RetryScheduler

_MILLISECONDS = 1000


class Redriven(StrEnum):
    """What came of a redrive. Only where it is `done` has the message no more to say."""

    STARTED = "started"
    UNDER_WAY = "under way"
    SETTLED = "settled"
    WAITING = "waiting"
    EXPIRED = "expired"
    ERASED = "erased"
    LOG_FULL = "log full"
    BUSY = "busy"

    @property
    def done(self) -> bool:
        """Whether nothing is left of what the message asks for."""
        return self not in {Redriven.LOG_FULL, Redriven.BUSY}


_NOT_OURS = {
    Status.WAITING: Redriven.WAITING,
    Status.SUCCEEDED: Redriven.SETTLED,
    Status.CANCELLED: Redriven.SETTLED,
}


class Redriver:
    """Gives deliveries a new generation, whose schedule begins anew.

    The retrier reads the webhook again, so that a delivery of one that was deleted is cancelled and
    one of a disabled webhook waits.
    """

    def __init__(
        self, deliveries: DeliveryStore, scheduler: RetryScheduler, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._clock = clock

    def redrive(self, key: DeliveryKey) -> Redriven:
        """Have a delivery attempted again at once, unless that is not for an operator to do.

        Done twice it is one redrive. Raises UnavailableError.
        """
        delivery = self._deliveries.get(key)
        if delivery is None:
            return Redriven.EXPIRED
        refused = _refusal(delivery)
        if refused is not None:
            return refused
        now_ms = int(self._clock() * _MILLISECONDS)
        # The execution of one that is exhausted sends its message before it ends, and may be seen
        # as running for a moment longer. It attempts nothing any more; the new generation does. So
        # it does where the sweep's only waits, up to a day, for a fault that may be over by now.
        ended = delivery.status is Status.EXHAUSTED
        waits = delivery.restarts and (delivery.next_attempt_at_ms or 0) > now_ms
        if not (ended or waits) and self._scheduler.running(delivery):
            return Redriven.UNDER_WAY
        again = replace(
            delivery.resumed(now_ms),
            status=Status.RETRYING,
            reason=None,
            earlier_attempts=delivery.earlier_attempts + delivery.scheduled_attempts,
        )
        if not self._deliveries.update(again, before=delivery):
            return Redriven.BUSY
        self._scheduler.start(again, delay_seconds=0)
        return Redriven.STARTED


def _refusal(delivery: Delivery) -> Redriven | None:
    """Return why a delivery is not attempted again, whatever else works on it; None: it may be."""
    if delivery.erased:
        return Redriven.ERASED
    if len(delivery.attempts) >= MAX_ATTEMPTS and delivery.status not in _NOT_OURS:
        return Redriven.LOG_FULL
    return _NOT_OURS.get(delivery.status)
