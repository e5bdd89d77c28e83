"""Operational events: published at once, or kept for the sweep, which publishes them later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.ports import KeptOperationalEvents, OperationalEvents, Telemetry


class LastingOperationalEvents:
    """Publishes operational events; one that the bus does not take is kept for the sweep."""

    def __init__(
        self,
        bus: OperationalEvents,
        kept: Callable[[], KeptOperationalEvents],
        telemetry: Telemetry,
    ) -> None:
        """Publish on `bus`, and keep in `kept`, which is built when it is first needed."""
        self._bus = bus
        self._kept = kept
        self._telemetry = telemetry

    def publish(self, event: OperationalEvent) -> None:
        """Publish or keep an event. Raises UnavailableError where neither is possible.

        An event whose answer was lost may be on the bus already; it is published again.
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
    """Count and log an event that is neither published nor kept: all that it says is in the line.

    A person can publish it by hand from that.
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
