"""The sweep: what nobody works on any more, though it is due, is started again.

Most executions are started by somebody who tries again until they are; Step Functions keeps them
going. So there is nothing to find here, unless an operator stopped an execution, a message was lost
with its queue, or a fault of ours outlived every retry. What is found is counted, for an alarm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.health import RecoveryKey
from webhooks.domain.retry import restart_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.ports import (
        DeliveryStore,
        HealthStore,
        Observer,
        OverdueDeliveries,
        RecoveryScheduler,
        RetryScheduler,
    )

GRACE_SECONDS = 600.0
"""Due for longer than this is overdue: as long as a retry's own tries usually take."""

SWEPT_AT_ONCE = 500
"""Deliveries, and recoveries, that one sweep starts again at most."""

SECONDS_FOR_ONE = 4 * 9.0
"""The calls that start one again, each at its slowest (see `adapters.aws`)."""

_MILLISECONDS = 1000


class Sweeper:
    """Finds overdue deliveries and recoveries, and gives them a new execution."""

    def __init__(
        self,
        *,
        overdue: OverdueDeliveries,
        deliveries: DeliveryStore,
        scheduler: RetryScheduler,
        health: HealthStore,
        recoveries: RecoveryScheduler,
        observer: Observer,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._overdue = overdue
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._health = health
        self._recoveries = recoveries
        self._observer = observer
        self._clock = clock
        self._new_id = new_id

    def sweep(self, remaining_seconds: Callable[[], float]) -> tuple[int, int]:
        """Start again what is overdue; returns how many deliveries and how many recoveries.

        What does not fit in the time that is left is the next sweep's. Raises Unavailable.
        """
        before_ms = int((self._clock() - GRACE_SECONDS) * _MILLISECONDS)
        deliveries = recoveries = 0
        try:
            for key in self._overdue.find(before_ms, SWEPT_AT_ONCE):
                if remaining_seconds() < SECONDS_FOR_ONE:
                    break
                deliveries += self._restart(key, before_ms)
            for recovery in self._health.overdue(before_ms, SWEPT_AT_ONCE):
                if remaining_seconds() < SECONDS_FOR_ONE:
                    break
                recoveries += self._replace(recovery)
        finally:
            # Zero too: the alarm is to see that somebody looked.
            self._observer.count("OverdueDeliveries", deliveries)
            self._observer.count("OverdueRecoveries", recoveries)
        return deliveries, recoveries

    def _restart(self, key: DeliveryKey, before_ms: int) -> bool:
        delivery = self._deliveries.get(key)
        if delivery is None or (delivery.next_attempt_at_ms or before_ms) >= before_ms:
            # What the index still had is no more so.
            return False
        if self._scheduler.running(delivery):
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
