"""The deliveries that wait for a webhook, oldest first, for its recovery to send."""

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
    """Finds the deliveries that wait for a webhook, and cancels those of unsubscribed types.

    After a page without results it reads `page_size` deliveries at a time.
    """

    def __init__(
        self,
        *,
        reader: DeliveryReader,
        retrier: Retrier,
        telemetry: Telemetry,
        threads: Executor,
        page_size: int,
    ) -> None:
        self._reader = reader
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
        """Return the oldest waiting deliveries newer than id `after`, up to `limit` or a few more.

        Deliveries of types that `webhook` is not subscribed to are cancelled and left out. Expired
        and unreadable items are skipped, while `has_time`, and so never block later ones: an item
        past its time to live may stay in the index for days.
        """
        found = self._page(key, limit, after, webhook)
        while not found.items and found.next is not None and has_time():
            # The next pages are larger, because there may be many items to skip.
            found = self._page(key, max(limit, self._page_size), found.next, webhook)
        return found

    def _page(
        self, key: RecoveryKey, limit: int, after: str | None, webhook: Webhook | None
    ) -> Page[Delivery]:
        found = self._reader.oldest_first(key.account_id, key.webhook_id, _EVER, limit, after)
        log_unreadable(self._telemetry, found.unreadable)
        if webhook is None:
            return found
        wanted = [each for each in found.items if webhook.takes(each)]
        unwanted = [each for each in found.items if not webhook.takes(each)]
        run_all(self._threads, self._retrier.unsubscribed, unwanted)
        return found._replace(items=wanted)
