"""An invocation whose time runs out at a step, on any clock."""

from __future__ import annotations

import threading


class RunningOut:
    """A context that has 60 seconds the first `asked` times, and `left_ms` from then on."""

    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def __init__(self, asked: int, left_ms: int = 20_000) -> None:
        self._asked = asked
        self._left_ms = left_ms
        self._lock = threading.Lock()

    def get_remaining_time_in_millis(self) -> int:
        with self._lock:
            self._asked -= 1
            return 60_000 if self._asked >= 0 else self._left_ms
