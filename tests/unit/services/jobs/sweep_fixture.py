"""A sweep among fakes, and a delivery that is due."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.health import Circuit, Health, RecoveryKey
from webhooks.domain.overdue import GRACE_SECONDS

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery

GRACE_MS = int(GRACE_SECONDS * 1000)
DUE_MS = samples.NOW_MS + 5_000


class SweepFixture(ServiceFixture):
    """A sweeper among fakes, and a webhook with a delivery that is due."""

    def __init__(self) -> None:
        super().__init__()
        self.add()
        self.delivery = self.put(samples.delivery(next_attempt_at_ms=DUE_MS))
        self.now_ms = DUE_MS + GRACE_MS + 1
        self.starts: list[tuple[Delivery, float]] = []
        self._start = self.scheduler.start
        self.scheduler.start = self.start  # type: ignore[method-assign]

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """Note each start, on either machine."""
        self._start(delivery, delay_seconds=delay_seconds)
        self.starts.append((delivery, delay_seconds))

    def stored(self) -> Delivery:
        return self.deliveries.deliveries[self.delivery.key]

    def sweep(self) -> tuple[int, int]:
        swept = self.sweep_job.sweep(lambda: self.remaining)
        return swept.overdue_deliveries, swept.overdue_recoveries

    def give_recovery(self, **changes: object) -> RecoveryKey:
        health = Health(circuit=Circuit.OPEN, recovery_id="old", recovery_due_at_ms=DUE_MS)
        webhook = replace(self.webhook(), health=replace(health, **changes))  # type: ignore[arg-type]
        self.store.add(webhook, self.destination().secrets)
        return RecoveryKey("acc_1", webhook.id, "old")


def given(services: SweepFixture, **changes: object) -> Delivery:
    """Store the fixture's delivery with changes, overdue by an hour."""
    services.now_ms = DUE_MS + 3_600_000
    services.delivery = services.put(replace(services.delivery, **changes))  # type: ignore[arg-type]
    return services.delivery
