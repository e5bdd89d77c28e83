"""EventBridge's schedules: functions that the template invokes every few minutes."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.functions import LocalFunction

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function, the seconds between its invocations, and its event."""

    function: LocalFunction
    seconds: float
    event: Any


def read_rate(expression: str) -> float:
    """Return the seconds between two invocations of a `rate(...)`; ValueError for other forms."""
    found = _RATE.fullmatch(expression)
    if found is None:
        msg = f"the local stack knows rate(...) only, not the schedule {expression}"
        raise ValueError(msg)
    return float(int(found[1]) * _SECONDS[found[2]])


def read_input(target: dict[str, Any]) -> Any:
    """Return the event of a rule's target."""
    return json.loads(target.get("Input", "{}"))


class ScheduleRunner:
    """Invokes a schedule's function each time it is due, until it is stopped.

    The first invocation is one interval after the start.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread that waits for the schedule."""
        self._thread.start()

    def stop(self) -> None:
        """Stop invoking; an invocation under way continues."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._schedule.seconds):
            self._schedule.function.invoke(self._schedule.event)
