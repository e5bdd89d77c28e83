"""The start of a job that its owner asked for: first its record, then its execution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs.run import Run

if TYPE_CHECKING:
    from webhooks.ports import JobScheduler, JobStore, Record


def start(
    store: JobStore[Record], scheduler: JobScheduler, job: Record, *, not_started: Record | None
) -> bool:
    """Record a job and start its execution; False if its owner already has a running one.

    If the execution cannot be started, `not_started` is recorded instead of the job. None keeps the
    job's record: a repeat of the call then starts it. UnavailableError is raised in both cases. If
    that write failed too, or the function was killed, the sweep starts the job.
    """
    job = replace(job, run=Run.first(job.created_at_ms))
    if not store.create(job):
        return False
    try:
        scheduler.start(job.key)
    except UnavailableError:
        if not_started is not None:
            store.save(job, not_started)
        raise
    return True


def was_started(store: JobStore[Record], scheduler: JobScheduler, job: Record) -> bool:
    """Return whether an earlier try of a call has recorded its job; if so, ensure that it runs.

    Raises UnavailableError.
    """
    recorded = store.get(job.key)
    if recorded is None:
        return False
    if recorded.running:
        ensure_started(scheduler, recorded)
    return True


def ensure_started(scheduler: JobScheduler, job: Record) -> None:
    """Ensure that a running job has its execution. Raises UnavailableError.

    The call that recorded the job may have been killed before it started the execution. Starting an
    execution that exists already has no effect and costs one call.
    """
    scheduler.start(job.key, run=job.run.number)
