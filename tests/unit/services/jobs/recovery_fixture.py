"""A recovery among fakes, and the deliveries that wait for its webhook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import FailureReason, Outcome, Status, delivery_id
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Health, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.webhook import Secrets

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
FIRST = RecoveryState(0)
DRAINING = RecoveryState(1, probe=0)
RECOVERY_ID = "recovery-0"
KEY = RecoveryKey("acc_1", samples.WEBHOOK_ID, RECOVERY_ID)


class RecoveryFixture(ServiceFixture):
    """A recovery among fakes, of a webhook that is down."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.add()
        self.be(Circuit.OPEN, failures=FAILURES_TO_OPEN, failing_since_ms=self.now_ms)

    def be(self, circuit: Circuit, **values: Any) -> None:
        health = Health(circuit=circuit, recovery_id=RECOVERY_ID, **values)
        self.store.add(replace(self.webhook(), health=health), Secrets(samples.SECRET))

    def drain(self) -> None:
        """Mark the webhook as back since now."""
        self.be(Circuit.DRAINING, draining_since_ms=self.now_ms)

    def wait_for(self, count: int) -> list[Delivery]:
        """Defer deliveries, a second after each other; returns them oldest first."""
        return [self.put(waiting(second)) for second in range(count)]

    def step(self, before: RecoveryState = FIRST) -> RecoveryState | None:
        return self.recovery_job.advance(KEY, before, lambda: self.remaining)

    def sent(self) -> list[str]:
        return [headers["X-SendComms-Delivery"] for _, _, headers in self.sender.posts]

    def stored(self, delivery: Delivery) -> Delivery:
        return self.deliveries.deliveries[delivery.key]


def waiting(second: int, **changes: Any) -> Delivery:
    """Return a delivery that was deferred, of an event at this second."""
    event_id = f"evt_{second}"
    occurred_at_ms = samples.NOW_MS + second * 1000
    values = {
        "id": delivery_id(event_id, occurred_at_ms, samples.WEBHOOK_ID),
        "event_id": event_id,
        "status": Status.WAITING,
        "attempts": (),
        "next_attempt_at_ms": None,
        "reason": "webhook_down",
    }
    return samples.delivery(**values | changes)


def settled(services: RecoveryFixture) -> RecoveryState:
    """The state after the wait in which every function that saw the webhook down has ended."""
    return RecoveryState(1, probe=0, settled=services.webhook().health.draining_since_ms)
