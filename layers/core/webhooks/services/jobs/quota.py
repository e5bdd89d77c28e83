"""How often the sweep calls Step Functions: below the quotas that an account has in a region."""

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

STARTS_PER_SECOND = 100.0
STARTS_AT_ONCE = 200
"""StartExecution of Standard machines has a bucket of 800 and 150 a second in most regions, 1,300
and 300 in three (the same page): the rest is left to the dispatcher and the API."""


class Quota:
    """A token bucket, which threads share: each call takes one token."""

    def __init__(
        self,
        per_second: float,
        at_once: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Hold `at_once` tokens at most, and at first; `clock` gives seconds that only grow."""
        self._per_second = per_second
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(at_once)
        self._at = clock()

    def take(self, patience_seconds: float) -> bool:
        """Wait for a call's turn; False, at once, where that takes longer than the patience."""
        with self._lock:
            now = self._clock()
            grown = self._tokens + (now - self._at) * self._per_second
            self._tokens, self._at = min(grown, self._at_once), now
            wait = max(0.0, (1 - self._tokens) / self._per_second)
            if wait > patience_seconds:
                return False
            # Below zero: the tokens to come are those of the threads that wait already.
            self._tokens -= 1
        if wait:
            self._sleep(wait)
        return True
