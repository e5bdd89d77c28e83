"""The shapes of what is done about a recipient."""

from pydantic import Field

from api.schemas.base import Out
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus
from webhooks.domain.timestamps import to_text


class ErasureOut(Out):
    """An erasure and how far it has come. Nothing in it tells the address."""

    id: str
    status: ErasureStatus
    examined: int = Field(description="Deliveries looked at; each one is, twice.")
    erased: int = Field(description="Deliveries whose payload is no more.")
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
            created_at=to_text(erasure.created_at_ms),
            updated_at=to_text(erasure.updated_at_ms),
            reason=erasure.reason,
        )
