"""Allowances: how often something may be asked for in a minute, an hour or a day of the clock."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

ACCOUNT = "account"
"""Stands for a webhook's id where an allowance is the account's; no webhook has this id."""


class Kind(StrEnum):
    """What is counted."""

    CALLS = "calls"
    TESTS = "tests"
    RESENDS = "resends"
    ERASURES = "erasures"

    @property
    def seconds(self) -> int:
        """How long a count lasts; it begins anew at a multiple of that, in Unix time."""
        return _SECONDS[self]


_SECONDS = {Kind.CALLS: 60, Kind.TESTS: 3600, Kind.RESENDS: 3600, Kind.ERASURES: 86_400}


class Allowance(NamedTuple):
    """One count: whose it is, of what, and of which stretch of time since 1970."""

    account_id: str
    scope: str
    kind: Kind
    number: int

    @property
    def ends_at(self) -> int:
        """When the next count begins, in Unix seconds."""
        return (self.number + 1) * self.kind.seconds


def allowance(account_id: str, scope: str, kind: Kind, now_seconds: float) -> Allowance:
    """Return the count that a moment belongs to; `scope` is a webhook's id, or `ACCOUNT`."""
    return Allowance(account_id, scope, kind, int(now_seconds // kind.seconds))
