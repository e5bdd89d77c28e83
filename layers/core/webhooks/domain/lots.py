"""How processes share a limit that they count together: each first uses a small share unasked.

A process that stays within its share in a minute writes nothing. Past it a process takes lots of
the common count, one write each. So a minute's count is passed by at most one share a process, and
what processes have left of their lots at its end, at most one share each, is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

SHARES = 200
"""A process's share is the limit divided by this: fifty processes pass it by a quarter at most."""


def share(limit: int) -> int:
    """Return what a process may let through in a window without counting it, and a lot's size."""
    return max(1, limit // SHARES)


@dataclass(slots=True)
class Lot:
    """What one process may still let through of one account's window.

    `refused` is the fewest that there was no room for in the common count.
    """

    left: int
    refused: float = inf

    def use(self, count: int) -> int:
        """Take up to `count` of what is left; returns how many are missing."""
        used = min(count, self.left)
        self.left -= used
        return count - used
