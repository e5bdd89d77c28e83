"""The health of a webhook: its failures in a row, its circuit, and when it is disabled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.jobs import Action

FAILURES_TO_OPEN = 10
"""This many failures in a row open a webhook's circuit."""

ATTEMPTS_TO_OPEN = 20
"""This many attempts in a window also open it, if more than half of them failed."""

WINDOW_MS = 60_000
"""How long a window lasts."""

_FAILURE_WEIGHT = 3
_SUCCESS_WEIGHT = 4
_VERDICT = 12
"""A probation ends when its balance reaches this, up or down: four failures more than successes end
it in a trial, three successes in a row end it well. Of receivers that refuse a third of all
requests 3 % fail it; of receivers that accept a fifth 1 % pass."""

_FAILURES_TO_COUNT = 2
"""This many failures in a row begin a window. If most attempts fail, two in a row always occur; if
a receiver fails now and then, hardly ever."""

_DAY_MS = 86_400_000

WARN_AFTER_MS = 4 * _DAY_MS
"""When a webhook has failed for this long, its owner is notified that it is disabled in a day."""

NOTICE_MS = _DAY_MS
"""Minimum warning before a webhook is disabled, even if its failure was noticed late."""

DISABLE_AFTER_MS = WARN_AFTER_MS + NOTICE_MS
"""A webhook whose every attempt failed for this long is disabled (contract 2.5)."""


SETTLE_SECONDS = 90.0
"""For this long after a circuit ceased to be open, a function that still saw it open may defer a
delivery: the dispatcher's 60 seconds, plus an allowance for the index's delay."""


class Circuit(StrEnum):
    """Whether events are sent to a webhook.

    `closed`: at once. `open`: no, they wait. `draining`: at once again, while the events that
    waited are sent too.
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


class Comeback(StrEnum):
    """How a webhook whose circuit is open comes back.

    - `full`: after the first success, new events are sent at once and waiting ones at the full
      rate.
    - `slow`: the same, but waiting events are sent slowly at first; its owner enabled the webhook.
    - `trial`: the webhook accepted a part of its deliveries, so a single success says little. Only
      its recovery sends, one delivery at a time, until most are accepted.
    """

    FULL = "full"
    SLOW = "slow"
    TRIAL = "trial"


class Tally(NamedTuple):
    """How many attempts failed, and how many were accepted."""

    failed: int
    taken: int


class Window(NamedTuple):
    """All attempts of a webhook in the minute from `since_ms` on; it begins with failures.

    A probation's window begins with a success, and holds all attempts until the verdict.
    """

    since_ms: int
    failed: int
    taken: int

    def is_live(self, now_ms: int) -> bool:
        """Whether an attempt at `now_ms` belongs to the window."""
        return now_ms - self.since_ms < WINDOW_MS

    @property
    def opens(self) -> bool:
        """Whether it opens the circuit: enough attempts, more than half of them failures."""
        return self.failed + self.taken >= ATTEMPTS_TO_OPEN and self.failed > self.taken

    @property
    def fails_probation(self) -> bool:
        """Whether so many of its attempts failed that the success before them says little."""
        return -self._balance >= _VERDICT

    @property
    def passes_probation(self) -> bool:
        """Whether enough of its attempts were accepted."""
        return self._balance >= _VERDICT

    @property
    def _balance(self) -> int:
        return _SUCCESS_WEIGHT * self.taken - _FAILURE_WEIGHT * self.failed


class RecoveryKey(NamedTuple):
    """Primary key of a recovery."""

    account_id: str
    webhook_id: str
    recovery_id: str

    @property
    def action(self) -> Action:
        """The worker's action for each step of a recovery."""
        return Action.RECOVER


@dataclass(frozen=True, slots=True)
class Health:
    """The state that a webhook's latest attempts led to. Times are Unix milliseconds.

    - `failures` counts attempts since the last success; the first failed at `failing_since_ms`.
    - A webhook whose circuit is not closed has a recovery, whose next step is due at
      `recovery_due_at_ms`.
    - `down_since_ms`: the owner was notified that the webhook is down; the failures began then. It
      stays until a success, even if the owner acts meanwhile, since the owner is notified of the
      success too.
    - `warned_at_ms` is when the owner was notified that the webhook will be disabled.
    - `window` counts attempts while most of them fail, and during a probation.
    - `probation` is over as soon as the circuit or the window has changed.
    - `not_before_ms` is the end of the pause that the receiver asked for; it may be in the past.
    """

    failures: int = 0
    failing_since_ms: int | None = None
    circuit: Circuit = Circuit.CLOSED
    recovery_id: str | None = None
    recovery_due_at_ms: int = 0
    draining_since_ms: int = 0
    warned_at_ms: int | None = None
    down_since_ms: int | None = None
    window: Window | None = None
    comeback: Comeback = Comeback.FULL
    not_before_ms: int | None = None
    probation: bool = False

    def paused_until_ms(self, now_ms: int) -> int | None:
        """Return the end of the pause that the receiver asked for; None if there is none now."""
        until_ms = self.not_before_ms
        return until_ms if until_ms is not None and until_ms > now_ms else None

    @property
    def deferring_since_ms(self) -> int:
        """The latest time, past or to come, at which a draining webhook's events had to wait.

        Functions that read the webhook before it may defer events for `SETTLE_SECONDS` after it.
        """
        return max(self.draining_since_ms, self.not_before_ms or 0)

    @property
    def on_trial(self) -> bool:
        """Whether only the recovery makes attempts."""
        return self.circuit is Circuit.OPEN and self.comeback is Comeback.TRIAL

    @property
    def told_down(self) -> bool:
        """Whether its owner was notified that it is down, and not yet of a success since."""
        opened = self.circuit is Circuit.OPEN and self.comeback is not Comeback.SLOW
        return opened or self.down_since_ms is not None

    @property
    def awaits_probe(self) -> bool:
        """Whether its owner enabled it, or asked for a probe, and no attempt was made since."""
        enabled = self.comeback is Comeback.SLOW and not self.failures
        return self.circuit is Circuit.OPEN and enabled

    @property
    def on_probation(self) -> bool:
        """Whether it receives new events again after one success, and the next attempts judge it.

        The window of a probation begins with that success, and lasts until the verdict.
        """
        if not self.probation or self.circuit is not Circuit.DRAINING or self.window is None:
            return False
        return self.window.since_ms == self.draining_since_ms

    def counts(self, tally: Tally, now_ms: int) -> bool:
        """Whether attempts are counted in a window, which they may begin.

        A window begins with two failures in a row, or with a report of mostly failures, and counts
        everything for a minute. Therefore a webhook that fails now and then has no window and costs
        no write; if most attempts fail, some report begins a window.
        """
        if self.circuit is Circuit.OPEN:
            return False
        if self.on_probation or (self.window is not None and self.window.is_live(now_ms)):
            return True
        if not tally.taken:
            return self.failures + tally.failed >= _FAILURES_TO_COUNT
        after_a_failure = self.failures > 0 and tally.failed > 0
        return tally.failed > tally.taken or (after_a_failure and tally.failed == tally.taken)

    @property
    def changed_by_success(self) -> bool:
        """Whether a success changes the record; most successes do not, and so cost no write."""
        return self.failures > 0 or self.circuit is Circuit.OPEN or self.down_since_ms is not None

    @property
    def state(self) -> HealthState:
        """The health in one word."""
        if self.circuit is Circuit.OPEN and not self.awaits_probe:
            return HealthState.DOWN
        if self.failures:
            return HealthState.FAILING
        return HealthState.HEALTHY if self.circuit is Circuit.CLOSED else HealthState.RECOVERING


CLEAN = Health()
"""The health of a webhook without a failure on record."""
