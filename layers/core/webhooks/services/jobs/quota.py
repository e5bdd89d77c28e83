"""Limits of the sweep's calls to Step Functions, below an account's quotas in a region."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS_PER_SECOND = 9.0
LOOKS_AT_ONCE = 200
"""Calls of DescribeExecution in a burst. The account's quota is a bucket of 250 and 10 per second
in most regions, 300 and 15 in three ("Quotas related to API action throttling" in Step Functions'
guide).
"""

STARTS_PER_SECOND = 100.0
STARTS_AT_ONCE = 200
"""Calls of StartExecution in a burst. For Standard machines the account's quota is a bucket of 800
and 150 per second in most regions, 1,300 and 300 in three (the same page). The rest is left to the
dispatcher and the API.
"""


class Quota:
    """A token bucket that threads share: each call takes one token.

    `at_once` is its size and its content at the start. `clock` gives seconds that never decrease.
    """

    def __init__(
        self,
        per_second: float,
        at_once: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(at_once)
        self._at = clock()

    def take(self, patience_seconds: float) -> bool:
        """Wait for a token; return False at once if that takes longer than `patience_seconds`."""
        with self._lock:
            now = self._clock()
            grown = self._tokens + (now - self._at) * self._per_second
            self._tokens, self._at = min(grown, self._at_once), now
            wait = max(0.0, (1 - self._tokens) / self._per_second)
            if wait > patience_seconds:
                return False
            # A negative count is the number of threads that wait for tokens to come.
            self._tokens -= 1
        if wait:
            self._sleep(wait)
        return True
