"""What waits for a webhook, oldest first, for its recovery to send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status
from webhooks.domain.selection import Selection
from webhooks.services.concurrency import run_all
from webhooks.services.failures import log_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from webhooks.domain.delivery import Delivery
    from webhooks.domain.health import RecoveryKey
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import DeliveryReader, Page, Telemetry
    from webhooks.services.retrier import Retrier

_EVER = Selection.of_all_time(Status.WAITING)


class WaitingDeliveries:
    """Finds the deliveries that wait for a webhook, and cancels those that it no longer takes."""

    def __init__(
        self,
        *,
        walk: DeliveryReader,
        retrier: Retrier,
        telemetry: Telemetry,
        threads: Executor,
        page_size: int,
    ) -> None:
        """Read `page_size` deliveries at a time where there is a long way to go."""
        self._walk = walk
        self._retrier = retrier
        self._telemetry = telemetry
        self._threads = threads
        self._page_size = page_size

    def oldest(
        self,
        key: RecoveryKey,
        limit: int,
        has_time: Callable[[], bool],
        after: str | None = None,
        webhook: Webhook | None = None,
    ) -> Page[Delivery]:
        """Return the oldest that wait, up to `limit` or a few more, newer than id `after`.

        Those of types that `webhook` is not subscribed to are cancelled, and not among them. Goes
        past what the index still has and is no more so, for as long as `has_time`: an item past its
        time to live may be there for days, and must keep no later one from its turn. So must none
        that cannot be read.
        """
        found = self._page(key, limit, after, webhook)
        while not found.items and found.next is not None and has_time():
            # Not one by one any more: it may be a long way.
            found = self._page(key, max(limit, self._page_size), found.next, webhook)
        return found

    def _page(
        self, key: RecoveryKey, limit: int, after: str | None, webhook: Webhook | None
    ) -> Page[Delivery]:
        found = self._walk.oldest_first(key.account_id, key.webhook_id, _EVER, limit, after)
        log_unreadable(self._telemetry, found.unreadable)
        if webhook is None:
            return found
        wanted = [each for each in found.items if webhook.takes(each)]
        unwanted = [each for each in found.items if not webhook.takes(each)]
        run_all(self._threads, self._retrier.unsubscribed, unwanted)
        return found._replace(items=wanted)
