"""A dispatcher among fakes."""

from __future__ import annotations

from support.world import World as Services
from webhooks.domain.delivery import Delivery, FailureReason, Outcome

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500, duration_ms=7, response_body="no")


class World(Services):
    """A dispatcher among fakes."""

    def stored(self) -> list[Delivery]:
        return list(self.deliveries.deliveries.values())

    def only(self) -> Delivery:
        [delivery] = self.stored()
        return delivery
