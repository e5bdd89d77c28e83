"""One attempt of one delivery: sign, send, and decide what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Attempt, FailureReason, Status
from webhooks.domain.pauses import asked_until_ms
from webhooks.domain.retry import SHORT_DELAY_SECONDS, next_wait
from webhooks.services.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DestinationStore, Sender, Telemetry
    from webhooks.services.health import WebhookHealthService

LATENCY = "DeliveryLatency"
"""The time from an event's arrival to its delivery: the dispatcher's from when SQS took it, the
worker's, which is mostly the schedule's, from when the dispatcher did."""

GONE = 410
_MILLISECONDS = 1000

_WITHOUT_RESPONSE = frozenset(
    {FailureReason.CONNECTION, FailureReason.DNS, FailureReason.TIMEOUT, FailureReason.TLS}
)
"""What one receiver's trouble looks like, and what ours does at all of them at once."""


class Deliverer:
    """Makes attempts. Records nothing about the delivery: that is its caller's next step."""

    def __init__(
        self,
        *,
        sender: Sender,
        destinations: DestinationStore,
        health: WebhookHealthService,
        telemetry: Telemetry,
        schedule: Sequence[float],
        clock: Callable[[], float],
        random: Callable[[], float],
        short_delay_seconds: float = SHORT_DELAY_SECONDS,
        quick_destinations: DestinationStore | None = None,
    ) -> None:
        """Wait `schedule` between attempts; `clock` gives Unix seconds, `random` 0 to 1.

        A delay of up to `short_delay_seconds` belongs to the machine of short delays.
        `quick_destinations` are the same destinations, but give up after 2 seconds.
        """
        self._exchange = Exchange(
            sender=sender,
            destinations=quick_destinations or destinations,
            telemetry=telemetry,
            clock=clock,
        )
        self._destinations = destinations
        self._health = health
        self._telemetry = telemetry
        self._schedule = schedule
        self._clock = clock
        self._random = random
        self._short_delay_seconds = short_delay_seconds

    def attempt(
        self,
        destination: Destination,
        delivery: Delivery,
        *,
        manual: bool = False,
        probe: bool = False,
    ) -> Delivery:
        """Make the delivery's next attempt; returns it with the attempt and its new status.

        A `manual` one or a `probe` that fails leaves the schedule, and so the status, as they were.
        A webhook without a secret is never sent an unsigned request: its delivery waits. Raises
        UnavailableError where our own side failed, which is not an attempt.
        """
        started_at = self._clock()
        secrets = destination.secrets.live(int(started_at * _MILLISECONDS))
        if not secrets:
            self._telemetry.log("error", "secret_missing", **_names(delivery))
            self._telemetry.count("SecretMissing")
            return delivery.defer("secret_missing")
        number = len(delivery.attempts) + 1
        outcome, requests, signed_with = self._exchange.make(
            destination,
            delivery,
            attempt_number=number,
            unix_seconds=int(started_at),
            secrets=secrets,
            asked_for=manual or probe,
        )
        attempt = Attempt(
            number=number,
            started_at_ms=int(started_at * _MILLISECONDS),
            duration_ms=outcome.duration_ms,
            status_code=outcome.status_code,
            error=outcome.error,
            response_body=outcome.response_body,
            manual=manual,
            probe=probe,
            not_before_ms=(
                None
                if outcome.retry_after_seconds is None
                else asked_until_ms(outcome, int(self._clock() * _MILLISECONDS))
            ),
            requests=requests,
            signed_with=signed_with,
        )
        if outcome.error is None:
            self._telemetry.count("Succeeded")
            return replace(delivery.after(attempt, Status.SUCCEEDED), reason=None)
        self._report_failure(delivery, attempt)
        # Before the delivery is deferred: what waits for an enabled webhook is never sent.
        disabled = outcome.status_code == GONE and self._disabled(destination.webhook)
        if not attempt.scheduled:
            return delivery.after(attempt, delivery.status, delivery.next_attempt_at_ms)
        if disabled:
            return replace(delivery.after(attempt, Status.WAITING), reason="gone")
        return self._scheduled(delivery, attempt, outcome)

    def _disabled(self, webhook: Webhook) -> bool:
        """See that a webhook which is gone is disabled; False where it was changed meanwhile.

        Then its owner may have given it another url, or enabled it again: another attempt, by the
        schedule, finds out. One that was deleted has its deliveries cancelled by it.
        """
        if self._health.gone(webhook):
            return True
        found = self._destinations.destination(webhook.account_id, webhook.id)
        return found is not None and not found.webhook.active

    def _scheduled(self, delivery: Delivery, attempt: Attempt, outcome: Outcome) -> Delivery:
        seconds = next_wait(self._schedule, delivery.next_attempt, outcome, self._random)
        if seconds is None:
            return replace(delivery.after(attempt, Status.EXHAUSTED), reason=outcome.error)
        next_attempt_at_ms = int((self._clock() + seconds) * _MILLISECONDS)
        short = seconds <= self._short_delay_seconds
        return delivery.after(attempt, Status.RETRYING, next_attempt_at_ms, short=short)

    def _report_failure(self, delivery: Delivery, attempt: Attempt) -> None:
        self._telemetry.count("FailedAttempts")
        # The success rate's alarm needs the metric where nothing succeeds: CloudWatch does not
        # calculate with one that was never published.
        self._telemetry.count("Succeeded", 0)
        if attempt.error in _WITHOUT_RESPONSE:
            self._telemetry.count("UnansweredAttempts")
        self._telemetry.log(
            "warning",
            "attempt_failed",
            **_names(delivery),
            attempt=attempt.number,
            manual=attempt.manual,
            probe=attempt.probe,
            error=attempt.error,
            status_code=attempt.status_code,
            duration_ms=attempt.duration_ms,
            requests=attempt.requests,
        )


def _names(delivery: Delivery) -> dict[str, str]:
    return {
        "account_id": delivery.account_id,
        "webhook_id": delivery.webhook_id,
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
    }
