"""A limit of CPU time for one piece of work, checked from time to time by the work itself."""

from __future__ import annotations

import math
from collections.abc import Callable


class CpuLimitReachedError(Exception):
    """A piece of work has used up its CPU time."""


class CpuLimit:
    """The CPU time that one piece of work may use. `clock` returns the CPU seconds used so far."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def check(self) -> None:
        """Raise CpuLimitReachedError at the limit and after it."""
        if self._clock() >= self._until:
            raise CpuLimitReachedError


NO_CPU_LIMIT = CpuLimit(math.inf, lambda: 0.0)
"""For short texts, which need no limit."""
