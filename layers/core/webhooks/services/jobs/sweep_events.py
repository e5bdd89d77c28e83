"""The sweep's part about operational events that could not be published when they happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain.errors import UnavailableError
from webhooks.domain.operational_event import KEPT_SECONDS, LATE_SECONDS
from webhooks.services.failures import log_unreadable
from webhooks.services.operational_events import report_lost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.ports import KeptOperationalEvents, OperationalEventBus, Telemetry
    from webhooks.services.jobs.turn import Turn

SWEPT_AT_ONCE = 500
"""Kept events that one sweep publishes at most."""

PUBLISHED_AT_ONCE = 10
"""Events of one request: what the bus takes."""

_MILLISECONDS = 1000


class _Tried(NamedTuple):
    """Which of some events were taken, and the error of those that were not."""

    taken: Sequence[OperationalEvent]
    refused: Sequence[OperationalEvent]
    error: str = ""
    answered: bool = True


class OperationalEventSweep:
    """Publishes what is kept, the oldest first.

    An event that is not taken stays for the next sweep, and keeps none behind it from its turn.
    After four days it is given up: counted and logged as lost. A bus that does not answer does not
    fail the sweep: what waits for ten minutes is counted, for an alarm of its own.
    """

    def __init__(
        self, *, bus: OperationalEventBus, kept: KeptOperationalEvents, telemetry: Telemetry
    ) -> None:
        """Publish on `bus` what is in `kept`."""
        self._bus = bus
        self._kept = kept
        self._telemetry = telemetry

    def sweep(self, turn: Turn, now_ms: int, until_spare_seconds: float) -> int:
        """Publish kept events while so much time is left; returns how many were published."""
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
                    # The next sweep tries again. Each try would take a call's longest time.
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
        """Give up what was not taken for days, and count what waits for long."""
        for event in refused:
            age_seconds = (now_ms - event.at_ms) / _MILLISECONDS
            if age_seconds >= KEPT_SECONDS:
                report_lost(self._telemetry, event, error)
                turn.attempt(self._kept.forget, event)
            elif age_seconds >= LATE_SECONDS:
                self._telemetry.count("OverdueOperationalEvents")
