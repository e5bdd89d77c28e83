"""The part that the steps of all kinds of jobs share: the check that theirs is the current run."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.ports import JobKey, JobStore, Record

NO_STATE: Mapping[str, Any] = MappingProxyType({})
"""The state of an execution from before runs had numbers."""


def current(store: JobStore[Record], key: JobKey, state: Mapping[str, Any]) -> Record | None:
    """Return a running job; None if it ended, or if another execution makes its steps."""
    job = store.get(key)
    if job is None or not job.running or job.run.number != state.get("run", 0):
        return None
    return job


def kept(job: Record, now_ms: int, next_seconds: float) -> Record:
    """Return a job after a step; its next step is due in `next_seconds`."""
    return replace(job, run=job.run.kept(now_ms, next_seconds))
