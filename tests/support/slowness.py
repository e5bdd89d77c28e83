"""The slowness of this machine at the moment, and limits that grow with it.

A test waits for an event; its limit only ends a wait for an event that never comes. On a machine
that is shared, or under a quota (`tests/slow_cpu.py`), the same work takes longer, so each limit is
`seconds(n)`: n seconds on an idle machine.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOPS = 400_000
_IDLE_SECONDS = 0.02
"""The loop's time on an idle core of 2024."""

_MOST = 40.0
_FRESH_SECONDS = 5.0
"""The validity of a measurement. A measurement costs 20 ms of CPU."""


def measured() -> float:
    """Return the ratio of a loop's time at the moment to its time on an idle machine."""
    started = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number * number
    return (time.perf_counter() - started) / _IDLE_SECONDS


class Slowness:
    """The greatest slowness that was measured: 1 is an idle machine, 5 a fifth of a core.

    It does not sink again: a stack that started under load is often still busy when a test looks.
    """

    def __init__(
        self, measure: Callable[[], float] = measured, fresh_seconds: float = _FRESH_SECONDS
    ) -> None:
        self._measure = measure
        self._fresh_seconds = fresh_seconds
        self._greatest = 1.0
        self._measured_at: float | None = None
        self._measuring = threading.Lock()

    def factor(self) -> float:
        """Return the factor for limits, measured again if the last measurement is old."""
        with self._measuring:
            at = self._measured_at
            if at is None or time.monotonic() - at > self._fresh_seconds:
                self._greatest = min(max(self._greatest, self._measure()), _MOST)
                self._measured_at = time.monotonic()
            return self._greatest


_SLOWNESS = Slowness()


def seconds(on_idle_machine: float) -> float:
    """Return a limit for an act that takes at most so long on an idle machine."""
    return on_idle_machine * _SLOWNESS.factor()
