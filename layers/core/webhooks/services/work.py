"""A delivery of a batch, from its event to its first attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Delivery, Status, delivery_id

if TYPE_CHECKING:
    from webhooks.domain.webhook import Destination
    from webhooks.services.reader import Read


@dataclass(slots=True)
class Work:
    """A delivery to attempt, the first event that it is of, and its record where it has one.

    The messages of `message_ids` are done only when the work is.
    """

    read: Read
    destination: Destination
    delivery: Delivery
    message_ids: set[str] = field(default_factory=set)
    stored: Delivery | None = None

    @classmethod
    def of(cls, read: Read, destination: Destination, now_ms: int) -> Work:
        """Return the work that an event is for one webhook."""
        event, webhook = read.event, destination.webhook
        delivery = Delivery(
            account_id=event.account_id,
            webhook_id=webhook.id,
            id=delivery_id(event.id, event.occurred_at_ms, webhook.id),
            event_id=event.id,
            event_type=event.type,
            body=event.body,
            status=Status.PENDING,
            created_at_ms=now_ms,
        )
        return cls(read, destination, delivery)

    @property
    def account_id(self) -> str:
        """Whose delivery it is."""
        return self.delivery.account_id

    @property
    def webhook_id(self) -> str:
        """The webhook that it goes to."""
        return self.delivery.webhook_id
