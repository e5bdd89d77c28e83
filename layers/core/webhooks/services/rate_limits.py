"""How often what may be asked for: what keeps one call from being made into very many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from webhooks.domain.rate_limit import ACCOUNT, Kind, allowance
from webhooks.domain.errors import (
    TooManyCallsError,
    TooManyErasuresError,
    TooManyResendsError,
    TooManyTestsError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.errors import RateLimitExceededError
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import AllowanceStore, Observer

CALLS_AT_ONCE = 20
"""Calls that a process takes of an account's allowance in one write, to hand them out itself."""

_ERRORS: Mapping[Kind, type[RateLimitExceededError]] = {
    Kind.CALLS: TooManyCallsError,
    Kind.TESTS: TooManyTestsError,
    Kind.RESENDS: TooManyResendsError,
    Kind.ERASURES: TooManyErasuresError,
}


class Allowances:
    """Counts what is asked for, and refuses what is too much, with the time to wait.

    No limit is ever passed, however many processes count. Calls are taken in small lots, so that
    counting one costs a twentieth of a write; what a process has left of its lot when the minute
    ends is lost, so that an account whose calls go to many processes may get that many fewer.
    """

    def __init__(
        self,
        store: AllowanceStore,
        *,
        limits: Mapping[Kind, int],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        """Allow `limits` in each stretch of time; `clock` gives Unix seconds."""
        self._store = store
        self._limits = limits
        self._observer = observer
        self._clock = clock
        self._minute = 0
        self._lots: dict[str, int | None] = {}

    def call(self, account_id: str) -> None:
        """Count a call of an account; raises TooManyCallsError.

        Where the count cannot be had the call goes through: it would hardly get further.
        """
        now = self._clock()
        minute = allowance(account_id, ACCOUNT, Kind.CALLS, now)
        if minute.number != self._minute:
            self._minute = minute.number
            self._lots.clear()
        left = self._lots.get(account_id, 0)
        if left == 0:
            try:
                left = self._lot(account_id, now)
            except UnavailableError as error:
                self._observer.log("warning", "calls_not_counted", error=str(error))
                return
        self._lots[account_id] = None if left is None else left - 1
        if left is None:
            raise TooManyCallsError(math.ceil(minute.ends_at - now))

    def test(self, webhook: Webhook) -> None:
        """Count a test event of a webhook; raises TooManyTestsError, UnavailableError."""
        self._take(webhook.account_id, webhook.id, Kind.TESTS)

    def resend(self, webhook: Webhook) -> None:
        """Count a resend of a webhook; raises TooManyResendsError, UnavailableError."""
        self._take(webhook.account_id, webhook.id, Kind.RESENDS)

    def erasure(self, account_id: str) -> None:
        """Count an erasure of an account; raises TooManyErasuresError, UnavailableError."""
        self._take(account_id, ACCOUNT, Kind.ERASURES)

    def _lot(self, account_id: str, now: float) -> int | None:
        """Return how many calls this process may let through, None: no more in this minute."""
        minute = allowance(account_id, ACCOUNT, Kind.CALLS, now)
        limit = self._limits[Kind.CALLS]
        for count in (CALLS_AT_ONCE, 1):
            if self._store.take(minute, limit=limit, count=count):
                return count
        return None

    def _take(self, account_id: str, scope: str, kind: Kind) -> None:
        now = self._clock()
        wanted = allowance(account_id, scope, kind, now)
        if not self._store.take(wanted, limit=self._limits[kind]):
            raise _ERRORS[kind](math.ceil(wanted.ends_at - now))
