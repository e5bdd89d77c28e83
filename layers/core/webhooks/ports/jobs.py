"""Protocols for jobs' records and executions.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import StrEnum

    from webhooks.domain.jobs import Action
    from webhooks.domain.jobs.run import Run
    from webhooks.ports.pages import Page


class JobKey(Protocol):
    """Primary key of a job: a named tuple, the account's id first and the job's own id last."""

    @property
    def account_id(self) -> str:
        """The account that owns the job."""

    @property
    def action(self) -> Action:
        """The worker's action for each step of the job."""

    def _asdict(self) -> dict[str, Any]: ...


class JobOwner(NamedTuple):
    """The owner of jobs: a webhook, or an account if `webhook_id` is None."""

    account_id: str
    webhook_id: str | None = None


class JobRecord(Protocol):
    """The record of a job: its progress or its end. Times are Unix milliseconds.

    A dataclass, so that `dataclasses.replace` works on it.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> JobKey:
        """The job's primary key."""

    @property
    def status(self) -> StrEnum:
        """The job's status; each kind of job has its own enumeration."""

    @property
    def reason(self) -> str | None:
        """Why the job failed, None without a reason."""

    @property
    def running(self) -> bool:
        """Whether the job has not ended."""

    @property
    def run(self) -> Run:
        """The execution that makes the job's steps."""

    @property
    def created_at_ms(self) -> int:
        """When the job was requested."""

    @property
    def updated_at_ms(self) -> int:
        """When its record last changed."""


Record = TypeVar("Record", bound=JobRecord)


class JobStore(Protocol[Record]):
    """The records of one kind of job."""

    def create(self, job: Record) -> bool:
        """Add a running job; adding it again, after a lost response, is success.

        False, with nothing written, if its owner may have only one running job of the kind and
        already has one.
        """

    def get(self, key: JobKey) -> Record | None:
        """Return one job, read consistently, None if there is none.

        Raises UnreadableRecordError if its record is broken, or of a newer version of ours.
        """

    def page(self, owner: JobOwner, limit: int, before: str | None = None) -> Page[Record]:
        """Return up to `limit` of an owner's jobs older than an id, newest first."""

    def running_one(self, owner: JobOwner) -> Record | None:
        """Return an owner's running job, of a kind limited to one at a time; None without one."""

    def running_since(self, owner: JobOwner, since_ms: int) -> Sequence[Record]:
        """Return an owner's running jobs created at a time or later, oldest first."""

    def count_since(self, owner: JobOwner, since_ms: int) -> int:
        """Return how many of an owner's jobs were created at a time or later."""

    def save(self, before: Record, after: Record) -> bool:
        """Write a job's progress or end over `before`.

        False, with nothing written, if the stored job has ended, has other steps or another run:
        another writer was faster.
        """


class JobScheduler(Protocol):
    """Starts the state machine that makes a job's steps."""

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        """Ensure that a job's run has one execution; it may already have it.

        `run` is the number of the job's run: the executions of two runs have different names.
        """


class OverdueJobs(Protocol):
    """The jobs whose execution should have recorded a step by now."""

    def overdue(self, before_ms: int, limit: int) -> Sequence[JobKey]:
        """Return up to `limit` jobs that were due before a time, the longest overdue first."""
