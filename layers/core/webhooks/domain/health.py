"""The health of a webhook: its failures in a row, its circuit, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.jobs import Action

FAILURES_TO_OPEN = 10
"""As many failures in a row open a webhook's circuit."""

_DAY_MS = 86_400_000

WARN_AFTER_MS = 4 * _DAY_MS
"""A webhook that failed for this long is disabled in a day, and its owner is notified."""

NOTICE_MS = _DAY_MS
"""Minimum warning before a webhook is disabled, even if its failure was noticed late."""

DISABLE_AFTER_MS = WARN_AFTER_MS + NOTICE_MS
"""A webhook whose every attempt failed for this long is disabled (contract 2.5)."""


SETTLE_SECONDS = 90.0
"""For so long after a circuit ceased to be open may a function that still saw it open put a
delivery by: the dispatcher's 60 seconds, and some for an index's delay."""


class Circuit(StrEnum):
    """Whether events are sent to a webhook.

    `closed`: at once. `open`: none, they wait. `draining`: at once again, while those that waited
    are sent too.
    """

    CLOSED = "closed"
    OPEN = "open"
    DRAINING = "draining"


class HealthState(StrEnum):
    """A webhook's health in one word, for its owner."""

    HEALTHY = "healthy"
    FAILING = "failing"
    DOWN = "down"
    RECOVERING = "recovering"


class RecoveryKey(NamedTuple):
    """What finds a recovery: whose it is, for which webhook, and its id."""

    account_id: str
    webhook_id: str
    recovery_id: str

    @property
    def action(self) -> Action:
        """The action of its steps."""
        return Action.RECOVER


@dataclass(frozen=True, slots=True)
class Health:
    """What a webhook's latest attempts came to. Times are Unix milliseconds.

    `failures` are those since the last success, the first of them at `failing_since_ms`. A webhook
    whose circuit is not closed has a recovery, whose next step is due at `recovery_due_at_ms`.
    `down_since_ms` is when the failures began that it was told to be down for: until a success,
    whatever its owner does meanwhile, since that is to be told too. `warned_at_ms` is when its
    owner was notified that it will be disabled.
    """

    failures: int = 0
    failing_since_ms: int | None = None
    circuit: Circuit = Circuit.CLOSED
    recovery_id: str | None = None
    recovery_due_at_ms: int = 0
    draining_since_ms: int = 0
    warned_at_ms: int | None = None
    down_since_ms: int | None = None

    @property
    def changed_by_success(self) -> bool:
        """Whether a success is news: most are not, and so cost no write."""
        return self.failures > 0 or self.circuit is Circuit.OPEN or self.down_since_ms is not None

    @property
    def state(self) -> HealthState:
        """The health in one word."""
        if self.circuit is Circuit.OPEN:
            return HealthState.DOWN
        if self.failures:
            return HealthState.FAILING
        return HealthState.RECOVERING if self.circuit is Circuit.DRAINING else HealthState.HEALTHY


CLEAN = Health()
"""The health of a webhook that nothing is known against."""
