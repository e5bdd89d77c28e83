"""An event's place in the order of time: at its own time, but never ahead of its acceptance.

Logs, replays and figures use that order. A wrong clock, or a local time written with `Z`, may stamp
an event for tomorrow. At its own time no replay would reach it until tomorrow, and it would stand
above everything else in the log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery
    from webhooks.domain.event import Event

MAX_AHEAD_MS = 10_000
"""An event that is at most this far ahead of its acceptance keeps its own time. Clocks set by the
network differ by less. Such an event needs no claim."""


def filed(event: Event, accepted_at_ms: int) -> Event:
    """Return the event with the time it is filed under.

    `accepted_at_ms` is when SQS took it, in Unix milliseconds. An event stamped further ahead is
    filed under its acceptance; its body keeps its own time. Copies of it are accepted at other
    times, so the first copy's time has to be claimed.
    """
    if event.occurred_at_ms <= accepted_at_ms + MAX_AHEAD_MS:
        return event
    return replace(event, occurred_at_ms=accepted_at_ms, id_fixes_time=False, ahead=True)


def filed_at_ms(delivery_id: str) -> int:
    """Return the Unix milliseconds that a delivery is filed under: the beginning of its id."""
    return UUID(delivery_id).int >> 80


def reach_ms(until_ms: int, now_ms: int) -> int:
    """Return the latest filing time of deliveries that were accepted until `until_ms`.

    If `until_ms` is about now, events accepted by then may be filed a little ahead of it.
    """
    return until_ms if until_ms < now_ms - MAX_AHEAD_MS else until_ms + MAX_AHEAD_MS


def is_until(delivery: Delivery, until_ms: int) -> bool:
    """Whether a delivery within reach was accepted, or its event happened, until a time."""
    return filed_at_ms(delivery.id) <= until_ms or delivery.created_at_ms <= until_ms
