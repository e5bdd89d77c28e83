"""A replay: a webhook's deliveries of some time sent again, and how far that has come."""

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
"""What a replay without a status sends: all that the receiver has missed."""

REPLAYABLE = (*NOT_ARRIVED, Status.SUCCEEDED)
"""The statuses that may be asked for. A cancelled delivery has no webhook any more, and a pending
one is about to be sent."""


class ReplayStatus(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class ReplayKey(NamedTuple):
    """What finds a replay: whose it is, for which webhook, and its id."""

    account_id: str
    webhook_id: str
    replay_id: str

    @property
    def action(self) -> Action:
        """The action of its steps."""
        return Action.REPLAY


@dataclass(frozen=True, slots=True)
class Replay:
    """The record of a replay. `position` is the id of the last delivery that it is past.

    `steps` counts the times that progress was recorded, so that of two writers one is too late.
    `pace` is the deliveries a second where those are fewer than the stack allows, since more were
    too much for the receiver.
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
        """What finds this replay."""
        return ReplayKey(self.account_id, self.webhook_id, self.id)

    @property
    def failed(self) -> int:
        """How many of the attempts failed."""
        return self.sent - self.succeeded

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status is ReplayStatus.RUNNING

    @property
    def replayed_until_ms(self) -> int:
        """The events' time up to which everything was sent again."""
        if self.status is ReplayStatus.COMPLETED:
            return self.selection.until_ms
        if self.position is None:
            return self.selection.since_ms
        return min(filed_at_ms(self.position), self.selection.until_ms)

    @property
    def reach(self) -> Selection:
        """Where to look for what the selection says: see `filing`."""
        until_ms = reach_ms(self.selection.until_ms, self.created_at_ms)
        return self.selection._replace(until_ms=until_ms)

    def takes(self, delivery: Delivery) -> bool:
        """Tell whether a delivery that was found is one to send again.

        A test is of no real event, and of an erased one there is nothing left to send.
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
        """Return the replay after more attempts; `results` says of each whether it succeeded."""
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
        """Return the replay as it is when it does not go on."""
        return replace(self, status=status, reason=reason, updated_at_ms=now_ms)


def select(since: str, until: str | None, status: str | None, now_ms: int) -> Selection:
    """Return what a replay is asked for; InvalidInputError names the value that breaks a rule.

    Times are RFC 3339. What happens from now on is never part of it: a replay comes to an end.
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
    """Return the id of a replay asked for at this moment: a UUIDv7, made as a webhook's is."""
    return webhook_id(now_ns, random_bytes)
