"""A replay: sends a webhook's deliveries of a period again; with its progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.errors import InvalidInputError
from webhooks.domain.event import parse_timestamp
from webhooks.domain.filing import filed_at_ms, is_until, reach_ms
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import Run
from webhooks.domain.selection import Selection
from webhooks.domain.webhook import webhook_id

NOT_ARRIVED = (Status.RETRYING, Status.WAITING, Status.EXHAUSTED)
"""The statuses that a replay sends if none is given: everything that the receiver has missed."""

REPLAYABLE = (*NOT_ARRIVED, Status.SUCCEEDED)
"""The statuses that may be requested. A cancelled delivery may not be sent again, and a pending
one is about to be sent."""


class ReplayStatus(StrEnum):
    """The state of a replay."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ReplayKey(NamedTuple):
    """Primary key of a replay."""

    account_id: str
    webhook_id: str
    replay_id: str

    @property
    def action(self) -> Action:
        """The worker's action for each step of a replay."""
        return Action.REPLAY


@dataclass(frozen=True, slots=True)
class Replay:
    """The record of a replay. `position` is the id of the last finished delivery.

    `steps` counts recorded steps, so that of two concurrent writers one is refused. `pace` is the
    deliveries a second if that is below the stack's limit, because the receiver was overloaded.
    """

    account_id: str
    webhook_id: str
    id: str
    selection: Selection
    created_at_ms: int
    updated_at_ms: int
    status: ReplayStatus = ReplayStatus.RUNNING
    position: str | None = None
    sent: int = 0
    succeeded: int = 0
    steps: int = 0
    reason: str | None = None
    pace: float | None = None
    run: Run = Run()  # noqa: RUF009 (frozen)

    @property
    def key(self) -> ReplayKey:
        """The replay's primary key."""
        return ReplayKey(self.account_id, self.webhook_id, self.id)

    @property
    def failed(self) -> int:
        """How many of the attempts failed."""
        return self.sent - self.succeeded

    @property
    def running(self) -> bool:
        """Whether the replay has not ended."""
        return self.status is ReplayStatus.RUNNING

    @property
    def replayed_until_ms(self) -> int:
        """The event time up to which everything was sent again, in Unix milliseconds."""
        if self.status is ReplayStatus.COMPLETED:
            return self.selection.until_ms
        if self.position is None:
            return self.selection.since_ms
        return min(filed_at_ms(self.position), self.selection.until_ms)

    @property
    def reach(self) -> Selection:
        """The selection extended to the times that its events may be filed under (see `filing`)."""
        until_ms = reach_ms(self.selection.until_ms, self.created_at_ms)
        return self.selection._replace(until_ms=until_ms)

    def takes(self, delivery: Delivery) -> bool:
        """Whether a found delivery is sent again.

        A test belongs to no real event, and an erased delivery has nothing left to send.
        """
        known = not (delivery.test or delivery.erased)
        return known and is_until(delivery, self.selection.until_ms)

    def advanced(
        self,
        position: str | None,
        results: Sequence[bool],
        now_ms: int,
        pace: float | None = None,
    ) -> Replay:
        """Return the replay after more attempts; `results` has the success of each."""
        return replace(
            self,
            position=position,
            pace=pace,
            sent=self.sent + len(results),
            succeeded=self.succeeded + sum(results),
            steps=self.steps + 1,
            updated_at_ms=now_ms,
        )

    def ended(self, status: ReplayStatus, now_ms: int, reason: str | None = None) -> Replay:
        """Return the replay as ended, in this status."""
        return replace(self, status=status, reason=reason, updated_at_ms=now_ms)


def select(since: str, until: str | None, status: str | None, now_ms: int) -> Selection:
    """Return a replay's selection; InvalidInputError names the value that breaks a rule.

    Times are RFC 3339. The selection ends now at the latest, so every replay ends.
    """
    since_ms = parse_timestamp(since, "since")
    until_ms = now_ms if until is None else min(parse_timestamp(until, "until"), now_ms)
    if since_ms > now_ms:
        raise InvalidInputError("since", "Use a time in the past.")
    if since_ms > until_ms:
        raise InvalidInputError("until", "Use a time that is not before since.")
    if status is None:
        return Selection(since_ms, until_ms, NOT_ARRIVED)
    if status not in REPLAYABLE:
        raise InvalidInputError("status", f"Use one of {', '.join(REPLAYABLE)}, or leave it out.")
    return Selection(since_ms, until_ms, (Status(status),))


def replay_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the id of a replay requested at this moment: a UUIDv7, made as a webhook's is."""
    return webhook_id(now_ns, random_bytes)
