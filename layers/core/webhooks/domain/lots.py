"""How processes share a common rate limit: each may first use a small share without counting.

A process that stays within its share in a minute writes nothing. After that it takes lots from the
common count, with one write each. Therefore a minute's count is exceeded by at most one share for
each process, and at the end of the minute each process loses at most one share of unused lots.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

SHARES = 200
"""A process's share is the limit divided by this. Fifty processes exceed it by up to a quarter."""


def share(limit: int) -> int:
    """Return how many a process may pass in a window without counting them: also a lot's size."""
    return max(1, limit // SHARES)


@dataclass(slots=True)
class Lot:
    """The remainder of one account's window that one process may still use.

    `refused` is the smallest request for which the common count had no room.
    """

    left: int
    refused: float = inf

    def use(self, count: int) -> int:
        """Take up to `count` of the remainder; returns how many are missing."""
        used = min(count, self.left)
        self.left -= used
        return count - used
