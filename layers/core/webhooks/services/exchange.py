"""The requests of one attempt: one, or during a secret's rotation two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import rotation, signing, status_codes
from webhooks.domain.delivery import SignedWith
from webhooks.domain.errors import UnavailableError
from webhooks.domain.headers import merged
from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.delivery import Delivery, Outcome
    from webhooks.domain.webhook import Destination, Secrets
    from webhooks.ports import DestinationStore, Sender, Telemetry


class Exchanged(NamedTuple):
    """The outcome of an attempt, and its number of requests.

    `signed_with` names which of two secrets made the `X-SendComms-Signature` of the request with
    this outcome; None if the webhook has only one secret.
    """

    outcome: Outcome
    requests: int = 1
    signed_with: SignedWith | None = None


class Exchange:
    """Sends an attempt's request, and offers a receiver that refuses one secret the other.

    During a rotation's overlap `X-SendComms-Signature` has room for one of the two secrets: the old
    one, until a receiver takes the new one (contract 2.3). The second request is signed with the
    new secret alone; therefore its success proves that the receiver has moved. That ends the
    overlap, and the next delivery begins with the new secret. A refusal of both is counted at the
    webhook, and from then on the second request is made only from time to time.

    `destinations` gives up after 2 seconds, because an attempt has to end in time (see
    `concurrency.Deadline`), and a later attempt can find out the same. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        destinations: DestinationStore,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._destinations = destinations
        self._telemetry = telemetry
        self._clock = clock

    def make(
        self,
        destination: Destination,
        delivery: Delivery,
        *,
        attempt_number: int,
        unix_seconds: int,
        secrets: Sequence[str],
        asked_for: bool,
    ) -> Exchanged:
        """Send one or two requests; `secrets` are the live ones, new first, at least one.

        An attempt that was `asked_for`, by an owner or a probe, adds no load of its own: in it, a
        failing webhook is offered the second secret even after a 500.
        """

        def post(signing_secrets: Sequence[str]) -> Outcome:
            headers = signing.delivery_headers(
                delivery,
                attempt_number=attempt_number,
                unix_seconds=unix_seconds,
                secrets=signing_secrets,
                sendcomms_secret=signing_secrets[-1],
            )
            webhook = destination.webhook
            if webhook.headers:
                headers = merged(webhook.headers, headers)
            return self._sender.post(webhook.url, delivery.body, headers)

        first = post(secrets)
        overlaps = len(secrets) > 1
        old = SignedWith.OLD if overlaps else None
        if first.error is None:
            return Exchanged(first, signed_with=old)
        new = self._second_secret(destination, first, secrets, asked_for=asked_for)
        if new is None:
            return Exchanged(first, signed_with=old)
        second = post([new])
        both_ms = first.duration_ms + second.duration_ms
        if second.succeeded:
            self._end_overlap(delivery, new)
        if rotation.telling(first, second):
            return Exchanged(replace(second, duration_ms=both_ms), 2, SignedWith.NEW)
        if overlaps:
            self._learn_refusal(delivery, destination.secrets)
        return Exchanged(replace(first, duration_ms=both_ms), 2, old)

    def _second_secret(
        self, destination: Destination, first: Outcome, secrets: Sequence[str], *, asked_for: bool
    ) -> str | None:
        """Return the secret to offer after the first response; None for no second request."""
        if status_codes.blames_signature(first.status_code):
            return secrets[0] if len(secrets) > 1 else self._rotated(destination, secrets[0])
        failing = destination.webhook.health.failures > 0 and not asked_for
        if len(secrets) == 1 or not status_codes.may_refuse_signature(
            first.status_code, failing=failing
        ):
            return None
        refusals = destination.secrets.refusals
        pausing = refusals is not None and refusals.pause(to_ms(self._clock()))
        return None if pausing else secrets[0]

    def _rotated(self, destination: Destination, known: str) -> str | None:
        """Return the secret that has replaced `known` since that was read, if any."""
        webhook = destination.webhook
        try:
            found = self._destinations.destination(webhook.account_id, webhook.id)
        except UnavailableError:
            return None
        current = found.secrets.current if found else None
        return None if current == known else current

    def _end_overlap(self, delivery: Delivery, secret: str) -> None:
        try:
            self._destinations.end_overlap(delivery.account_id, delivery.webhook_id, secret)
        except UnavailableError as error:
            # The delivery succeeded nevertheless, and the next one ends the overlap.
            self._log("overlap_not_ended", delivery, error)

    def _learn_refusal(self, delivery: Delivery, secrets: Secrets) -> None:
        try:
            self._destinations.refused_both(
                delivery.account_id, delivery.webhook_id, secrets, to_ms(self._clock())
            )
        except UnavailableError as error:
            # The next refusal is counted.
            self._log("refusal_not_counted", delivery, error)

    def _log(self, event: str, delivery: Delivery, error: UnavailableError) -> None:
        names = {**delivery.key._asdict(), "event_id": delivery.event_id}
        self._telemetry.log("warning", event, **names, error=str(error))
