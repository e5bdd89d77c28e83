"""Schemas of a receiver's checks."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Out
from api.schemas.webhooks import NOT_BEFORE, HealthOut
from webhooks.domain.delivery import FailureReason
from webhooks.domain.jobs.check import (
    Check,
    CheckRequest,
    CheckStatus,
    CheckVerdict,
    Finding,
    Report,
    judge,
)
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Webhook


class FindingOut(Out):
    """One request of a check, the receiver's response, and the verdict on the receiver."""

    request: CheckRequest
    expected: Literal["accepted", "refused"]
    verdict: CheckVerdict
    message: str = Field(description="The meaning of the verdict, and the remedy.")
    status_code: int | None = None
    error: FailureReason | None = None
    duration_ms: int

    @classmethod
    def of(cls, finding: Finding) -> "FindingOut":
        """Return a finding as reports show it."""
        request, outcome, verdict, message = finding
        return cls(
            request=request,
            expected="accepted" if request.genuine else "refused",
            verdict=verdict,
            message=message,
            status_code=outcome.status_code,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
        )


class CheckOut(Out):
    """A check of a webhook's receiver; once completed, with its report."""

    id: str
    webhook_id: str
    status: CheckStatus
    verified: bool | None = Field(
        default=None,
        description="Whether the receiver accepts genuine requests and refuses forged ones.",
    )
    message: str | None = Field(default=None, description="A summary of the report.")
    requests: list[FindingOut] | None = Field(
        default=None,
        description="The requests sent. Only the valid one if the receiver did not accept it.",
    )
    created_at: str
    updated_at: str
    reason: str | None = Field(
        default=None,
        description=(
            "Why the check failed, which says nothing about the receiver: webhook_disabled, "
            "webhook_deleted, secret_missing, not_started or internal_error."
        ),
    )

    @classmethod
    def of(cls, check: Check) -> "CheckOut":
        """Return a check as the API shows it."""
        return cls(**_shown(check))


class AcceptedCheckOut(CheckOut):
    """A check that was started or waits for the end of a pause."""

    not_before: str | None = Field(default=None, description=NOT_BEFORE)

    @classmethod
    def accepted(cls, check: Check, webhook: Webhook) -> "AcceptedCheckOut":
        """Return a new check; `not_before` is the end of its webhook's pause, if there is one."""
        return cls(**_shown(check), not_before=HealthOut.of(webhook.health).not_before)


def _shown(check: Check) -> dict[str, Any]:
    report: Report | None = judge(check.outcomes) if check.outcomes else None
    return {
        "id": check.id,
        "webhook_id": check.webhook_id,
        "status": check.status,
        "verified": report.verified if report else None,
        "message": report.message if report else None,
        "requests": [FindingOut.of(finding) for finding in report.findings] if report else None,
        "created_at": to_text(check.created_at_ms),
        "updated_at": to_text(check.updated_at_ms),
        "reason": check.reason,
    }
