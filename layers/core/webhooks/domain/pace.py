"""How fast a receiver is sent what it missed: slower where that is too much for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from webhooks.domain.replay import MAX_RATE, PAUSE_SECONDS

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

SLOWEST = 1 / 60
"""Deliveries a second, however often a receiver says that it is too much: one a minute."""

GROWTH = 1.1
"""A pace that did no harm becomes so many times as fast: from one a minute to 50 a second in 85
steps, which take twelve minutes."""

_TOO_MANY_REQUESTS = 429


def too_much(attempts: Sequence[Attempt]) -> bool:
    """Tell whether attempts, in their order, were more at a time than their receiver can take.

    It says so (429), or half of the latest fail, as many as are made at once and more than a single
    one: as under too much load. Another 4xx is of that delivery alone, whatever the pace.
    """
    if any(attempt.status_code == _TOO_MANY_REQUESTS for attempt in attempts):
        return True
    latest = attempts[-MAX_RATE:]
    strained = sum(_strained(attempt) for attempt in latest)
    return strained > 1 and 2 * strained >= len(latest)


def next_pace(pace: float, attempts: Sequence[Attempt], fastest: float) -> float:
    """Return the deliveries a second after a step of `attempts` at `pace`; never above `fastest`.

    Half of what was too much, a tenth more where none failed for its load, else the same: some
    receivers fail now and then at any pace.
    """
    if too_much(attempts):
        return slower(min(pace, len(attempts)))
    if not attempts or any(_strained(attempt) for attempt in attempts):
        return pace
    return min(pace * GROWTH, fastest)


def slower(pace: float) -> float:
    """Return half a pace that was too much."""
    return max(pace / 2, SLOWEST)


def at_once(pace: float) -> int:
    """Return how many deliveries a step sends at this pace."""
    return max(1, int(pace))


def pause(pace: float) -> float:
    """Return the seconds between two steps: below one a second it is those that get longer."""
    return max(PAUSE_SECONDS, 1 / pace)


def _strained(attempt: Attempt) -> bool:
    """Tell whether an attempt failed as it may for want of a receiver's time."""
    if attempt.error is None:
        return False
    code = attempt.status_code
    return code is None or code == _TOO_MANY_REQUESTS or code >= 500
