"""Schemas of a recipient's erasure."""

from pydantic import Field

from api.schemas.base import Out
from webhooks.domain.jobs.erasure import MAX_UNSEARCHED, Erasure, ErasureStatus
from webhooks.domain.timestamps import to_text


class UnsearchedOut(Out):
    """A delivery whose payload took too long to search."""

    webhook_id: str
    delivery_id: str


class ErasureOut(Out):
    """An erasure and its progress. No field reveals the address."""

    id: str
    status: ErasureStatus
    examined: int = Field(description="Deliveries examined. Each one is examined twice.")
    erased: int = Field(description="Deliveries whose payload was erased.")
    include_unsearched: bool = Field(description="Whether unsearched payloads are erased too.")
    unsearched_count: int = Field(
        description="Deliveries that took too long to search, in the current pass."
    )
    unsearched: list[UnsearchedOut] = Field(
        max_length=MAX_UNSEARCHED, description="The first such deliveries."
    )
    created_at: str
    updated_at: str
    reason: str | None = Field(
        default=None, description="Why it failed: not_started or internal_error."
    )

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureOut":
        """Return an erasure as the API shows it."""
        return cls(
            id=erasure.id,
            status=erasure.status,
            examined=erasure.examined,
            erased=erasure.erased,
            include_unsearched=erasure.include_unsearched,
            unsearched_count=erasure.unsearched_count,
            unsearched=[UnsearchedOut(**each._asdict()) for each in erasure.unsearched],
            created_at=to_text(erasure.created_at_ms),
            updated_at=to_text(erasure.updated_at_ms),
            reason=erasure.reason,
        )
