"""A later attempt of one delivery: the task of the retry state machine."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, Status
from webhooks.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.domain.webhook import Destination
    from webhooks.ports import DeliveryStore, DestinationStore, Observer
    from webhooks.services.deliverer import Deliverer

_UNDER_WAY = frozenset({Status.PENDING, Status.RETRYING})
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
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._deliveries = deliveries
        self._destinations = destinations
        self._deliverer = deliverer
        self._observer = observer
        self._clock = clock

    def retry(self, key: DeliveryKey, attempt_number: int) -> Verdict:
        """Make attempt `attempt_number` unless it was made, and decide what follows.

        Called again with the same number, after a crash or a lost answer, it sends nothing that
        was recorded and decides the same. Raises Unavailable where our own side failed.
        """
        delivery = self._deliveries.get(key)
        if delivery is None:
            self._observer.log("warning", "delivery_expired", **key._asdict())
            return Verdict(Decision.DONE)
        if delivery.status not in _UNDER_WAY or delivery.scheduled_attempts >= attempt_number:
            return self._verdict(delivery)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None:
            after = _put_by(delivery, Status.CANCELLED, "webhook_deleted")
        elif not destination.webhook.active:
            after = _put_by(delivery, Status.WAITING, "webhook_disabled")
        else:
            after = self._deliverer.attempt(destination, delivery)
        return self._verdict(self._record(delivery, after))

    def resend(self, key: DeliveryKey) -> bool:
        """Make one attempt besides the schedule, whatever the status; True where it succeeded.

        Nothing is sent where the delivery or its webhook is gone, or the webhook is disabled.
        Raises Unavailable where our own side failed; called again, it sends again.
        """
        delivery = self._deliveries.get(key)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if delivery is None or destination is None or not destination.webhook.active:
            self._observer.log("warning", "resend_dropped", **key._asdict())
            return False
        return self.attempt_by_hand(destination, delivery)

    def attempt_by_hand(self, destination: Destination, delivery: Delivery) -> bool:
        """Make and record one attempt besides the schedule; True where it succeeded.

        `delivery` and `destination` are as they were read a moment ago. Raises Unavailable where
        our own side failed.
        """
        if len(delivery.attempts) >= MAX_ATTEMPTS:
            self._observer.log("warning", "resend_dropped", **delivery.key._asdict())
            return False
        after = self._deliverer.attempt(destination, delivery, manual=True)
        if len(after.attempts) == len(delivery.attempts):
            # Nothing was sent, for want of a secret: the delivery stays as it was.
            return False
        self._record(delivery, after)
        return after.attempts[-1].error is None

    def _record(self, before: Delivery, after: Delivery) -> Delivery | None:
        """Write what came of an attempt, behind whatever others recorded in the meantime.

        The schedule and an owner's own attempts may run at the same time; neither's is lost, and
        none undoes what the other settled. Returns the delivery as it is then stored.
        """
        for _ in range(_RECORD_TRIES):
            if self._deliveries.update(after, before=before):
                return after
            stored = self._deliveries.get(before.key)
            if stored is None:
                return None
            before, after = stored, _behind(stored, before, after)
            if after == stored:
                return stored
        msg = "an attempt could not be recorded: its delivery keeps changing"
        raise Unavailable(msg)

    def _verdict(self, delivery: Delivery | None) -> Verdict:
        if delivery is not None and delivery.status is Status.RETRYING:
            due_ms = delivery.next_attempt_at_ms or 0
            seconds = max(0.0, due_ms / _MILLISECONDS - self._clock())
            return Verdict(Decision.WAIT, delivery, seconds)
        if delivery is not None and delivery.status is Status.EXHAUSTED:
            return Verdict(Decision.DEAD_LETTER, delivery)
        return Verdict(Decision.DONE, delivery)


def _put_by(delivery: Delivery, status: Status, reason: str) -> Delivery:
    return replace(delivery, status=status, next_attempt_at_ms=None, reason=reason)


def _behind(stored: Delivery, before: Delivery, after: Delivery) -> Delivery:
    """Return what came of an attempt of `before`, put behind what `stored` has become since."""
    if len(after.attempts) == len(before.attempts):
        # Put by without an attempt: nothing to do where others settled it, or did the same.
        if stored.status not in _UNDER_WAY:
            return stored
        return _put_by(stored, after.status, after.reason or "")
    attempt = replace(after.attempts[-1], number=len(stored.attempts) + 1)
    if not attempt.manual and stored.scheduled_attempts > before.scheduled_attempts:
        # The same attempt of the schedule, made twice: the first to record it decides.
        return stored
    if attempt.error is None:
        return replace(stored.after(attempt, Status.SUCCEEDED), reason=None)
    if attempt.manual or stored.status not in _UNDER_WAY:
        return stored.after(attempt, stored.status, stored.next_attempt_at_ms)
    return replace(
        stored.after(attempt, after.status, after.next_attempt_at_ms), reason=after.reason
    )
