"""A selection of a webhook's deliveries, which jobs process oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from webhooks.domain.delivery import Status

_LATEST_MS = (1 << 48) - 1
"""The last time that fits into a delivery's id."""


class Selection(NamedTuple):
    """Deliveries by the events' times, in Unix milliseconds and inclusive, and by status."""

    since_ms: int
    until_ms: int
    statuses: tuple[Status, ...]

    @classmethod
    def of_all_time(cls, *statuses: Status) -> Selection:
        """Return the selection of the deliveries of these statuses, however old."""
        return cls(0, _LATEST_MS, statuses)
