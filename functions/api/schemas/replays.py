"""Schemas of replays."""

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.schemas.base import In, Out, ProblemOut
from api.schemas.webhooks import NOT_BEFORE, HealthOut
from webhooks.domain.delivery import Status
from webhooks.domain.event import parse_timestamp
from webhooks.domain.jobs.replay import REPLAYABLE, Replay, ReplayStatus
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Webhook

_TIME_SCHEMA: dict[str, Any] = {"type": "string", "format": "date-time"}
_SINCE_SCHEMA = _TIME_SCHEMA | {
    "description": "Only events from this time on (RFC 3339), in the past.",
    "examples": ["2025-12-21T00:00:00Z"],
}
_UNTIL_SCHEMA = _TIME_SCHEMA | {
    "description": "Only events up to this time (RFC 3339). Default and maximum: now.",
    "examples": ["2025-12-21T12:00:00Z"],
}
_STATUS_SCHEMA: dict[str, Any] = {
    "type": "string",
    "enum": list(REPLAYABLE),
    "description": "Only deliveries with this status. Default: all that have not arrived.",
    "examples": ["exhausted"],
}


class ReplayIn(In):
    """The selection of a webhook's deliveries to send again."""

    since: Annotated[str, WithJsonSchema(_SINCE_SCHEMA)]
    until: Annotated[str, WithJsonSchema(_UNTIL_SCHEMA)] | None = None
    status: Annotated[str, WithJsonSchema(_STATUS_SCHEMA)] | None = None


class ReplayOut(Out):
    """A replay and its progress."""

    id: str
    webhook_id: str
    status: ReplayStatus
    since: str
    until: str
    statuses: list[Status] = Field(description="The statuses of the deliveries to send.")
    sent: int = Field(
        description=(
            "Attempts made. Those refused with 429, or with 503 and Retry-After, do not count: "
            "their deliveries are sent again later."
        )
    )
    succeeded: int
    failed: int
    replayed_until: str = Field(description="The replay has reached events of this time.")
    created_at: str
    updated_at: str
    pace: float | None = Field(
        default=None,
        description=(
            "Deliveries per second, if fewer than the stack allows because the receiver "
            "could not take more."
        ),
    )
    reason: str | None = Field(
        default=None,
        description=(
            "Why it failed: webhook_disabled, webhook_deleted, not_started or internal_error."
        ),
    )

    @classmethod
    def of(cls, replay: Replay) -> "ReplayOut":
        """Return a replay as the API shows it."""
        return cls(**_shown(replay))


class AcceptedReplayOut(ReplayOut):
    """A replay that was started or waits for the end of a pause."""

    not_before: str | None = Field(default=None, description=NOT_BEFORE)

    @classmethod
    def accepted(cls, replay: Replay, webhook: Webhook) -> "AcceptedReplayOut":
        """Return a new replay; `not_before` is the end of its webhook's pause, if there is one."""
        return cls(**_shown(replay), not_before=HealthOut.of(webhook.health).not_before)


def _shown(replay: Replay) -> dict[str, Any]:
    since_ms, until_ms, statuses = replay.selection
    return {
        "id": replay.id,
        "webhook_id": replay.webhook_id,
        "status": replay.status,
        "since": to_text(since_ms),
        "until": to_text(until_ms),
        "statuses": list(statuses),
        "sent": replay.sent,
        "succeeded": replay.succeeded,
        "failed": replay.failed,
        "replayed_until": to_text(replay.replayed_until_ms),
        "created_at": to_text(replay.created_at_ms),
        "updated_at": to_text(replay.updated_at_ms),
        "pace": round(replay.pace, 3) if replay.pace and replay.running else None,
        "reason": replay.reason,
    }


def warnings_of(replay: Replay, until: str | None) -> list[ProblemOut] | None:
    """Return a warning if a replay ends before the requested time."""
    end_ms = replay.selection.until_ms
    if until is None or parse_timestamp(until, "until") <= end_ms:
        return None
    message = (
        f"Start another replay for events accepted after {to_text(end_ms)}: a replay ends with "
        "the events accepted before it began."
    )
    return [ProblemOut(field="until", message=message)]
