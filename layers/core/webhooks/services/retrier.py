"""A later attempt of one delivery: the task of the retry state machine."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, Status
from webhooks.domain.errors import UnavailableError
from webhooks.services.deliverer import LATENCY

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import Attempt, DeliveryKey
    from webhooks.domain.webhook import Destination
    from webhooks.ports import DeliveryStore, DestinationStore, Observer, RetryScheduler
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.health import HealthKeeper

_RECORD_TRIES = 5

_MILLISECONDS = 1000


class Decision(StrEnum):
    """What the state machine does next."""

    WAIT = "wait"
    DEAD_LETTER = "dead_letter"
    DONE = "done"


class Verdict(NamedTuple):
    """The decision, the delivery that it is about, and the seconds to wait before the next try."""

    decision: Decision
    delivery: Delivery | None = None
    seconds: float = 0.0


class Retrier:
    """Makes every attempt but those of the dispatcher.

    Reads everything again each time: the webhook may have moved, been deleted, or been given a new
    secret since the event came.
    """

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        destinations: DestinationStore,
        deliverer: Deliverer,
        health: HealthKeeper,
        scheduler: RetryScheduler,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._deliveries = deliveries
        self._destinations = destinations
        self._deliverer = deliverer
        self._health = health
        self._scheduler = scheduler
        self._observer = observer
        self._clock = clock

    def retry(self, key: DeliveryKey, attempt_number: int, generation: int = 0) -> Verdict:
        """Make attempt `attempt_number` unless it was made, and decide what follows.

        Called again with the same number, after a crash or a lost answer, it sends nothing that
        was recorded and decides the same. An execution of another generation than the delivery's
        comes to its end. Raises UnavailableError where our own side failed.
        """
        delivery = self._deliveries.get(key)
        if delivery is None:
            self._observer.log("warning", "delivery_expired", **key._asdict())
            return Verdict(Decision.DONE)
        if delivery.generation != generation:
            return Verdict(Decision.DONE)
        if delivery.status is Status.EXHAUSTED and delivery.next_attempt_at_ms is not None:
            # Its message to the dead-letter queue was due, and is on its way with this verdict.
            told = replace(delivery, next_attempt_at_ms=None)
            return self._verdict(self._record(delivery, told), generation)
        if not delivery.retrying or delivery.scheduled_attempts >= attempt_number:
            return self._verdict(delivery, generation)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None:
            after = delivery.cancel("webhook_deleted")
        elif not destination.webhook.active:
            after = delivery.defer("webhook_disabled")
        elif destination.webhook.health.on_trial:
            after = delivery.defer("webhook_down")
        else:
            after = self._attempt(destination, delivery)
        return self._verdict(self._record(delivery, after), generation)

    def resend(self, key: DeliveryKey) -> bool:
        """Make one attempt besides the schedule, whatever the status; True where it succeeded.

        Nothing is sent where the delivery or its webhook is gone, or the webhook is disabled.
        Raises UnavailableError where our own side failed; called again, it sends again.
        """
        delivery = self._deliveries.get(key)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if delivery is None or destination is None or not destination.webhook.active:
            self._observer.log("warning", "resend_dropped", **key._asdict())
            return False
        return self.attempt_by_hand(destination, delivery)

    def attempt_by_hand(self, destination: Destination, delivery: Delivery) -> bool:
        """Make and record one attempt besides the schedule; True where it succeeded.

        `delivery` and `destination` are as they were read a moment ago. Raises UnavailableError
        where our own side failed.
        """
        if len(delivery.attempts) >= MAX_ATTEMPTS or delivery.erased:
            self._observer.log("warning", "resend_dropped", **delivery.key._asdict())
            return False
        after = self._attempt(destination, delivery, manual=True)
        if len(after.attempts) == len(delivery.attempts):
            # Nothing was sent, for want of a secret: the delivery stays as it was.
            return False
        self._record(delivery, after)
        return after.attempts[-1].error is None

    def probe(self, destination: Destination, delivery: Delivery) -> bool:
        """Try a waiting delivery on a webhook that is down; True where it was taken.

        One whose log is full is tried all the same, without another line in it. Raises
        UnavailableError where our own side failed.
        """
        after = self._attempt(destination, delivery, probe=True)
        if after.status is Status.SUCCEEDED or len(after.attempts) <= MAX_ATTEMPTS:
            self._record(delivery, after)
        return after.status is Status.SUCCEEDED

    def drain(self, destination: Destination, delivery: Delivery) -> Attempt | None:
        """Make a waiting delivery's next attempt of the schedule; returns it, None if none was.

        One that fails gets an execution of its own again, one that is exhausted by it the one that
        sends it to the dead-letter queue. The caller reports the attempt to the webhook's health.
        Raises UnavailableError where our own side failed; a delivery whose schedule could not be
        started then waits for the next step again, and its attempt is reported here: a receiver
        that is down again must not be asked in each of them.
        """
        self._observer.trace("event_ids", delivery.event_id)
        after = self._deliverer.attempt(destination, delivery)
        if after.status is Status.RETRYING:
            after = replace(after, generation=delivery.generation + 1, reason=None)
        elif after.status is Status.EXHAUSTED:
            after = after.resumed(int(self._clock() * _MILLISECONDS))
        made = after.attempts[len(delivery.attempts) :]
        stored = self._record(delivery, after)
        if stored is not None and stored.next_attempt_at_ms is not None:
            try:
                self.schedule(stored)
            except UnavailableError:
                self._health.report(destination.webhook, made)
                if stored.status is Status.RETRYING:
                    # An execution that was started all the same finds nothing to do.
                    again = stored.defer(delivery.reason or "webhook_down")
                    self._deliveries.update(again, before=stored)
                raise
        return made[0] if made else None

    def schedule(self, delivery: Delivery) -> None:
        """See that a delivery which is due some time has its execution. Raises UnavailableError."""
        self._scheduler.start(delivery, delay_seconds=self._seconds_left(delivery))

    def _attempt(
        self,
        destination: Destination,
        delivery: Delivery,
        *,
        manual: bool = False,
        probe: bool = False,
    ) -> Delivery:
        self._observer.trace("event_ids", delivery.event_id)
        after = self._deliverer.attempt(destination, delivery, manual=manual, probe=probe)
        self._health.report(destination.webhook, after.attempts[len(delivery.attempts) :])
        return after

    def _record(self, before: Delivery, after: Delivery) -> Delivery | None:
        """Write what came of an attempt, behind whatever others recorded in the meantime.

        The schedule and an owner's own attempts may run at the same time; neither's is lost, and
        none undoes what the other settled. Returns the delivery as it is then stored.
        """
        for _ in range(_RECORD_TRIES):
            if self._deliveries.update(after, before=before):
                if after.status is Status.EXHAUSTED and before.status is not Status.EXHAUSTED:
                    self._health.exhausted(after)
                self._tell(before.status, after)
                return after
            stored = self._deliveries.get(before.key)
            if stored is None:
                return None
            before, after = stored, _behind(stored, before, after)
            if after == stored:
                return stored
        msg = "an attempt could not be recorded: its delivery keeps changing"
        raise UnavailableError(msg)

    def _tell(self, before: Status, after: Delivery) -> None:
        """Record latency on success; count deferred deliveries."""
        if after.status is before:
            return
        if after.status is Status.SUCCEEDED and after.attempts and not after.attempts[-1].manual:
            self._observer.measure(LATENCY, after.attempts[-1].ended_after_ms(after.created_at_ms))
        if after.status is Status.WAITING:
            self._observer.count("DeferredDeliveries")

    def _verdict(self, delivery: Delivery | None, generation: int) -> Verdict:
        if delivery is None or delivery.generation != generation:
            return Verdict(Decision.DONE)
        if delivery.status is Status.RETRYING:
            return Verdict(Decision.WAIT, delivery, self._seconds_left(delivery))
        if delivery.status is Status.EXHAUSTED:
            return Verdict(Decision.DEAD_LETTER, delivery)
        return Verdict(Decision.DONE, delivery)

    def _seconds_left(self, delivery: Delivery) -> float:
        due_ms = delivery.next_attempt_at_ms or 0
        return max(0.0, due_ms / _MILLISECONDS - self._clock())


def _behind(stored: Delivery, before: Delivery, after: Delivery) -> Delivery:
    """Return what came of an attempt of `before`, put behind what `stored` has become since."""
    if len(after.attempts) == len(before.attempts):
        return _unattempted_behind(stored, after)
    attempt = replace(after.attempts[-1], number=len(stored.attempts) + 1)
    if stored.erased:
        # A response may quote the payload.
        attempt = replace(attempt, response_body="")
    made_twice = attempt.scheduled and stored.scheduled_attempts > before.scheduled_attempts
    if made_twice and (attempt.error is not None or stored.status is Status.SUCCEEDED):
        # The same attempt of the schedule: the first to record it decides, but for a success, or
        # what the receiver has would be sent to it again.
        return stored
    if attempt.error is None:
        return replace(stored.after(attempt, Status.SUCCEEDED), reason=None)
    if not attempt.scheduled or not stored.retrying:
        return stored.after(attempt, stored.status, stored.next_attempt_at_ms)
    return replace(
        stored.after(attempt, after.status, after.next_attempt_at_ms), reason=after.reason
    )


def _unattempted_behind(stored: Delivery, after: Delivery) -> Delivery:
    """Return a delivery deferred or cancelled without an attempt, as `stored` has become since.

    Nothing to do where others settled it, did the same, or gave it another execution.
    """
    if stored.generation != after.generation:
        return stored
    if stored.retrying:
        return replace(stored, status=after.status, next_attempt_at_ms=None, reason=after.reason)
    if stored.status is after.status:
        return replace(stored, next_attempt_at_ms=after.next_attempt_at_ms)
    return stored
