"""Later attempts of deliveries: the task of the retry state machines."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.delivery import MAX_ATTEMPTS, Claim, Delivery, Status
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.merging import behind
from webhooks.domain.overdue import MOST_CLAIMS
from webhooks.domain.pauses import UNSUBSCRIBED
from webhooks.domain.timestamps import MILLISECONDS, to_ms
from webhooks.services.deliverer import LATENCY
from webhooks.services.signs import signs_of_health

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Attempt, DeliveryKey
    from webhooks.domain.webhook import Destination, Webhook
    from webhooks.ports import DeliveryStore, DestinationStore, Telemetry
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.pauses import Pauses
    from webhooks.services.retries import Retries

_RECORD_TRIES = 5

LEASE_SECONDS = 90.0
"""How long a claim holds: longer than the function's own time and the retries of its calls, so that
nothing is done for a claim after its lease."""


class Machine(StrEnum):
    """The state machine that asks for an attempt."""

    STANDARD = "standard"
    SHORT = "short"
    """Express: runs at least once and five minutes at most, and nothing follows from its end."""
    FORMER = "former"
    """An execution from before the machine noted that the dead-letter queue has its message."""


class Decision(StrEnum):
    """The next step of the state machine."""

    WAIT = "wait"
    DEAD_LETTER = "dead_letter"
    DONE = "done"


class RetryDecision(NamedTuple):
    """The decision, its delivery, and the seconds to wait before the next try."""

    decision: Decision
    delivery: Delivery | None = None
    seconds: float = 0.0


class Resent(NamedTuple):
    """The result of a resend: whether it succeeded, or the seconds to wait before making it."""

    succeeded: bool
    wait_seconds: float = 0.0


class Retrier:
    """Makes every attempt except those of the dispatcher.

    Reads everything again each time: the webhook may have moved, been deleted, or been given a new
    secret since the event came. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        destinations: DestinationStore,
        deliverer: Deliverer,
        health: WebhookHealthService,
        pauses: Pauses,
        retries: Retries,
        telemetry: Telemetry,
        clock: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._destinations = destinations
        self._deliverer = deliverer
        self._health = health
        self._pauses = pauses
        self._retries = retries
        self._telemetry = telemetry
        self._clock = clock

    def retry(
        self,
        key: DeliveryKey,
        attempt_number: int,
        generation: int = 0,
        *,
        invocation: str,
        machine: Machine = Machine.STANDARD,
    ) -> RetryDecision:
        """Make attempt `attempt_number` unless it was made, and decide what follows.

        `invocation` is the unique id of this invocation. It claims the attempt before it makes it,
        so that only one of any number of executions sends. Called again with the same number, after
        a crash or a lost response, it sends nothing that was recorded and decides the same. An
        execution of another generation than the delivery's ends. An execution of the short machine
        starts the next attempt itself. Raises UnavailableError if our own side failed, and
        DeliveryInterruptedError if several claims in a row had no result.
        """
        delivery = self._deliveries.get(key)
        if delivery is None:
            self._telemetry.log("warning", "delivery_expired", **key._asdict())
            return RetryDecision(Decision.DONE)
        if delivery.generation != generation:
            return RetryDecision(Decision.DONE)
        stored: Delivery | None = delivery
        if delivery.retrying and delivery.scheduled_attempts < attempt_number:
            stored = self._make(delivery, attempt_number, invocation, machine)
        return self._follow(stored, attempt_number, generation, machine)

    def note_dead_letter(self, key: DeliveryKey, generation: int) -> None:
        """Record that the dead-letter queue has an exhausted delivery's message."""
        delivery = self._deliveries.get(key)
        if delivery is not None and delivery.generation == generation:
            self._note(delivery)

    def _note(self, delivery: Delivery) -> Delivery | None:
        if delivery.status is not Status.EXHAUSTED or delivery.next_attempt_at_ms is None:
            return delivery
        return self._record(delivery, replace(delivery, next_attempt_at_ms=None))

    def _make(
        self, delivery: Delivery, attempt_number: int, invocation: str, machine: Machine
    ) -> Delivery | None:
        """Make and record an attempt; return the delivery as it is then stored.

        Steps that may fail on our own side come before the claim, so that they can be tried again.
        """
        destination = self._destinations.destination(delivery.account_id, delivery.webhook_id)
        if destination is None:
            return self._record(delivery, delivery.cancel("webhook_deleted"))
        set_aside = _set_aside(destination.webhook, delivery)
        if set_aside is not None:
            return self._record(delivery, set_aside)
        retry_at_ms = self._pauses.retry_at_ms(destination.webhook)
        if retry_at_ms is not None and not delivery.is_claimed(to_ms(self._clock())):
            return self._postpone(delivery, retry_at_ms, machine)
        claimed = self._claim(delivery, attempt_number, invocation)
        if claimed is None or claimed.claim is None or claimed.claim.invocation != invocation:
            return claimed
        try:
            after = self._attempt(destination, claimed)
        except UnavailableError:
            # Not the delivery's fault: undo the claim.
            self._give_up(claimed, delivery.claim)
            raise
        except Exception:
            # A bug, perhaps of this very delivery: the claim counts, but delays no other try.
            self._give_up(claimed, replace(claimed.claim, until_ms=to_ms(self._clock())))
            raise
        if machine is not Machine.SHORT:
            # The execution itself waits for the next attempt, however long.
            after = replace(after, short=False)
        if after.status is Status.EXHAUSTED and machine is not Machine.FORMER:
            # The delivery is due until the dead-letter queue has its message.
            after = replace(after, next_attempt_at_ms=to_ms(self._clock()))
        return self._record(claimed, after)

    def _postpone(self, delivery: Delivery, retry_at_ms: int, machine: Machine) -> Delivery | None:
        """Move a due attempt behind its webhook's pause; return the delivery as stored.

        An execution of the short machine hands the attempt to one of the standard machine, which
        can wait for any time.
        """
        postponed = delivery.postponed(retry_at_ms)
        if not self._deliveries.update(postponed, before=delivery):
            return self._deliveries.get(delivery.key)
        if machine is Machine.SHORT:
            self._retries.start(postponed)
        return postponed

    def _claim(self, delivery: Delivery, attempt_number: int, invocation: str) -> Delivery | None:
        now_ms = to_ms(self._clock())
        held = delivery.claim
        if held is not None and held.count >= MOST_CLAIMS and held.until_ms <= now_ms:
            raise DeliveryInterruptedError(delivery.key, held.count)
        claim = Claim(
            invocation,
            until_ms=now_ms + to_ms(LEASE_SECONDS),
            count=held.count + 1 if held else 1,
        )
        return self._deliveries.claim_attempt(
            delivery, claim, attempt_number=attempt_number, now_ms=now_ms
        )

    def _give_up(self, claimed: Delivery, claim: Claim | None) -> None:
        try:
            self._deliveries.update(replace(claimed, claim=claim), before=claimed)
        except UnavailableError as error:
            self._telemetry.log(
                "warning", "claim_not_given_up", **claimed.key._asdict(), error=str(error)
            )

    def _follow(
        self, stored: Delivery | None, attempt_number: int, generation: int, machine: Machine
    ) -> RetryDecision:
        """Decide what follows from the delivery as it is stored now."""
        if stored is None or stored.generation != generation:
            return RetryDecision(Decision.DONE)
        if stored.retrying and stored.scheduled_attempts < attempt_number:
            return self._held(stored, machine)
        if machine is not Machine.SHORT:
            if machine is Machine.FORMER:
                return self._decide(self._note(stored), generation)
            if stored.status is Status.EXHAUSTED and stored.next_attempt_at_ms is None:
                # The dead-letter queue has its message.
                return RetryDecision(Decision.DONE, stored)
            return self._decide(stored, generation)
        # The attempt is recorded, by this run or by another, which may have ended before it started
        # the next one. An exhausted delivery gets an execution that sends its dead letter.
        if stored.next_attempt_at_ms is not None and stored.next_attempt == attempt_number + 1:
            self._retries.start(stored)
        return RetryDecision(Decision.DONE, stored)

    def _held(self, delivery: Delivery, machine: Machine) -> RetryDecision:
        """Leave an attempt alone if another invocation has claimed it, or if it is due later."""
        seconds = self._retries.seconds_left(delivery)
        if delivery.claim is not None and delivery.is_claimed(to_ms(self._clock())):
            self._telemetry.log("warning", "attempt_claimed", **delivery.key._asdict())
            seconds = (delivery.claim.until_ms - to_ms(self._clock())) / MILLISECONDS
        if machine is Machine.SHORT:
            return RetryDecision(Decision.DONE, delivery)
        return RetryDecision(Decision.WAIT, delivery, seconds)

    def resend(self, key: DeliveryKey) -> Resent:
        """Make one attempt outside the schedule, for any status and any type of event.

        None is made during the webhook's pause, if the webhook is disabled, or if it or the
        delivery is gone. Raises UnavailableError if our own side failed; a second call sends again.
        """
        delivery = self._deliveries.get(key)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if delivery is None or destination is None or not destination.webhook.active:
            self._telemetry.log("warning", "resend_dropped", **key._asdict())
            return Resent(succeeded=False)
        seconds = self._pauses.seconds_left(destination.webhook)
        if seconds:
            return Resent(succeeded=False, wait_seconds=seconds)
        made = self.attempt_by_hand(destination, delivery)
        return Resent(made is not None and made.error is None)

    def unsubscribed(self, delivery: Delivery) -> None:
        """Cancel a waiting delivery whose type its webhook is no longer subscribed to."""
        self._record(delivery, delivery.cancel(UNSUBSCRIBED))

    def attempt_by_hand(self, destination: Destination, delivery: Delivery) -> Attempt | None:
        """Make and record one attempt outside the schedule; return it, None if none was made.

        `delivery` and `destination` are as they were read a moment ago. Raises UnavailableError if
        our own side failed.
        """
        if len(delivery.attempts) >= MAX_ATTEMPTS or delivery.erased:
            self._telemetry.log("warning", "resend_dropped", **delivery.key._asdict())
            return None
        after = self._attempt(destination, delivery, manual=True)
        if len(after.attempts) == len(delivery.attempts):
            # Nothing was sent because the secret is missing: the delivery stays as it was.
            return None
        self._record(delivery, after)
        return after.attempts[-1]

    def probe(self, destination: Destination, delivery: Delivery) -> bool:
        """Try a waiting delivery on a webhook that is down; True if the receiver took it.

        A delivery with a full log is tried too, but gets no further line in it. Raises
        UnavailableError if our own side failed.
        """
        after = self._attempt(destination, delivery, probe=True)
        if after.status is Status.SUCCEEDED or len(after.attempts) <= MAX_ATTEMPTS:
            self._record(delivery, after)
        return after.status is Status.SUCCEEDED

    def drain(
        self,
        destination: Destination,
        delivery: Delivery,
        failed: list[Delivery] | None = None,
    ) -> Attempt | None:
        """Make a waiting delivery's next attempt of the schedule; return it, None if none was made.

        A failed delivery gets an execution of its own again, and an exhausted one gets the
        execution that sends it to the dead-letter queue; if the start is refused, the sweep makes
        it. The caller reports the attempt to the webhook's health. If `failed` is given, failed
        deliveries are added to it instead, for `leave`. Raises UnavailableError if our own side
        failed.
        """
        self._telemetry.annotate("event_ids", delivery.event_id)
        after = self._deliverer.attempt(destination, delivery)
        if after.status is Status.RETRYING:
            after = replace(after, generation=delivery.generation + 1, reason=None)
        elif after.status is Status.EXHAUSTED:
            after = after.resumed(to_ms(self._clock()))
        made = signs_of_health(delivery, after)
        stored = self._record(delivery, after)
        if stored is not None and stored.next_attempt_at_ms is not None:
            if failed is not None:
                failed.append(stored)
                return made[0]
            try:
                self._retries.start(stored)
            except UnavailableError:
                # The attempt was made, so its result counts even if the start fails.
                self._health.report(destination.webhook, made)
                raise
        return made[0] if made else None

    def leave(self, delivery: Delivery, *, waits: bool) -> None:
        """Defer a delivery again that `drain` left without an execution, or start one for it.

        Raises UnavailableError if our own side failed: the sweep starts it once it is due.
        """
        if waits and delivery.status is Status.RETRYING:
            self._record(delivery, delivery.defer("webhook_down"))
        else:
            self._retries.start(delivery)

    def _attempt(
        self,
        destination: Destination,
        delivery: Delivery,
        *,
        manual: bool = False,
        probe: bool = False,
    ) -> Delivery:
        self._telemetry.annotate("event_ids", delivery.event_id)
        after = self._deliverer.attempt(destination, delivery, manual=manual, probe=probe)
        made = signs_of_health(delivery, after)
        self._health.report(destination.webhook, made)
        self._pauses.heard(destination.webhook, made)
        return after

    def _record(self, before: Delivery, after: Delivery) -> Delivery | None:
        """Record an attempt's result, added to everything that others recorded meanwhile.

        The schedule and an owner's own attempts may run at the same time; neither's attempts are
        lost, and neither undoes a status that the other has settled. Returns the delivery as it is
        then stored.
        """
        for _ in range(_RECORD_TRIES):
            if self._deliveries.update(after, before=before):
                if after.status is Status.EXHAUSTED and before.status is not Status.EXHAUSTED:
                    self._health.exhausted(after)
                self._measure(before.status, after)
                return after
            stored = self._deliveries.get(before.key)
            if stored is None:
                return None
            before, after = stored, behind(stored, before, after)
            if after == stored:
                return stored
        msg = "an attempt could not be recorded: its delivery keeps changing"
        raise UnavailableError(msg)

    def _measure(self, before: Status, after: Delivery) -> None:
        """Record latency on success; count deferred deliveries."""
        if after.status is before:
            return
        if after.status is Status.SUCCEEDED and after.attempts and not after.attempts[-1].manual:
            self._telemetry.record_time(
                LATENCY, after.attempts[-1].ended_after_ms(after.created_at_ms)
            )
        if after.status is Status.WAITING:
            self._telemetry.count("DeferredDeliveries")

    def _decide(self, delivery: Delivery | None, generation: int) -> RetryDecision:
        if delivery is None or delivery.generation != generation:
            return RetryDecision(Decision.DONE)
        if delivery.status is Status.RETRYING:
            return RetryDecision(Decision.WAIT, delivery, self._retries.seconds_left(delivery))
        if delivery.status is Status.EXHAUSTED:
            return RetryDecision(Decision.DEAD_LETTER, delivery)
        return RetryDecision(Decision.DONE, delivery)


def _set_aside(webhook: Webhook, delivery: Delivery) -> Delivery | None:
    """Return the delivery, deferred or cancelled, if it gets no attempt now; else None."""
    if not webhook.takes(delivery):
        return delivery.cancel(UNSUBSCRIBED)
    if not webhook.active:
        return delivery.defer("webhook_disabled")
    return delivery.defer("webhook_down") if webhook.health.on_trial else None
