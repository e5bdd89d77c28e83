"""The start of a job that its owner asked for: its record first, then its execution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from webhooks.ports import JobScheduler, JobStore, Record


def start(
    store: JobStore[Record], scheduler: JobScheduler, job: Record, *, not_started: Record
) -> bool:
    """Record a job and start its execution; False where its owner has a running one already.

    `not_started` is the record of the job where its execution could not be started: without one it
    would seem to run for ever. Raises UnavailableError then.
    """
    if not store.create(job):
        return False
    try:
        scheduler.start(job.key)
    except UnavailableError:
        store.save(job, not_started)
        raise
    return True
