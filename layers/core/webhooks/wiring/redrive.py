"""The services of `python -m ops.redrive`, an operator's command."""

from __future__ import annotations

from functools import cached_property

from webhooks.services.redriver import Redriver
from webhooks.wiring.common import CommonServices


class RedriveServices(CommonServices):
    """Another chance for deliveries in the dead-letter queue."""

    function = "redrive"

    @cached_property
    def redriver(self) -> Redriver:
        """Another chance for a delivery, with a schedule that begins anew."""
        return Redriver(self._deliveries, self._scheduler, self._clock)
