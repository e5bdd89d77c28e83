"""The shapes of replays."""

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
    "description": "Only events up to this time (RFC 3339). At most, and if left out, now.",
    "examples": ["2025-12-21T12:00:00Z"],
}
_STATUS_SCHEMA: dict[str, Any] = {
    "type": "string",
    "enum": list(REPLAYABLE),
    "description": "Only deliveries with this status. Left out: all that have not arrived.",
    "examples": ["exhausted"],
}


class ReplayIn(In):
    """Which of a webhook's deliveries to send again."""

    since: Annotated[str, WithJsonSchema(_SINCE_SCHEMA)]
    until: Annotated[str, WithJsonSchema(_UNTIL_SCHEMA)] | None = None
    status: Annotated[str, WithJsonSchema(_STATUS_SCHEMA)] | None = None


class ReplayOut(Out):
    """A replay and how far it has come."""

    id: str
    webhook_id: str
    status: ReplayStatus
    since: str
    until: str
    statuses: list[Status] = Field(description="The deliveries' statuses that it looks for.")
    sent: int = Field(
        description=(
            "Attempts made, but for those that were refused with 429, or with 503 and Retry-After: "
            "their deliveries are sent again, later."
        )
    )
    succeeded: int
    failed: int
    replayed_until: str = Field(description="The events' time that it has come to.")
    created_at: str
    updated_at: str
    pace: float | None = Field(
        default=None,
        description=(
            "Deliveries a second at present, where they are fewer than the stack allows: more "
            "were too much for the receiver."
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
    """A replay that was asked for."""

    not_before: str | None = Field(default=None, description=NOT_BEFORE)

    @classmethod
    def accepted(cls, replay: Replay, webhook: Webhook) -> "AcceptedReplayOut":
        """Return a replay that waits for the end of its webhook's pause, if any."""
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
    """Return the warning that a replay ends before the time that was asked for."""
    end_ms = replay.selection.until_ms
    if until is None or parse_timestamp(until, "until") <= end_ms:
        return None
    message = (
        f"Start another replay for what is accepted after {to_text(end_ms)}: a replay ends with "
        "what was accepted before it began."
    )
    return [ProblemOut(field="until", message=message)]
