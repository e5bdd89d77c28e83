"""A later attempt of one delivery: the task of the retry state machine."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.delivery import Delivery, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.ports import DeliveryStore, DestinationStore, Observer
    from webhooks.services.deliverer import Deliverer

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
    """Makes attempt 2 and those after it.

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
        made = len(delivery.attempts)
        if delivery.status is not Status.RETRYING or made >= attempt_number:
            return self._verdict(delivery)
        destination = self._destinations.destination(key.account_id, key.webhook_id)
        if destination is None:
            after = _put_by(delivery, Status.CANCELLED, "webhook_deleted")
        elif not destination.webhook.active:
            after = _put_by(delivery, Status.WAITING, "webhook_disabled")
        else:
            after = self._deliverer.attempt(destination, delivery)
        if not self._deliveries.update(after, attempts_before=made):
            # Somebody else recorded first; what they recorded decides.
            return self._verdict(self._deliveries.get(key))
        return self._verdict(after)

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
