"""The start of a job that its owner asked for: its record first, then its execution."""

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
    """Record a job and start its execution; False where its owner has a running one already.

    `not_started` is the record of the job where its execution could not be started, None where the
    call may be repeated: the repeat starts the job then. Raises UnavailableError in either case.
    Where that record was not written, or the function was killed, the sweep starts the job.
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
    """Tell whether an earlier try of a call has recorded its job, and see that it goes on.

    Raises UnavailableError.
    """
    recorded = store.get(job.key)
    if recorded is None:
        return False
    if recorded.running:
        ensure_started(scheduler, recorded)
    return True


def ensure_started(scheduler: JobScheduler, job: Record) -> None:
    """See that a running job has its execution. Raises UnavailableError.

    It costs one call, which starts nothing where the execution was started. The call that recorded
    the job may have been killed before that.
    """
    scheduler.start(job.key, run=job.run.number)
