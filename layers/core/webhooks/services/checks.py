"""The checks of a receiver, as its webhook's owner starts and reads them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from webhooks.domain.check import Check, CheckKey, check_id
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ids import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.webhook import Webhook
    from webhooks.ports import CheckScheduler, CheckStore
    from webhooks.services.rate_limits import RateLimits


class Checks:
    """Starts and shows checks of one webhook at a time, which its caller found to be its own.

    Sends nothing itself and knows no secret: it writes a record and starts the state machine.
    """

    def __init__(
        self,
        *,
        store: CheckStore,
        scheduler: CheckScheduler,
        rate_limits: RateLimits,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Count each check as a test event: one that fails makes about as many requests."""
        self._store = store
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def start(self, webhook: Webhook) -> Check:
        """Start a check of a webhook's receiver.

        Raises WebhookDisabledError, TooManyTestsError, UnavailableError.
        """
        webhook.require_active()
        self._rate_limits.test(webhook)
        now_ns = self._now_ns()
        now_ms = now_ns // 1_000_000
        check = Check(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=check_id(now_ns, self._random_bytes(8)),
            created_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        self._store.create(check)
        try:
            self._scheduler.start(check.key)
        except UnavailableError:
            # Without an execution it would seem to run for ever.
            self._store.end(check.failed("not_started", now_ms))
            raise
        return check

    def get(self, webhook: Webhook, check_id: str) -> Check | None:
        """Return one check of a webhook, None where it has none of that id, or no longer."""
        if not is_uuid(check_id):
            return None
        return self._store.get(CheckKey(webhook.account_id, webhook.id, check_id))
