"""The delivery log of a webhook: listing, reading and resending deliveries, and test events."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import cursor as cursors
from webhooks.domain.catalog import sample_event
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, DeliveryKey, Status, delivery_id
from webhooks.domain.errors import DeliveryErasedError, InvalidInputError, TooManyAttemptsError
from webhooks.domain.event import parse_timestamp
from webhooks.domain.filing import filed_at_ms, is_until, reach_ms
from webhooks.domain.ids import is_uuid
from webhooks.domain.seed import Seed, fresh
from webhooks.domain.timestamps import MILLISECONDS, ns_to_ms
from webhooks.domain.webhook import InvalidWebhookError
from webhooks.ports import DeliveryQuery, Page
from webhooks.services.failures import log_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.event import EventType
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import DeliveryLog, DeliveryStore, RetryScheduler, Telemetry
    from webhooks.services.rate_limits import RateLimits


class DeliveryFilter(NamedTuple):
    """The filter of a list of deliveries; times are RFC 3339 texts, inclusive, not yet checked."""

    status: Status | None = None
    event_type: EventType | None = None
    since: str | None = None
    until: str | None = None


class DeliveryLogService:
    """The delivery log of one webhook at a time, which its caller found to be the account's own.

    Sends nothing itself: it starts the executions that do. `cursor_key` seals the lists' cursors
    and must be the same in every process. `now_ns` gives Unix nanoseconds.
    """

    def __init__(
        self,
        log: DeliveryLog,
        deliveries: DeliveryStore,
        scheduler: RetryScheduler,
        *,
        rate_limits: RateLimits,
        telemetry: Telemetry,
        cursor_key: bytes,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._log = log
        self._deliveries = deliveries
        self._scheduler = scheduler
        self._rate_limits = rate_limits
        self._telemetry = telemetry
        self._cursor_key = cursor_key
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def page(
        self, webhook: Webhook, wanted: DeliveryFilter, limit: int, cursor: str | None = None
    ) -> Page[Delivery]:
        """Return up to `limit` matching deliveries, newest first.

        A page may be short, even empty, although more follow: the number of deliveries that a
        filter skips in one call is bounded. `cursor` is the `next` of the page before, with the
        same filter. Raises InvalidInputError for an invalid time or cursor.
        """
        query = _query(webhook, wanted)
        scope = ("deliveries", *("" if part is None else str(part) for part in query))
        before = cursors.unseal(self._cursor_key, scope, cursor)
        until_ms = query.until_ms
        if until_ms is not None:
            now_ms = ns_to_ms(self._now_ns())
            reaches = [reach_ms(until_ms, now_ms)]
            if before is not None:
                # The first page may have reached further ahead. Queries begin inside their range.
                reaches.append(filed_at_ms(before))
            query = query._replace(until_ms=max(reaches))
        found = self._log.page(query, limit, before)
        log_unreadable(self._telemetry, found.unreadable)
        items = [one for one in found.items if until_ms is None or is_until(one, until_ms)]
        return Page(items, cursors.seal(self._cursor_key, scope, found.next))

    def get(self, webhook: Webhook, delivery_id: str) -> Delivery | None:
        """Return one delivery; None if the webhook has none of that id, or no longer has it."""
        if not is_uuid(delivery_id):
            return None
        return self._deliveries.get(DeliveryKey(webhook.account_id, webhook.id, delivery_id))

    def resend(
        self, webhook: Webhook, delivery_id: str, *, seed: Seed | None = None
    ) -> Delivery | None:
        """Start one more attempt of a delivery of any status, outside its schedule.

        During a pause that the receiver asked for, the attempt waits for the end of the pause.
        Returns the delivery as it was; None if it is absent. A repeated `seed` starts no second
        attempt. Raises WebhookDisabledError, DeliveryErasedError, TooManyAttemptsError,
        TooManyResendsError, UnavailableError.
        """
        delivery = self.get(webhook, delivery_id)
        if delivery is None:
            return None
        webhook.require_active()
        if delivery.erased:
            raise DeliveryErasedError
        if len(delivery.attempts) >= MAX_ATTEMPTS:
            raise TooManyAttemptsError
        self._rate_limits.resend(webhook)
        now_ms = ns_to_ms(self._now_ns())
        due_ms = webhook.health.paused_until_ms(now_ms) or now_ms
        self._scheduler.resend(
            delivery.key,
            attempt=len(delivery.attempts) + 1,
            request_id=(seed or self._fresh()).draw("resend", 16).hex(),
            delay_seconds=(due_ms - now_ms) / MILLISECONDS,
        )
        return delivery

    def test(self, webhook: Webhook, event_type: str, *, seed: Seed | None = None) -> Delivery:
        """Deliver a sample event of this type, marked as a test, even if not subscribed to.

        During a pause that the receiver asked for, it waits for the end of the pause. Returns the
        pending delivery; a repeated `seed` returns the delivery that its first call made. Raises
        InvalidInputError for an unknown type, WebhookDisabledError, TooManyTestsError,
        UnavailableError.
        """
        seed = seed or self._fresh()
        now_ms = seed.now_ms
        event = sample_event(
            event_type,
            account_id=webhook.account_id,
            event_id=f"evt_{seed.draw('event id', 16).hex()}",
            now_ms=now_ms,
        )
        due_ms = webhook.health.paused_until_ms(now_ms) or now_ms
        delivery = Delivery(
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=delivery_id(event.id, event.occurred_at_ms, webhook.id),
            event_id=event.id,
            event_type=event.type.value,
            body=event.body,
            status=Status.PENDING,
            created_at_ms=now_ms,
            # The sweeper finds the delivery by this time if it gets no execution now.
            next_attempt_at_ms=due_ms,
            test=True,
        )
        if not (seed.repeated and self._deliveries.get(delivery.key)):
            webhook.require_active()
            self._rate_limits.test(webhook)
            self._deliveries.create(delivery)
        # For an existing delivery this starts nothing, unless its first call ended before this.
        self._scheduler.start(delivery, delay_seconds=(due_ms - now_ms) / MILLISECONDS)
        return delivery

    def _fresh(self) -> Seed:
        return fresh(self._now_ns, self._random_bytes)


def _query(webhook: Webhook, wanted: DeliveryFilter) -> DeliveryQuery:
    problems: list[InvalidInputError] = []
    times: list[int | None] = []
    for field, text in (("since", wanted.since), ("until", wanted.until)):
        try:
            times.append(None if text is None else parse_timestamp(text, field))
        except InvalidInputError:
            message = "Use an RFC 3339 time from 1970 to 9999, as 2025-12-21T10:30:00Z."
            problems.append(InvalidInputError(field, message))
    if problems:
        raise InvalidWebhookError(problems)
    since_ms, until_ms = times
    if since_ms is not None and until_ms is not None and since_ms > until_ms:
        raise InvalidInputError("until", "Use a time that is not before since.")
    return DeliveryQuery(
        webhook.account_id, webhook.id, wanted.status, wanted.event_type, since_ms, until_ms
    )
