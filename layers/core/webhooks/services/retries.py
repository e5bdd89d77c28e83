"""The start of what makes a delivery's later attempts, and what follows where it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Delivery
    from webhooks.ports import DeliveryStore, RetryScheduler, Telemetry

_MILLISECONDS = 1000


class Retries:
    """Starts executions for deliveries whose records are written.

    The record is the truth: a start that Step Functions refuses is marked in it, and the sweep
    takes the delivery as soon as it is due.
    """

    def __init__(
        self,
        *,
        scheduler: RetryScheduler,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._scheduler = scheduler
        self._deliveries = deliveries
        self._telemetry = telemetry
        self._clock = clock

    def start(self, delivery: Delivery) -> None:
        """See that a delivery which is due some time has its execution, or is marked without one.

        Raises UnavailableError only where the mark cannot be written either.
        """
        try:
            self._scheduler.start(delivery, delay_seconds=self.seconds_left(delivery))
        except UnavailableError as error:
            self.leave_to_sweep(delivery, str(error))

    def leave_to_sweep(self, delivery: Delivery, why: str) -> None:
        """Mark a delivery without an execution, and log why. Raises UnavailableError."""
        self._telemetry.log("warning", "retry_unstarted", **delivery.key._asdict(), error=why)
        self._deliveries.mark_unstarted(delivery)
        self._telemetry.count("UnstartedRetries")

    def seconds_left(self, delivery: Delivery) -> float:
        """Return how long it is until a delivery is due, 0 where it is overdue."""
        due_ms = delivery.next_attempt_at_ms or 0
        return max(0.0, due_ms / _MILLISECONDS - self._clock())
