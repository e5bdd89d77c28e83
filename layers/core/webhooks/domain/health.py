"""The health of a webhook: its failures in a row, its circuit, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.jobs import Action

FAILURES_TO_OPEN = 10
"""As many failures in a row open a webhook's circuit."""

ATTEMPTS_TO_OPEN = 20
"""As many attempts in a window open it too, if more than half of them failed."""

WINDOW_MS = 60_000
"""How long a window lasts."""

_FAILURE_WEIGHT = 3
_SUCCESS_WEIGHT = 4
_VERDICT = 12
"""A probation's balance: four failures more than successes would have it end in a trial, three
successes in a row end it well. Of receivers that refuse a third of all requests 3 % fail it, of
those that take a fifth 1 % pass."""

_FAILURES_TO_COUNT = 2
"""As many failures in a row begin a window. Of attempts of which most fail, two always follow each
other; of those of a receiver that fails now and then, hardly ever."""

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


class Comeback(StrEnum):
    """How a webhook whose circuit is open comes back.

    `full`: the first success has new events sent at once, and what waits at the full rate.
    `slow`: the same, but what waits is sent slowly at first; its owner enabled it. `trial`: it took
    a part of what it was sent, so a single success says little. Only its recovery sends, one
    delivery at a time, until most are taken.
    """

    FULL = "full"
    SLOW = "slow"
    TRIAL = "trial"


class Tally(NamedTuple):
    """How many attempts failed, and how many were taken."""

    failed: int
    taken: int


class Window(NamedTuple):
    """All attempts of a webhook in the minute from `since_ms` on, which begins with failures.

    Of a probation it begins with a success, and all attempts until the verdict.
    """

    since_ms: int
    failed: int
    taken: int

    def is_live(self, now_ms: int) -> bool:
        """Tell whether attempts of now belong to it."""
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
        """Whether enough of its attempts were taken."""
        return self._balance >= _VERDICT

    @property
    def _balance(self) -> int:
        return _SUCCESS_WEIGHT * self.taken - _FAILURE_WEIGHT * self.failed


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
    owner was notified that it will be disabled. `window` counts attempts while most of them fail,
    and on `probation`, which is over where the circuit or the window is another one by now.
    `not_before_ms` is when the pause ends that the receiver asked for; it may be in the past.
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
        """Return when the pause that the receiver asked for ends; None where there is none now."""
        until_ms = self.not_before_ms
        return until_ms if until_ms is not None and until_ms > now_ms else None

    @property
    def deferring_since_ms(self) -> int:
        """The latest time, past or to come, that had events wait for a webhook that drains.

        Functions that read the webhook before it may defer events for `SETTLE_SECONDS` after it.
        """
        return max(self.draining_since_ms, self.not_before_ms or 0)

    @property
    def on_trial(self) -> bool:
        """Whether only the recovery's attempts are made."""
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
        """Whether one success had it sent new events again, and the next attempts judge it.

        The window of a probation begins with that success, and lasts until the verdict.
        """
        if not self.probation or self.circuit is not Circuit.DRAINING or self.window is None:
            return False
        return self.window.since_ms == self.draining_since_ms

    def counts(self, tally: Tally, now_ms: int) -> bool:
        """Tell whether attempts are counted in a window, which they may begin.

        A window begins with two failures in a row, or with a report most of which failed, and
        counts everything for a minute. So a webhook that fails now and then has none, and costs
        nothing; and of one of which most attempts fail, some report begins one.
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
        """Whether a success is news: most are not, and so cost no write."""
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
"""The health of a webhook that nothing is known against."""
