"""Rate limits for calls, events, tests, resends, enabling and erasures, in windows of the clock."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

ACCOUNT = "account"
"""Stands for a webhook's id where a limit is the account's; no webhook has this id."""


class RateLimit(StrEnum):
    """What is counted."""

    CALLS = "calls"
    PUBLISHED = "published"
    EVENTS = "events"
    TESTS = "tests"
    RESENDS = "resends"
    ENABLES = "enables"
    ERASURES = "erasures"

    @property
    def seconds(self) -> int:
        """How long a count lasts; it begins anew at a multiple of that, in Unix time."""
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
    """One count: whose it is, of what, and of which stretch of time since 1970."""

    account_id: str
    scope: str
    kind: RateLimit
    number: int

    @property
    def ends_at(self) -> int:
        """When the next count begins, in Unix seconds."""
        return (self.number + 1) * self.kind.seconds


def window_at(account_id: str, scope: str, kind: RateLimit, now_seconds: float) -> RateLimitWindow:
    """Return the count that a moment belongs to; `scope` is a webhook's id, or `ACCOUNT`."""
    return RateLimitWindow(account_id, scope, kind, int(now_seconds // kind.seconds))
