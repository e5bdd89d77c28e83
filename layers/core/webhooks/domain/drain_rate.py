"""The rate at which a recovered receiver is sent its backlog: reduced if that overloads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from webhooks.domain.status_codes import is_rate_limited, is_strained

if TYPE_CHECKING:
    from webhooks.domain.delivery import Attempt

PAUSE_SECONDS = 1
"""Time between two batches. A batch is a second's deliveries; no second ever holds two."""

MAX_RATE = 16
"""Most deliveries sent at once: 256 MB of function memory handles this many without false
time-outs."""

FIRST_WAVE = 2
"""Deliveries in the first batch of draining a webhook on probation; each later batch doubles."""

SLOWEST = 1 / 60
"""The lowest rate, in deliveries a second, however overloaded a receiver is: one a minute."""

GROWTH = 1.1
"""Growth factor of the rate after a harmless step: from one a minute to 50 a second in 85 steps,
which take twelve minutes."""

STARTING_RATE = 1.0
"""First rate, in deliveries a second, of a webhook that its owner enabled or that passed its
trial."""

PATIENCE = 16
"""This many failures in a row end a trial's own rate: the webhook is then probed as if down."""

_A_FEW = 3


def is_overloaded(attempts: Sequence[Attempt]) -> bool:
    """Whether attempts, in their order, were more at a time than their receiver can take.

    Either one response is 429, or two thirds of the latest attempts (up to `MAX_RATE`, and more
    than a few) failed as if from overload. A receiver with one dead server in three fails less
    often than that at any rate. Any other 4xx concerns its own delivery only.
    """
    if any(is_rate_limited(attempt.status_code) for attempt in attempts):
        return True
    latest = attempts[-MAX_RATE:]
    strained = _strained(latest)
    return strained > _A_FEW and 3 * strained >= 2 * len(latest)


def next_drain_rate(rate: float, attempts: Sequence[Attempt], fastest: float) -> float:
    """Return the deliveries a second after a step of `attempts` at `rate`; never above `fastest`.

    Half if it was too much, a tenth more if at most a quarter failed from load, otherwise the same:
    some receivers fail now and then at any rate.
    """
    if is_overloaded(attempts):
        return halved(min(rate, len(attempts)))
    if attempts and 4 * _strained(attempts) <= len(attempts):
        return min(rate * GROWTH, fastest)
    return rate


def halved(rate: float) -> float:
    """Return the rate halved, at least `SLOWEST`."""
    return max(rate / 2, SLOWEST)


def on_trial(rate: float, *, taken: bool, slowest: float) -> float:
    """Return the rate of a trial after a delivery: doubled if accepted, halved if not."""
    return rate * 2 if taken else max(rate / 2, slowest)


def batch_size(rate: float) -> int:
    """Return how many deliveries a step sends at this rate: at least one."""
    return max(1, int(rate))


def pause(rate: float) -> float:
    """Return the seconds between two steps: longer than `PAUSE_SECONDS` below one a second."""
    return max(PAUSE_SECONDS, 1 / rate)


def _strained(attempts: Sequence[Attempt]) -> int:
    """Count the failures that an overloaded receiver may cause."""
    failed = [attempt for attempt in attempts if attempt.error is not None]
    return sum(is_strained(attempt.status_code) for attempt in failed)
