"""The start of a job that its owner asked for: its record first, then its execution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs.run import Run

if TYPE_CHECKING:
    from webhooks.ports import JobScheduler, JobStore, Record


def start(
    store: JobStore[Record], scheduler: JobScheduler, job: Record, *, not_started: Record
) -> bool:
    """Record a job and start its execution; False where its owner has a running one already.

    `not_started` is the record of the job where its execution could not be started. Raises
    UnavailableError then. Where that record could not be written either, or the function was
    killed, the sweep starts the job.
    """
    job = replace(job, run=Run.first(job.created_at_ms))
    if not store.create(job):
        return False
    try:
        scheduler.start(job.key)
    except UnavailableError:
        store.save(job, not_started)
        raise
    return True


def ensure_started(scheduler: JobScheduler, job: Record) -> None:
    """See that a running job has its execution. Raises UnavailableError.

    It costs one call, which starts nothing where the execution was started. The call that recorded
    the job may have been killed before that.
    """
    scheduler.start(job.key, run=job.run.number)
