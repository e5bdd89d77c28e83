"""Starts the executions that make a delivery's later attempts; the sweep makes refused starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Delivery
    from webhooks.ports import DeliveryStore, RetryScheduler, Telemetry


class Retries:
    """Starts executions for deliveries whose records are written.

    The record is the truth: a start that Step Functions refuses is marked in it, and the sweep
    takes the delivery as soon as it is due. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        scheduler: RetryScheduler,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._scheduler = scheduler
        self._deliveries = deliveries
        self._telemetry = telemetry
        self._clock = clock

    def start(self, delivery: Delivery) -> None:
        """Start the execution of a delivery, or mark the delivery as unstarted.

        Raises UnavailableError only if the mark cannot be written either.
        """
        try:
            self._scheduler.start(delivery, delay_seconds=self.seconds_left(delivery))
        except UnavailableError as error:
            self.leave_to_sweep(delivery, str(error))

    def leave_to_sweep(self, delivery: Delivery, why: str) -> None:
        """Mark a delivery as unstarted, and log the reason. Raises UnavailableError."""
        self._telemetry.log("warning", "retry_unstarted", **delivery.key._asdict(), error=why)
        self._deliveries.mark_unstarted(delivery)
        self._telemetry.count("UnstartedRetries")

    def seconds_left(self, delivery: Delivery) -> float:
        """Return the seconds until a delivery is due, 0 if it is overdue."""
        due_ms = delivery.next_attempt_at_ms or 0
        return max(0.0, due_ms / MILLISECONDS - self._clock())
