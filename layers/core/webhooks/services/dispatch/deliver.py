"""The deliver step: makes the attempts of a batch, all at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status
from webhooks.domain.health import Circuit
from webhooks.domain.pauses import RETRY_AFTER
from webhooks.services.concurrency import (
    SECONDS_FOR_ONE_ATTEMPT,
    SECONDS_FOR_ONE_CALL,
    NoTimeLeftError,
    submit_all,
)
from webhooks.services.dispatch.waves import Waves
from webhooks.services.pauses import BatchPauses

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from webhooks.domain.delivery import Delivery
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import DeliveryTask
    from webhooks.services.dispatch.record import RecordStep
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.pauses import Pauses


class DeliverStep:
    """Attempts deliveries: all at once, except that webhooks on probation get waves."""

    def __init__(
        self,
        *,
        deliverer: Deliverer,
        health: WebhookHealthService,
        pauses: Pauses,
        record: RecordStep,
    ) -> None:
        self._deliverer = deliverer
        self._health = health
        self._pauses = pauses
        self._record = record

    def begin(self, tasks: Sequence[DeliveryTask], batch: Batch) -> Attempts:
        """Begin the attempts; a webhook on probation gets one, then twice as many each time."""
        handle = partial(self._handle, batch=batch, pauses=BatchPauses(self._pauses))
        waves, running, at_once = None, {}, list(tasks)
        if any(task.destination.webhook.health.probation for task in tasks):
            waves = Waves(handle=handle, health=self._health, threads=batch.threads.attempts)
            # Before the first wave: its end may open a circuit, which ends a probation.
            in_waves = [task for task in tasks if _on_probation(task)]
            at_once = [task for task in tasks if not _on_probation(task)]
            running = waves.begin(in_waves)
        begun = submit_all(batch.threads.attempts, handle, at_once)
        running |= zip(begun, at_once, strict=True)
        return Attempts(running, waves)

    def _handle(self, task: DeliveryTask, *, batch: Batch, pauses: BatchPauses) -> Delivery | None:
        """Attempt one delivery. A failure is recorded here, and scheduled by the record step.

        Returns None if it was recorded before. Raises NoTimeLeftError if it was not begun.
        """
        if batch.deadline.remaining_seconds() < SECONDS_FOR_ONE_ATTEMPT:
            raise NoTimeLeftError
        if task.stored is not None:
            self._record.repeat(task, task.stored, batch.deadline)
            return None
        webhook = task.destination.webhook
        if not webhook.active:
            after = task.delivery.defer("webhook_disabled")
        elif webhook.health.circuit is Circuit.OPEN:
            after = task.delivery.defer("webhook_down")
        elif (webhook.health.not_before_ms is not None or pauses.found) and pauses.defers(webhook):
            after = task.delivery.defer(RETRY_AFTER)
        else:
            after = self._deliverer.attempt(task.destination, task.delivery)
        if after.status is not Status.SUCCEEDED:
            self._record.failure(task, after)
        # After the record, since only the next request needs the pause.
        asks = bool(after.attempts) and after.attempts[-1].not_before_ms is not None
        concerned = asks or webhook.health.not_before_ms is not None
        if concerned and batch.deadline.remaining_seconds() >= SECONDS_FOR_ONE_CALL:
            pauses.heard(webhook, after.attempts)
        return after


@dataclass(slots=True)
class Attempts:
    """The attempts of a batch that are under way, some of them in `waves`."""

    running: dict[Future[Delivery | None], DeliveryTask]
    waves: Waves | None


def _on_probation(task: DeliveryTask) -> bool:
    return task.destination.webhook.health.on_probation
