"""Jobs' records and executions, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
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
    """A named tuple of the ids that find a job: whose it is first, its own id last."""

    @property
    def account_id(self) -> str:
        """The account whose job it is."""

    @property
    def action(self) -> Action:
        """The action of the job's steps."""

    def _asdict(self) -> dict[str, Any]: ...


class JobOwner(NamedTuple):
    """Whose jobs: a webhook's, or an account's own where there is no webhook."""

    account_id: str
    webhook_id: str | None = None


class JobRecord(Protocol):
    """The record of a job: how far it is, or how it ended. Times are Unix milliseconds.

    A dataclass, of which `replace` makes another.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> JobKey:
        """The job's ids."""

    @property
    def status(self) -> StrEnum:
        """Where the job stands."""

    @property
    def reason(self) -> str | None:
        """Why it failed."""

    @property
    def running(self) -> bool:
        """Whether the job goes on."""

    @property
    def run(self) -> Run:
        """Which execution makes the job's steps."""

    @property
    def created_at_ms(self) -> int:
        """When it was asked for."""

    @property
    def updated_at_ms(self) -> int:
        """When its record last changed."""


Record = TypeVar("Record", bound=JobRecord)


class JobStore(Protocol[Record]):
    """The records of one kind of job."""

    def create(self, job: Record) -> bool:
        """Add a running job; adding it again, after a lost answer, is success.

        False, with nothing written, where its owner may have one running job of the kind at a time
        and has one already.
        """

    def get(self, key: JobKey) -> Record | None:
        """Return one job, read consistently, None where there is none.

        Raises UnreadableRecordError where its record is broken, or of a newer version of ours.
        """

    def page(self, owner: JobOwner, limit: int, before: str | None = None) -> Page[Record]:
        """Return up to `limit` of an owner's jobs, newest first, from those older than an id."""

    def running_one(self, owner: JobOwner) -> Record | None:
        """Return an owner's running job, of a kind that runs one at a time; None without one."""

    def running_since(self, owner: JobOwner, since_ms: int) -> Sequence[Record]:
        """Return an owner's jobs that run and were created at a time or later, oldest first."""

    def count_since(self, owner: JobOwner, since_ms: int) -> int:
        """Return how many of an owner's jobs were created at a time or later."""

    def save(self, before: Record, after: Record) -> bool:
        """Write a job's progress or end over `before`.

        False, with nothing written, where the stored one does not run any more, has made other
        steps or has another run: another writer was faster.
        """


class JobScheduler(Protocol):
    """Starts the state machine that makes a job's steps."""

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        """See that a job's run has its one execution; having one already is success.

        `run` is the number of the job's run: the executions of two runs have different names.
        """


class OverdueJobs(Protocol):
    """The jobs whose execution should have recorded a step by now."""

    def overdue(self, before_ms: int, limit: int) -> Sequence[JobKey]:
        """Return up to `limit` jobs that were due before a time, the longest overdue first."""
