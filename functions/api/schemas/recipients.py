"""The shapes of what is done about a recipient."""

from pydantic import Field

from api.schemas.base import Out
from webhooks.domain.jobs.erasure import MAX_UNSEARCHED, Erasure, ErasureStatus
from webhooks.domain.timestamps import to_text


class UnsearchedOut(Out):
    """A delivery that took too long to search."""

    webhook_id: str
    delivery_id: str


class ErasureOut(Out):
    """An erasure and how far it has come. Nothing in it tells the address."""

    id: str
    status: ErasureStatus
    examined: int = Field(description="Deliveries looked at; each one is, twice.")
    erased: int = Field(description="Deliveries whose payload is no more.")
    include_unsearched: bool = Field(description="Whether unsearched payloads are erased too.")
    unsearched_count: int = Field(
        description="Deliveries that take too long to search, of the current pass."
    )
    unsearched: list[UnsearchedOut] = Field(
        max_length=MAX_UNSEARCHED, description="The first of them."
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
