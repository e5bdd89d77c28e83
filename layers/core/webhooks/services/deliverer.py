"""One attempt of one delivery: sign, send, and decide the next status."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Attempt, FailureReason, Status
from webhooks.domain.pauses import asked_until_ms
from webhooks.domain.retry import SHORT_DELAY_SECONDS, next_wait
from webhooks.domain.status_codes import is_gone
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.services.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DestinationStore, Sender, Telemetry
    from webhooks.services.health import WebhookHealthService

LATENCY = "DeliveryLatency"
"""The metric of the time from an event's arrival to its delivery. The dispatcher measures from when
SQS took the event. The worker measures from when the dispatcher read it, so most of that time is
the schedule's."""


_WITHOUT_RESPONSE = frozenset(
    {FailureReason.CONNECTION, FailureReason.DNS, FailureReason.TIMEOUT, FailureReason.TLS}
)
"""Failures without a response. At one receiver they are its own fault; at all receivers at once
they are ours."""


class Deliverer:
    """Makes attempts. Does not record the delivery: that is its caller's next step.

    `schedule` holds the seconds between attempts. `clock` gives Unix seconds, `random` a number
    from 0 to 1. A delay of up to `short_delay_seconds` belongs to the machine of short delays.
    `quick_destinations` are the same destinations, but give up after 2 seconds.
    """

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
        """Make the delivery's next attempt; return the delivery with it and its new status.

        A failed `manual` attempt or `probe` leaves the schedule, and therefore the status, as they
        were. A webhook without a secret is never sent an unsigned request: its delivery waits.
        Raises UnavailableError if our own side failed, which is not an attempt.
        """
        started_at = self._clock()
        secrets = destination.secrets.live(int(started_at * MILLISECONDS))
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
            started_at_ms=int(started_at * MILLISECONDS),
            duration_ms=outcome.duration_ms,
            status_code=outcome.status_code,
            error=outcome.error,
            response_body=outcome.response_body,
            manual=manual,
            probe=probe,
            not_before_ms=(
                None
                if outcome.retry_after_seconds is None
                else asked_until_ms(outcome, int(self._clock() * MILLISECONDS))
            ),
            requests=requests,
            signed_with=signed_with,
        )
        if outcome.error is None:
            self._telemetry.count("Succeeded")
            return replace(delivery.after(attempt, Status.SUCCEEDED), reason=None)
        self._report_failure(delivery, attempt)
        # First disable the webhook, then defer: a delivery that waits for an enabled webhook is
        # never sent.
        disabled = is_gone(outcome.status_code) and self._disabled(destination.webhook)
        if not attempt.scheduled:
            return delivery.after(attempt, delivery.status, delivery.next_attempt_at_ms)
        if disabled:
            return replace(delivery.after(attempt, Status.WAITING), reason="gone")
        return self._scheduled(delivery, attempt, outcome)

    def _disabled(self, webhook: Webhook) -> bool:
        """Disable a webhook that is gone; False if it was changed since it was read.

        Its owner may have given it another url, or enabled it again: the next attempt of the
        schedule finds out. That attempt also cancels the deliveries of a deleted webhook.
        """
        if self._health.gone(webhook):
            return True
        found = self._destinations.destination(webhook.account_id, webhook.id)
        return found is not None and not found.webhook.active

    def _scheduled(self, delivery: Delivery, attempt: Attempt, outcome: Outcome) -> Delivery:
        seconds = next_wait(self._schedule, delivery.next_attempt, outcome, self._random)
        if seconds is None:
            return replace(delivery.after(attempt, Status.EXHAUSTED), reason=outcome.error)
        next_attempt_at_ms = int((self._clock() + seconds) * MILLISECONDS)
        short = seconds <= self._short_delay_seconds
        return delivery.after(attempt, Status.RETRYING, next_attempt_at_ms, short=short)

    def _report_failure(self, delivery: Delivery, attempt: Attempt) -> None:
        self._telemetry.count("FailedAttempts")
        # The alarm on the success rate needs the metric even if nothing succeeds: CloudWatch cannot
        # calculate with a metric that was never published.
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
