"""Rate limits for calls, tests, resends, enabling and erasures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from webhooks.domain.errors import (
    TooManyCallsError,
    TooManyEnablesError,
    TooManyErasuresError,
    TooManyResendsError,
    TooManyTestsError,
    UnavailableError,
)
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.errors import RateLimitExceededError
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import Observer, RateLimitStore

CALLS_AT_ONCE = 20
"""Calls that a process reserves of an account's limit in one write, to hand them out itself."""

_ERRORS: Mapping[RateLimit, type[RateLimitExceededError]] = {
    RateLimit.CALLS: TooManyCallsError,
    RateLimit.TESTS: TooManyTestsError,
    RateLimit.RESENDS: TooManyResendsError,
    RateLimit.ENABLES: TooManyEnablesError,
    RateLimit.ERASURES: TooManyErasuresError,
}


class RateLimits:
    """Counts what is asked for, and refuses what is too much, with the time to wait.

    No limit is ever passed, however many processes count. Calls are taken in small lots, so that
    counting one costs a twentieth of a write; what a process has left of its lot when the minute
    ends is lost, so that an account whose calls go to many processes may get that many fewer.
    """

    def __init__(
        self,
        store: RateLimitStore,
        *,
        limits: Mapping[RateLimit, int],
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
        minute = window_at(account_id, ACCOUNT, RateLimit.CALLS, now)
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
        self._consume(webhook.account_id, webhook.id, RateLimit.TESTS)

    def resend(self, webhook: Webhook) -> None:
        """Count a resend of a webhook; raises TooManyResendsError, UnavailableError."""
        self._consume(webhook.account_id, webhook.id, RateLimit.RESENDS)

    def enable(self, webhook: Webhook) -> None:
        """Count an enabling of a webhook; raises TooManyEnablesError, UnavailableError.

        A request for a probe of one that is down counts too.
        """
        self._consume(webhook.account_id, webhook.id, RateLimit.ENABLES)

    def erasure(self, account_id: str) -> None:
        """Count an erasure of an account; raises TooManyErasuresError, UnavailableError."""
        self._consume(account_id, ACCOUNT, RateLimit.ERASURES)

    def _lot(self, account_id: str, now: float) -> int | None:
        """Return how many calls this process may let through, None: no more in this minute."""
        minute = window_at(account_id, ACCOUNT, RateLimit.CALLS, now)
        limit = self._limits[RateLimit.CALLS]
        for count in (CALLS_AT_ONCE, 1):
            if self._store.consume(minute, limit=limit, count=count):
                return count
        return None

    def _consume(self, account_id: str, scope: str, kind: RateLimit) -> None:
        now = self._clock()
        wanted = window_at(account_id, scope, kind, now)
        if not self._store.consume(wanted, limit=self._limits[kind]):
            raise _ERRORS[kind](math.ceil(wanted.ends_at - now))
