"""Turns of requests to a host: what a process may send unasked, and when its further turns are.

A process has a small bucket for each account and host, and asks for nothing while that has enough.
Past it a process takes turns of the common line, in which one turn follows the other at the rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

UNASKED_AT_ONCE = 10
"""Requests to a host that one invocation makes unasked: a batch of ten events for one webhook. An
event for many webhooks of a host is past it at once."""

UNASKED_SECONDS = 0.5
"""A process's bucket for a host holds so many seconds' requests: 100 at 200 a second."""

UNASKED_SHARE = 0.02
"""It fills at this share of the rate: fifty processes together send as much as the rate unasked."""

LOT_SECONDS = 0.25
"""A process takes so many seconds' turns at least where nobody is in line, for what it sends in the
next second: a busy process asks about four times a second."""

AT_ONCE_SECONDS = 1.0
"""Turns of the next second are sent at once: a rate of 200 a second allows 200 in one moment."""

_MILLISECONDS = 1000


@dataclass(slots=True)
class Bucket:
    """What one process may send to one host: unasked, and turns of a lot that it has left.

    `line_until` is until when the common line goes on, as this process knows it.
    """

    tokens: float
    filled_at: float
    turns: int = 0
    turns_until: float = 0.0
    line_until: float = 0.0

    @classmethod
    def full(cls, rate: int, now: float) -> Bucket:
        """Return a bucket that nothing was taken of; `now` in Unix seconds."""
        return cls(_capacity(rate), now)

    def take(self, count: int, rate: int, now: float) -> int:
        """Take as many of `count` as it has; returns how many that were."""
        grown = self.tokens + max(0.0, now - self.filled_at) * rate * UNASKED_SHARE
        self.tokens = min(grown, _capacity(rate))
        self.filled_at = now
        turns = min(count, self.turns) if now < self.turns_until else 0
        self.turns -= turns
        unasked = min(count - turns, int(self.tokens), UNASKED_AT_ONCE)
        self.tokens -= unasked
        return turns + unasked

    def keep(self, turns: int, now: float) -> None:
        """Keep turns of a lot for the next second."""
        self.turns, self.turns_until = turns, now + AT_ONCE_SECONDS


def _capacity(rate: int) -> float:
    return max(1.0, rate * UNASKED_SECONDS)


def lot(rate: int) -> int:
    """Return the turns that a process takes at least where nobody is in line."""
    return max(1, int(rate * LOT_SECONDS))


def line_ms(count: int, rate: int) -> int:
    """Return the milliseconds that so many turns take in the line."""
    return math.ceil(count * _MILLISECONDS / rate)


def delays(first_ms: int, count: int, rate: int, now_ms: int) -> list[int]:
    """Return the delay in whole seconds of each of `count` turns, the first of them at `first_ms`.

    0 for those that are sent at once. A turn's message is kept until its second at the earliest.
    """
    seconds = [
        (first_ms - now_ms + turn * _MILLISECONDS / rate) / _MILLISECONDS for turn in range(count)
    ]
    return [0 if one < AT_ONCE_SECONDS else math.floor(one) for one in seconds]
