"""Jobs in memory: the records of an owner's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from support.fakes.failures import Failures
from webhooks.ports import Page, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.ports import JobKey, JobOwner


class FakeJobStore(Generic[Record]):
    """`JobStore` in a dictionary, of a kind with one running job an owner or many."""

    def __init__(self, *, one_at_a_time: bool = False) -> None:
        self.one_at_a_time = one_at_a_time
        self.jobs: dict[Any, Record] = {}
        self.failures = Failures()

    def create(self, job: Record) -> bool:
        self.failures.check("create")
        others = [other for other in self._of(_owner(job.key)) if other.running and other != job]
        if self.one_at_a_time and others:
            return False
        self.jobs[job.key] = job
        return True

    def get(self, key: JobKey) -> Record | None:
        self.failures.check("get")
        return self.jobs.get(key)

    def page(self, owner: JobOwner, limit: int, before: str | None = None) -> Page[Record]:
        self.failures.check("page")
        found = [job for job in reversed(self._of(owner)) if before is None or _id(job) < before]
        return Page(found[:limit], _id(found[limit - 1]) if len(found) > limit else None)

    def running_one(self, owner: JobOwner) -> Record | None:
        self.failures.check("running_one")
        return next((job for job in self._of(owner) if job.running), None)

    def running_since(self, owner: JobOwner, since_ms: int) -> Sequence[Record]:
        self.failures.check("running_since")
        return [job for job in self._since(owner, since_ms) if job.running]

    def count_since(self, owner: JobOwner, since_ms: int) -> int:
        self.failures.check("count_since")
        return len(self._since(owner, since_ms))

    def save(self, before: Record, after: Record) -> bool:
        self.failures.check("save")
        stored = self.jobs.get(after.key)
        if stored == after:
            return True
        if stored is None or not stored.running or _version(stored) != _version(before):
            return False
        self.jobs[after.key] = after
        return True

    def _since(self, owner: JobOwner, since_ms: int) -> list[Record]:
        return [job for job in self._of(owner) if job.created_at_ms >= since_ms]

    def _of(self, owner: JobOwner) -> list[Record]:
        """The jobs of an owner, oldest first."""
        ids = [each for each in owner if each is not None]
        return sorted((job for job in self.jobs.values() if _owner(job.key) == ids), key=_id)


class FakeOverdueJobs:
    """`OverdueJobs` over the fake stores of some kinds."""

    def __init__(self, *stores: FakeJobStore[Any]) -> None:
        self.stores = stores
        self.failures = Failures()

    def overdue(self, before_ms: int, limit: int) -> Sequence[JobKey]:
        self.failures.check("overdue")
        jobs = [job for store in self.stores for job in store.jobs.values()]
        due = [job for job in jobs if job.running and 0 < job.run.due_at_ms < before_ms]
        return [job.key for job in sorted(due, key=lambda job: job.run.due_at_ms)][:limit]


def _owner(key: JobKey) -> Any:
    *ids, _ = key._asdict().values()
    return ids


def _id(job: Any) -> str:
    [*_, job_id] = job.key._asdict().values()
    return str(job_id)


def _version(job: Any) -> tuple[int | None, int]:
    """The number of recorded steps, None for a kind that counts none, and their run."""
    return getattr(job, "steps", None), job.run.number
