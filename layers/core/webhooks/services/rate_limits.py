"""Rate limits for calls, events, tests, resends, enabling and erasures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from webhooks.domain.errors import (
    InvalidInputError,
    TooManyCallsError,
    TooManyEnablesError,
    TooManyErasuresError,
    TooManyEventsError,
    TooManyResendsError,
    TooManyTestsError,
    UnavailableError,
)
from webhooks.domain.lots import Lot, share
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, window_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks.domain.errors import RateLimitExceededError
    from webhooks.domain.rate_limit import RateLimitWindow
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import RateLimitStore, Telemetry

CALLS_AT_ONCE = 20
"""Calls of an account's limit that a process reserves in one write, to let them through itself."""

_ERRORS: Mapping[RateLimit, type[RateLimitExceededError]] = {
    RateLimit.CALLS: TooManyCallsError,
    RateLimit.PUBLISHED: TooManyEventsError,
    RateLimit.TESTS: TooManyTestsError,
    RateLimit.RESENDS: TooManyResendsError,
    RateLimit.ENABLES: TooManyEnablesError,
    RateLimit.ERASURES: TooManyErasuresError,
}


class RateLimits:
    """Counts requests, and refuses those above a limit with the time to wait.

    No limit except that of events is ever exceeded, however many processes count. Calls are taken
    in small lots; therefore counting one costs a twentieth of a write. The rest of a process's lot
    is lost when the minute ends, so an account whose calls go to many processes may get that many
    fewer. Events are counted in lots too (see `domain.lots`): an account with few costs no write.

    `limits` hold for each window of time; `clock` gives Unix seconds.
    """

    def __init__(
        self,
        store: RateLimitStore,
        *,
        limits: Mapping[RateLimit, int],
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._limits = limits
        self._telemetry = telemetry
        self._clock = clock
        self._minute = 0
        self._lots: dict[str, int | None] = {}
        self._events_minute = 0
        self._events: dict[str, Lot] = {}

    def call(self, account_id: str) -> None:
        """Count a call of an account; raises TooManyCallsError.

        If the call cannot be counted it goes through: it would hardly get further.
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
                self._telemetry.log("warning", "calls_not_counted", error=str(error))
                return
        self._lots[account_id] = None if left is None else left - 1
        if left is None:
            raise TooManyCallsError(math.ceil(minute.ends_at - now))

    def publish(self, account_id: str, count: int) -> None:
        """Count the events of one call, all of them or none; raises TooManyEventsError.

        Raises InvalidInputError for more events than a whole minute allows. Events that cannot be
        counted go through: their queue has a limit of its own.
        """
        limit = self._limits.get(RateLimit.PUBLISHED, 0)
        if not limit or not count:
            return
        if count > limit:
            message = f"Send at most {limit} events: this account's limit of a minute."
            raise InvalidInputError("body", message)
        now = self._clock()
        minute = window_at(account_id, ACCOUNT, RateLimit.PUBLISHED, now)
        if minute.number != self._events_minute:
            self._events_minute = minute.number
            self._events.clear()
        lot = self._events.setdefault(account_id, Lot(share(limit)))
        missing = count - lot.left
        if missing > 0:
            try:
                taken = 0 if missing >= lot.refused else self._taken(minute, limit, missing)
            except UnavailableError as error:
                self._telemetry.log("warning", "events_not_counted", error=str(error))
                return
            if not taken:
                # Fewer events may still fit.
                lot.refused = missing
                self._telemetry.count("OverLimitEvents", count)
                raise TooManyEventsError(math.ceil(minute.ends_at - now))
            lot.left += taken
        lot.use(count)

    def _taken(self, minute: RateLimitWindow, limit: int, missing: int) -> int:
        """Return how many more events this process may let through, a lot if there is room."""
        for count in sorted({max(missing, share(limit)), missing}, reverse=True):
            if self._store.consume(minute, limit=limit, count=count):
                return count
        return 0

    def test(self, webhook: Webhook) -> None:
        """Count a test event of a webhook; raises TooManyTestsError, UnavailableError."""
        self._consume(webhook.account_id, webhook.id, RateLimit.TESTS)

    def resend(self, webhook: Webhook) -> None:
        """Count a resend of a webhook; raises TooManyResendsError, UnavailableError."""
        self._consume(webhook.account_id, webhook.id, RateLimit.RESENDS)

    def enable(self, webhook: Webhook) -> None:
        """Count an enabling of a webhook; raises TooManyEnablesError, UnavailableError.

        A request to probe a webhook that is down counts too.
        """
        self._consume(webhook.account_id, webhook.id, RateLimit.ENABLES)

    def erasure(self, account_id: str) -> None:
        """Count an erasure of an account; raises TooManyErasuresError, UnavailableError."""
        self._consume(account_id, ACCOUNT, RateLimit.ERASURES)

    def _lot(self, account_id: str, now: float) -> int | None:
        """Return how many calls this process may let through; None until the minute ends."""
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
