"""How often the sweep looks at executions: below the quota that Step Functions has for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS_PER_SECOND = 9.0
LOOKS_AT_ONCE = 200
"""DescribeExecution has a bucket of 250 and 10 a second in most regions, 300 and 15 in three
("Quotas related to API action throttling" in Step Functions' guide)."""


class Looks:
    """A token bucket, which threads share: each look at an execution takes one token."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`clock` gives seconds that only grow."""
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(LOOKS_AT_ONCE)
        self._at = clock()

    def take(self, patience_seconds: float) -> bool:
        """Wait for a look's turn; False, at once, where that takes longer than the patience."""
        with self._lock:
            now = self._clock()
            grown = self._tokens + (now - self._at) * LOOKS_PER_SECOND
            self._tokens, self._at = min(grown, LOOKS_AT_ONCE), now
            wait = max(0.0, (1 - self._tokens) / LOOKS_PER_SECOND)
            if wait > patience_seconds:
                return False
            # Below zero: the tokens to come are those of the threads that wait already.
            self._tokens -= 1
        if wait:
            self._sleep(wait)
        return True
