"""The sweep of operational events that could not be published when they happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import UnavailableError
from webhooks.domain.operational_event import KEPT_SECONDS, LATE_SECONDS
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.services.failures import log_unreadable
from webhooks.services.operational_events import report_lost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.ports import KeptOperationalEvents, OperationalEventBus, Telemetry
    from webhooks.services.jobs.turn import Turn

SWEPT_AT_ONCE = 500
"""The most stored events that one sweep publishes."""

PUBLISHED_AT_ONCE = 10
"""The most events that the bus accepts in one request."""


class _Tried(NamedTuple):
    """The events that the bus accepted, the refused ones, and the error of the latter."""

    taken: Sequence[OperationalEvent]
    refused: Sequence[OperationalEvent]
    error: str = ""
    answered: bool = True


class OperationalEventSweep:
    """Publishes stored events, oldest first.

    A refused event stays for the next sweep and does not block later ones. After four days it is
    given up: counted and logged as lost. A bus that does not respond is no failure of the sweep:
    events that wait for ten minutes are counted, for an alarm of their own.

    `bus` receives the events of `kept`.
    """

    def __init__(
        self, *, bus: OperationalEventBus, kept: KeptOperationalEvents, telemetry: Telemetry
    ) -> None:
        self._bus = bus
        self._kept = kept
        self._telemetry = telemetry

    def sweep(self, turn: Turn, now_ms: int, until_spare_seconds: float) -> int:
        """Publish stored events while this much time is left; return the number published."""
        published = 0
        after: str | None = None
        while published < SWEPT_AT_ONCE:
            page = turn.attempt(self._kept.page, SWEPT_AT_ONCE, after)
            if page is None:
                break
            log_unreadable(self._telemetry, page.unreadable)
            for start in range(0, len(page.items), PUBLISHED_AT_ONCE):
                if turn.spare_seconds() < max(until_spare_seconds, 0):
                    return published
                tried = self._try(page.items[start : start + PUBLISHED_AT_ONCE])
                for event in tried.taken:
                    turn.attempt(self._kept.forget, event)
                published += len(tried.taken)
                if not tried.answered:
                    # The next sweep tries again: each further try would take a call's longest time.
                    self._see_to(turn, page.items[start:], tried.error, now_ms)
                    return published
                self._see_to(turn, tried.refused, tried.error, now_ms)
            after = page.next
            if after is None:
                break
        return published

    def _try(self, events: Sequence[OperationalEvent]) -> _Tried:
        try:
            not_taken = set(self._bus.publish_all(events))
        except UnavailableError as error:
            return _Tried((), events, str(error), answered=False)
        return _Tried(
            [event for place, event in enumerate(events) if place not in not_taken],
            [event for place, event in enumerate(events) if place in not_taken],
            "the bus did not take it",
        )

    def _see_to(
        self, turn: Turn, refused: Sequence[OperationalEvent], error: str, now_ms: int
    ) -> None:
        """Give up events refused for days, and count events that wait for long."""
        for event in refused:
            age_seconds = (now_ms - event.at_ms) / MILLISECONDS
            if age_seconds >= KEPT_SECONDS:
                report_lost(self._telemetry, event, error)
                turn.attempt(self._kept.forget, event)
            elif age_seconds >= LATE_SECONDS:
                self._telemetry.count("OverdueOperationalEvents")
