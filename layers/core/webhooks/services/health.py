"""The health of webhooks: counts their attempts, and notifies, opens circuits and disables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import (
    DISABLE_AFTER_MS,
    FAILURES_TO_OPEN,
    NOTICE_MS,
    WARN_AFTER_MS,
    Circuit,
    Comeback,
    RecoveryKey,
)
from webhooks.domain.operational_event import OperationalEvent, OperationalEventType
from webhooks.domain.retry import probe_delay
from webhooks.domain.timestamps import to_ms, to_text
from webhooks.services.operational_events import report_lost
from webhooks.services.signs import is_counted, is_news, opens, signs, tally_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.domain.health import Health, Tally
    from webhooks.domain.webhook import Webhook
    from webhooks.ports import (
        DestinationStore,
        HealthStore,
        JobScheduler,
        OperationalEvents,
        Telemetry,
    )


Fact = str | int | None


class WebhookHealthService:
    """Records the webhooks' health, and notifies of a change once, unless a response was lost.

    If our own side fails here, no delivery is lost: the next attempt counts instead. A recovery
    without an execution gets one when its message is received again, at the next failure or,
    without either, from the sweeper. The first probe follows after the first delay of
    `recovery_schedule`, in seconds. `clock` gives Unix seconds, `random` a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        store: HealthStore,
        destinations: DestinationStore,
        scheduler: JobScheduler,
        operational_events: OperationalEvents,
        telemetry: Telemetry,
        recovery_schedule: Sequence[float],
        clock: Callable[[], float],
        random: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._scheduler = scheduler
        self._operational_events = operational_events
        self._telemetry = telemetry
        self._recovery_schedule = recovery_schedule
        self._clock = clock
        self._random = random
        self._new_id = new_id

    def report(self, webhook: Webhook, attempts: Sequence[Attempt]) -> bool:
        """Count attempts, all of about the same time, in the health of their webhook.

        A `manual` attempt counts only if it succeeded (see `signs_of_health`). `webhook` is as it
        was read before the attempts. One success among them ends the failures in a row; a window
        counts both. Failures of a webhook that was changed since are not counted: it may lead
        elsewhere by now. Attempts that are no news cost nothing.

        True if the failed deliveries must wait for the recovery too: the webhook is on trial, or
        was down before these attempts were reported. The failures that open a dead webhook's
        circuit keep their retries, which may find it back before the first probe.
        """
        attempts = signs(attempts)
        if not is_news(webhook, attempts):
            return False
        try:
            if any(attempt.error is None for attempt in attempts):
                return self._succeeded(webhook, attempts)
            return self._failed(webhook, attempts)
        except UnavailableError as error:
            self._telemetry.count("UnrecordedHealth")
            self._telemetry.log(
                "warning",
                "health_not_recorded",
                account_id=webhook.account_id,
                webhook_id=webhook.id,
                error=str(error),
            )
            return False

    def review(self, webhook: Webhook) -> bool:
        """Warn of a webhook that has failed for four days; disable it after five.

        A webhook with few events may be reviewed later than that. It is still warned of first, and
        disabled a day after the warning. True if this call disabled it. Raises UnavailableError.
        """
        return self._review(webhook, webhook.health)

    def gone(self, webhook: Webhook) -> bool:
        """Disable a webhook whose receiver says that it is gone for good. Raises UnavailableError.

        `webhook` is as it was read before the attempt. A webhook that was changed since stays
        enabled: it may lead elsewhere by now. True if this call disabled it.
        """
        return self._disable(webhook, "gone", updated_at_ms=webhook.updated_at_ms)

    def ensure_recovery(self, webhook: Webhook, health: Health | None = None) -> None:
        """Start the execution of a recovery that is overdue.

        The process that opened the circuit may have been killed before it started the execution. A
        running recovery costs nothing here: each of its steps is recorded as due some time later.
        `health` is the webhook's, if it was read later than the webhook. Raises UnavailableError.
        """
        health = health or webhook.health
        if health.recovery_id is not None and health.recovery_due_at_ms <= to_ms(self._clock()):
            key = RecoveryKey(webhook.account_id, webhook.id, health.recovery_id)
            self._scheduler.start(key, delay_seconds=0)

    def exhausted(self, delivery: Delivery) -> None:
        """Notify of a delivery whose schedule is used up."""
        last = delivery.attempts[-1] if delivery.attempts else None
        self._publish(
            OperationalEventType.DELIVERY_EXHAUSTED,
            delivery.account_id,
            delivery.webhook_id,
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            attempts=len(delivery.attempts),
            last_error=last.error.value if last and last.error else None,
            last_status_code=last.status_code if last else None,
        )

    def expiring(self, delivery: Delivery, expires_at_ms: int) -> None:
        """Notify of a waiting delivery whose retention ends at a time, in Unix milliseconds."""
        self._publish(
            OperationalEventType.DELIVERY_EXPIRING,
            delivery.account_id,
            delivery.webhook_id,
            delivery_id=delivery.id,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            reason=delivery.reason,
            expires_at=_time(expires_at_ms),
        )

    def paused(self, webhook: Webhook, until_ms: int) -> None:
        """Notify of a long pause that the receiver asked for, with its end in Unix milliseconds."""
        self._publish(
            OperationalEventType.WEBHOOK_PAUSED,
            webhook.account_id,
            webhook.id,
            not_before=_time(until_ms),
        )

    def passed(self, webhook: Webhook, recovery_id: str, *, proven: bool) -> None:
        """Resume new events of a webhook that is down, as its recovery has decided.

        `proven` means that it took deliveries; otherwise no delivery waits that could prove it.
        Raises UnavailableError.
        """
        key = RecoveryKey(webhook.account_id, webhook.id, recovery_id)
        told_down = webhook.health.told_down
        if self._store.passed(key, to_ms(self._clock()), proven=proven, told_down=told_down):
            self._recovered(webhook)

    def _succeeded(self, webhook: Webhook, attempts: Sequence[Attempt]) -> bool:
        now_ms = to_ms(self._clock())
        health = webhook.health
        if health.changed_by_success and self._store.succeeded(
            webhook.account_id, webhook.id, now_ms, told_down=health.told_down
        ):
            self._recovered(webhook)
        if not is_counted(health, attempts, now_ms):
            return False
        counted = self._counted(webhook, tally_of(attempts), now_ms)
        if counted is None:
            return False
        if opens(counted):
            return self._open(webhook, counted, now_ms)
        if counted.on_probation and counted.window and counted.window.passes_probation:
            self._store.end_probation(webhook.account_id, webhook.id, counted.draining_since_ms)
        self._try(webhook, counted)
        return counted.circuit is Circuit.OPEN

    def _counted(self, webhook: Webhook, tally: Tally, now_ms: int) -> Health | None:
        """Count attempts in the webhook's window; after a probation, successes begin no window."""
        ids = webhook.account_id, webhook.id
        if webhook.health.on_probation:
            since_ms = webhook.health.draining_since_ms
            counted = self._store.count_on_probation(*ids, tally, since_ms)
            if counted is not None or not tally.failed:
                return counted
        return self._store.count(*ids, tally, now_ms, updated_at_ms=webhook.updated_at_ms)

    def _recovered(self, webhook: Webhook) -> None:
        self._publish(
            OperationalEventType.WEBHOOK_RECOVERED,
            webhook.account_id,
            webhook.id,
            failing_since=_time(webhook.health.down_since_ms or webhook.health.failing_since_ms),
        )

    def _failed(self, webhook: Webhook, attempts: Sequence[Attempt]) -> bool:
        now_ms = to_ms(self._clock())
        counts = is_counted(webhook.health, attempts, now_ms)
        health = self._store.failed(
            webhook.account_id,
            webhook.id,
            len(attempts),
            now_ms,
            updated_at_ms=webhook.updated_at_ms,
            window=counts and not webhook.health.on_probation,
        )
        if health is None or self._review(webhook, health):
            return False
        if counts and webhook.health.on_probation:
            health = self._counted(webhook, tally_of(attempts), now_ms) or health
        if opens(health):
            return self._open(webhook, health, now_ms)
        self._try(webhook, health)
        self.ensure_recovery(webhook, health)
        return health.circuit is Circuit.OPEN

    def _open(self, webhook: Webhook, health: Health, now_ms: int) -> bool:
        """Open the circuit, unless another call has; True if the failed deliveries must wait."""
        delay = probe_delay(self._recovery_schedule, 1, self._random)
        key = RecoveryKey(webhook.account_id, webhook.id, self._new_id())
        due_ms = now_ms + to_ms(delay)
        window = health.window
        if window is not None and not (health.on_probation or window.is_live(now_ms)):
            window = None
        in_a_row = health.failures >= FAILURES_TO_OPEN
        trial = window is not None and window.taken > 0
        if window is not None and health.on_probation:
            trial = window.fails_probation or window.opens
        recovery_id = self._store.open(
            key,
            due_ms,
            now_ms,
            window=None if in_a_row else window,
            trial=trial,
        )
        if recovery_id is None:
            # Another call opened it. Or it stays closed, since other attempts of this minute
            # succeeded or its owner changed it: no recovery would send the waiting deliveries.
            return trial and self._is_open(webhook)
        try:
            if recovery_id == key.recovery_id:
                self._scheduler.start(key, delay_seconds=delay)
        finally:
            self._publish(
                OperationalEventType.WEBHOOK_DOWN,
                webhook.account_id,
                webhook.id,
                failing_since=_time(
                    window.since_ms
                    if window is not None and not in_a_row
                    else health.failing_since_ms
                ),
                failures=window.failed if window and not in_a_row else health.failures,
            )
        return trial

    def _try(self, webhook: Webhook, health: Health) -> None:
        """Put a dead webhook on trial if it took some deliveries at the same time.

        Of several functions that send at once, one may have only failures and report them first.
        """
        window = health.window
        dead = health.circuit is Circuit.OPEN and health.comeback is Comeback.FULL
        if not dead or health.recovery_id is None or window is None or not window.taken:
            return
        # This window began after the failures in a row had opened the circuit.
        if window._replace(failed=window.failed + FAILURES_TO_OPEN).opens:
            key = RecoveryKey(webhook.account_id, webhook.id, health.recovery_id)
            self._store.put_on_trial(key)

    def _is_open(self, webhook: Webhook) -> bool:
        found = self._destinations.destination(webhook.account_id, webhook.id)
        return found is not None and found.webhook.health.circuit is Circuit.OPEN

    def _review(self, webhook: Webhook, health: Health) -> bool:
        now_ms = to_ms(self._clock())
        since_ms = health.failing_since_ms
        if since_ms is None or now_ms - since_ms < WARN_AFTER_MS:
            return False
        if health.warned_at_ms is None:
            self._warn(webhook, since_ms, now_ms)
            return False
        if now_ms < max(since_ms + DISABLE_AFTER_MS, health.warned_at_ms + NOTICE_MS):
            return False
        return self._disable(webhook, "failing", failing_since_ms=now_ms - DISABLE_AFTER_MS)

    def _warn(self, webhook: Webhook, since_ms: int, now_ms: int) -> None:
        if self._store.warn(webhook.account_id, webhook.id, now_ms - WARN_AFTER_MS, now_ms):
            self._publish(
                OperationalEventType.WEBHOOK_FAILING,
                webhook.account_id,
                webhook.id,
                failing_since=_time(since_ms),
                disabled_at=_time(max(since_ms + DISABLE_AFTER_MS, now_ms + NOTICE_MS)),
            )

    def _disable(
        self,
        webhook: Webhook,
        reason: str,
        *,
        failing_since_ms: int | None = None,
        updated_at_ms: int | None = None,
    ) -> bool:
        if not self._store.disable(
            webhook.account_id,
            webhook.id,
            reason,
            to_ms(self._clock()),
            failing_since_ms=failing_since_ms,
            updated_at_ms=updated_at_ms,
        ):
            return False
        self._publish(
            OperationalEventType.WEBHOOK_DISABLED, webhook.account_id, webhook.id, reason=reason
        )
        return True

    def _publish(
        self, kind: OperationalEventType, account_id: str, webhook_id: str, **facts: Fact
    ) -> None:
        """Publish the event; if that fails, log it."""
        self._telemetry.count(_METRICS[kind])
        self._telemetry.log(
            "warning", kind.value, account_id=account_id, webhook_id=webhook_id, **facts
        )
        event = OperationalEvent(kind, account_id, webhook_id, to_ms(self._clock()), facts)
        try:
            self._operational_events.publish(event)
        except UnavailableError as error:
            report_lost(self._telemetry, event, str(error))


_METRICS = {
    OperationalEventType.WEBHOOK_DOWN: "WebhooksDown",
    OperationalEventType.WEBHOOK_RECOVERED: "WebhooksRecovered",
    OperationalEventType.WEBHOOK_PAUSED: "WebhooksPaused",
    OperationalEventType.WEBHOOK_FAILING: "WebhooksFailing",
    OperationalEventType.WEBHOOK_DISABLED: "WebhooksDisabled",
    OperationalEventType.DELIVERY_EXHAUSTED: "Exhausted",
    OperationalEventType.DELIVERY_EXPIRING: "ExpiringDeliveries",
}


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else to_text(milliseconds)
