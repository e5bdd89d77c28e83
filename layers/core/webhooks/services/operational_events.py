"""Operational events: published at once, or kept for the sweep, which publishes them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.ports import KeptOperationalEvents, OperationalEvents, Telemetry


class LastingOperationalEvents:
    """Publishes operational events on `bus`, and keeps a refused event for the sweep.

    `kept` builds the store of kept events when it is first needed.
    """

    def __init__(
        self,
        bus: OperationalEvents,
        kept: Callable[[], KeptOperationalEvents],
        telemetry: Telemetry,
    ) -> None:
        self._bus = bus
        self._kept = kept
        self._telemetry = telemetry

    def publish(self, event: OperationalEvent) -> None:
        """Publish or keep an event. Raises UnavailableError if neither is possible.

        If the bus's response was lost, the event may be on the bus already; it is published again.
        """
        try:
            self._bus.publish(event)
        except UnavailableError as error:
            self._kept().keep(event)
            self._telemetry.count("KeptOperationalEvents")
            self._telemetry.log(
                "warning",
                "operational_event_kept",
                account_id=event.account_id,
                webhook_id=event.webhook_id,
                type=event.type.value,
                error=str(error),
            )


def report_lost(telemetry: Telemetry, event: OperationalEvent, error: str) -> None:
    """Count and log an event that is neither published nor kept, with all of its facts.

    An operator can publish it by hand from that line.
    """
    telemetry.count("LostOperationalEvents")
    telemetry.log(
        "error",
        "operational_event_lost",
        account_id=event.account_id,
        webhook_id=event.webhook_id,
        type=event.type.value,
        at_ms=event.at_ms,
        facts=dict(event.facts),
        error=error,
    )
