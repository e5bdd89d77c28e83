"""Rate limit for requests to one host: each process's free share, and its turns past that share.

A process has a small bucket for each account and host, and asks the table for nothing while the
bucket has enough. After that it reserves turns in a common line, in which turns follow each other
at the rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from webhooks.domain.timestamps import MILLISECONDS

UNASKED_AT_ONCE = 10
"""Requests to a host that one invocation makes without a reservation: a batch of ten events for one
webhook. An event for many webhooks of one host exceeds it immediately."""

UNASKED_SECONDS = 0.5
"""A bucket's capacity, in seconds at the rate: 100 requests at 200 a second."""

UNASKED_SHARE = 0.02
"""The refill as a share of the rate: fifty processes reach the rate without reservations."""

LOT_SECONDS = 0.25
"""If the line is empty, a process reserves at least this many seconds' turns, for requests of the
next second; therefore a busy process reserves about four times a second."""

AT_ONCE_SECONDS = 1.0
"""Turns of the next second are sent at once: a rate of 200 a second allows 200 in one moment."""


@dataclass(slots=True)
class Bucket:
    """Requests that one process may send to one host: unreserved ones, and turns left of a lot.

    `line_until` is the end of the common line, in Unix seconds, as far as this process knows.
    """

    tokens: float
    filled_at: float
    turns: int = 0
    turns_until: float = 0.0
    line_until: float = 0.0

    @classmethod
    def full(cls, rate: int, now: float) -> Bucket:
        """Return a full bucket; `now` in Unix seconds."""
        return cls(_capacity(rate), now)

    def take(self, count: int, rate: int, now: float) -> int:
        """Take up to `count` requests; returns how many were available. `now` in Unix seconds."""
        grown = self.tokens + max(0.0, now - self.filled_at) * rate * UNASKED_SHARE
        self.tokens = min(grown, _capacity(rate))
        self.filled_at = now
        turns = min(count, self.turns) if now < self.turns_until else 0
        self.turns -= turns
        unasked = min(count - turns, int(self.tokens), UNASKED_AT_ONCE)
        self.tokens -= unasked
        return turns + unasked

    def keep(self, turns: int, now: float) -> None:
        """Keep reserved turns for the next second."""
        self.turns, self.turns_until = turns, now + AT_ONCE_SECONDS


def _capacity(rate: int) -> float:
    return max(1.0, rate * UNASKED_SECONDS)


def lot(rate: int) -> int:
    """Return the smallest number of turns that a process reserves if the line is empty."""
    return max(1, int(rate * LOT_SECONDS))


def line_ms(count: int, rate: int) -> int:
    """Return how many milliseconds of the line `count` turns occupy."""
    return math.ceil(count * MILLISECONDS / rate)


def delays(first_ms: int, count: int, rate: int, now_ms: int) -> list[int]:
    """Return the delay in whole seconds of each of `count` turns, the first of them at `first_ms`.

    A delay of 0 means that the turn is sent at once. Delays are rounded down: a delayed message
    appears at the start of its turn's second.
    """
    seconds = [
        (first_ms - now_ms + turn * MILLISECONDS / rate) / MILLISECONDS for turn in range(count)
    ]
    return [0 if one < AT_ONCE_SECONDS else math.floor(one) for one in seconds]
