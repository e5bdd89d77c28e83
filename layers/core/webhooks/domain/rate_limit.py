"""Rate limits for calls, events, tests, resends, enabling and erasures, in windows of the clock."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

ACCOUNT = "account"
"""Used in place of a webhook's id for limits of a whole account; no webhook has this id."""


class RateLimit(StrEnum):
    """The requests that a limit counts."""

    CALLS = "calls"
    PUBLISHED = "published"
    EVENTS = "events"
    TESTS = "tests"
    RESENDS = "resends"
    ENABLES = "enables"
    ERASURES = "erasures"

    @property
    def seconds(self) -> int:
        """Length of a window; windows begin at multiples of it in Unix time."""
        return _SECONDS[self]


_SECONDS = {
    RateLimit.CALLS: 60,
    RateLimit.PUBLISHED: 60,
    RateLimit.EVENTS: 60,
    RateLimit.TESTS: 3600,
    RateLimit.RESENDS: 3600,
    RateLimit.ENABLES: 3600,
    RateLimit.ERASURES: 86_400,
}


class RateLimitWindow(NamedTuple):
    """One count: its account, its scope, the kind of limit, and the window's number since 1970."""

    account_id: str
    scope: str
    kind: RateLimit
    number: int

    @property
    def ends_at(self) -> int:
        """When the next window begins, in Unix seconds."""
        return (self.number + 1) * self.kind.seconds


def window_at(account_id: str, scope: str, kind: RateLimit, now_seconds: float) -> RateLimitWindow:
    """Return the window that a time belongs to; `scope` is a webhook's id, or `ACCOUNT`."""
    return RateLimitWindow(account_id, scope, kind, int(now_seconds // kind.seconds))
