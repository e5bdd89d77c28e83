"""A job's run: the execution that makes its steps, and when it is considered dead."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from webhooks.domain.retry import restart_delay
from webhooks.domain.timestamps import to_ms

MAX_RESTARTS = 6
"""Restarts in a row without a step, after which a job has failed: they take over five hours."""

START_SECONDS = 90.0
"""Time in which a started execution records its first step: more than the worker's time-out."""

_MARGIN_SECONDS = 120.0
_KEEP_SECONDS = 300.0
"""The due time is written this far ahead, so that most steps leave it and its index unchanged."""


@dataclass(frozen=True, slots=True)
class Run:
    """The execution that makes a job's steps.

    `number` is part of its name, since the name of a dead execution stays taken. `restarts` counts
    restarts since the job's last step. If the next step is not recorded by `due_at_ms`, the
    execution is dead.
    """

    number: int = 0
    restarts: int = 0
    due_at_ms: int = field(default=0, compare=False)

    @classmethod
    def first(cls, now_ms: int) -> Run:
        """Return the run of a job that is recorded now and started next."""
        return cls(due_at_ms=now_ms + _ms(START_SECONDS))

    @property
    def in_vain(self) -> bool:
        """Whether it was restarted so often that another restart would not help."""
        return self.restarts >= MAX_RESTARTS

    @property
    def restart_delay(self) -> float:
        """The seconds until a restarted execution makes its first step."""
        return restart_delay(self.restarts)

    def kept(self, now_ms: int, next_seconds: float) -> Run:
        """Return the run after a step; the next step is due in `next_seconds`."""
        if self.due_at_ms >= now_ms + _ms(next_seconds + _MARGIN_SECONDS):
            return replace(self, restarts=0)
        return replace(self, restarts=0, due_at_ms=now_ms + _ms(next_seconds + _KEEP_SECONDS))

    def restarted(self, now_ms: int) -> Run:
        """Return the run of the execution that replaces a dead one."""
        due_at_ms = now_ms + _ms(self.restart_delay + START_SECONDS)
        return Run(self.number + 1, self.restarts + 1, due_at_ms)

    def unstarted(self, now_ms: int) -> Run:
        """Return a run whose execution could not be started: due now, the restart not counted."""
        return Run(self.number, max(0, self.restarts - 1), now_ms)


def run_name(job_id: str, number: int) -> str:
    """Return the name of an execution; a job's first run is named after the job's id."""
    return f"{job_id}-run{number}" if number else job_id


def _ms(seconds: float) -> int:
    return to_ms(seconds)
