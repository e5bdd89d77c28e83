"""One attempt of one delivery: sign, send, and decide what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain import signing
from webhooks.domain.delivery import Attempt, Status
from webhooks.domain.retry import next_delay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.webhook import Destination
    from webhooks.ports import DestinationStore, Observer, Sender

GONE = 410
_MILLISECONDS = 1000


class Deliverer:
    """Makes attempts. Records nothing about the delivery: that is its caller's next step."""

    def __init__(
        self,
        *,
        sender: Sender,
        destinations: DestinationStore,
        observer: Observer,
        schedule: Sequence[float],
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """Wait `schedule` between attempts; `clock` gives Unix seconds, `random` 0 to 1."""
        self._sender = sender
        self._destinations = destinations
        self._observer = observer
        self._schedule = schedule
        self._clock = clock
        self._random = random

    def attempt(self, destination: Destination, delivery: Delivery) -> Delivery:
        """Make the delivery's next attempt; returns it with the attempt and its new status.

        A webhook without a secret is never sent an unsigned request: its delivery waits. Raises
        Unavailable where our own side failed, which is not an attempt.
        """
        started_at = self._clock()
        secrets = destination.secrets.live(int(started_at * _MILLISECONDS))
        if not secrets:
            self._observer.log("error", "secret_missing", **_names(delivery))
            self._observer.count("SecretMissing")
            return replace(
                delivery, status=Status.WAITING, next_attempt_at_ms=None, reason="secret_missing"
            )
        number = len(delivery.attempts) + 1
        headers = signing.delivery_headers(
            delivery,
            attempt_number=number,
            unix_seconds=int(started_at),
            secrets=secrets,
            # Until it has moved to the new secret, a receiver reads this header with the old one.
            sendcomms_secret=secrets[-1],
        )
        outcome = self._sender.post(destination.webhook.url, delivery.body, headers)
        attempt = Attempt(
            number=number,
            started_at_ms=int(started_at * _MILLISECONDS),
            duration_ms=outcome.duration_ms,
            status_code=outcome.status_code,
            error=outcome.error,
            answer=outcome.answer,
        )
        if outcome.succeeded:
            self._observer.count("Succeeded")
            return replace(delivery.after(attempt, Status.SUCCEEDED), reason=None)
        return self._failed(delivery, attempt, outcome)

    def _failed(self, delivery: Delivery, attempt: Attempt, outcome: Outcome) -> Delivery:
        now_ms = int(self._clock() * _MILLISECONDS)
        self._observer.count("FailedAttempts")
        self._observer.log(
            "warning",
            "attempt_failed",
            **_names(delivery),
            attempt=attempt.number,
            error=outcome.error,
            status_code=outcome.status_code,
            duration_ms=outcome.duration_ms,
        )
        if outcome.status_code == GONE:
            self._disable(delivery, now_ms)
            return replace(delivery.after(attempt, Status.WAITING), reason="gone")
        delay = next_delay(self._schedule, attempt.number, outcome, self._random)
        if delay is None:
            self._observer.count("Exhausted")
            return replace(delivery.after(attempt, Status.EXHAUSTED), reason=outcome.error)
        # Step Functions waits whole seconds. The schedule is whole and so is Retry-After, so that
        # cutting off a part of the jitter is never early.
        next_attempt_at_ms = now_ms + int(delay) * _MILLISECONDS
        return delivery.after(attempt, Status.RETRYING, next_attempt_at_ms)

    def _disable(self, delivery: Delivery, now_ms: int) -> None:
        if self._destinations.disable(delivery.account_id, delivery.webhook_id, "gone", now_ms):
            self._observer.count("Disabled")
            self._observer.log("warning", "webhook_disabled", **_names(delivery), reason="gone")


def _names(delivery: Delivery) -> dict[str, str]:
    return {
        "account_id": delivery.account_id,
        "webhook_id": delivery.webhook_id,
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
    }
