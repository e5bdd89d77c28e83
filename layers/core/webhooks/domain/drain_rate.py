"""How fast a receiver is sent what it missed: slower where that is too much for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

PAUSE_SECONDS = 1
"""Time between two batches. With a second's deliveries in each, a second never holds two."""

MAX_RATE = 16
"""Most deliveries sent at once: 256 MB of function memory does so many without false time-outs."""

FIRST_WAVE = 2
"""Deliveries sent at once, at first, by the draining of a webhook on probation; then twice as many
each time."""

SLOWEST = 1 / 60
"""Deliveries a second, however often a receiver says that it is too much: one a minute."""

GROWTH = 1.1
"""A pace that did no harm becomes so many times as fast: from one a minute to 50 a second in 85
steps, which take twelve minutes."""

STARTING_RATE = 1.0
"""Deliveries a second that a webhook is drained with at first where its owner enabled it, or where
it passed its trial."""

PATIENCE = 16
"""So many failures in a row end a trial's own pace: the webhook is then probed as a dead one."""

TOO_MANY_REQUESTS = 429
"""The status by which a receiver says that it is sent too much at a time."""

_A_FEW = 3


def is_overloaded(attempts: Sequence[Attempt]) -> bool:
    """Tell whether attempts, in their order, were more at a time than their receiver can take.

    It says so (429), or two thirds of the latest, as many as are made at once and more than a few,
    fail as under too much load. A receiver of which one server in three is dead fails less often
    than that at any pace. Another 4xx is of that delivery alone.
    """
    if any(attempt.status_code == TOO_MANY_REQUESTS for attempt in attempts):
        return True
    latest = attempts[-MAX_RATE:]
    strained = _strained(latest)
    return strained > _A_FEW and 3 * strained >= 2 * len(latest)


def next_drain_rate(pace: float, attempts: Sequence[Attempt], fastest: float) -> float:
    """Return the deliveries a second after a step of `attempts` at `pace`; never above `fastest`.

    Half of what was too much, a tenth more where at most a quarter failed for its load, else the
    same: some receivers fail now and then at any pace.
    """
    if is_overloaded(attempts):
        return slower(min(pace, len(attempts)))
    if attempts and 4 * _strained(attempts) <= len(attempts):
        return min(pace * GROWTH, fastest)
    return pace


def slower(pace: float) -> float:
    """Return half a pace that was too much."""
    return max(pace / 2, SLOWEST)


def on_trial(pace: float, *, taken: bool, slowest: float) -> float:
    """Return the deliveries a second after one that was made on trial: twice or half as fast."""
    return pace * 2 if taken else max(pace / 2, slowest)


def at_once(pace: float) -> int:
    """Return how many deliveries a step sends at this pace."""
    return max(1, int(pace))


def pause(pace: float) -> float:
    """Return the seconds between two steps: below one a second it is those that get longer."""
    return max(PAUSE_SECONDS, 1 / pace)


def _strained(attempts: Sequence[Attempt]) -> int:
    """Count the attempts that failed as they may for want of a receiver's time."""
    codes = [attempt.status_code for attempt in attempts if attempt.error is not None]
    return sum(code is None or code == TOO_MANY_REQUESTS or code >= 500 for code in codes)
