"""Where an event stands in the order of time: at its own time, but never ahead of its acceptance.

Logs, replays and figures go by that order. An event stamped for tomorrow, by a clock that is wrong
or a local time written with `Z`, would otherwise be out of a replay's reach until tomorrow, and
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
"""How far ahead of its acceptance an event keeps its own time: as much as clocks that are set by
the network differ, and more. Such an event needs no claim."""


def filed(event: Event, accepted_at_ms: int) -> Event:
    """Return the event as it is filed; `accepted_at_ms` is when SQS took it, in Unix milliseconds.

    One that is stamped further ahead gets the time of its acceptance, and its body keeps its own.
    Its copies are accepted at other times, so that the first one's has to be claimed.
    """
    if event.occurred_at_ms <= accepted_at_ms + MAX_AHEAD_MS:
        return event
    return replace(event, occurred_at_ms=accepted_at_ms, id_fixes_time=False, ahead=True)


def filed_at_ms(delivery_id: str) -> int:
    """Return the Unix milliseconds that a delivery is filed under: its id begins with them."""
    return UUID(delivery_id).int >> 80


def reach_ms(until_ms: int, now_ms: int) -> int:
    """Return up to which time to look for what was accepted until a time.

    Where that is about now, what was accepted by then may be filed a little ahead of it.
    """
    return until_ms if until_ms < now_ms - MAX_AHEAD_MS else until_ms + MAX_AHEAD_MS


def is_until(delivery: Delivery, until_ms: int) -> bool:
    """Tell whether a delivery within reach is of what was accepted until a time, or happened."""
    return filed_at_ms(delivery.id) <= until_ms or delivery.created_at_ms <= until_ms
