"""Schemas of deliveries and their attempts."""

import json
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from api.schemas.base import In, Out
from api.schemas.webhooks import NOT_BEFORE, HealthOut
from webhooks.domain.delivery import Attempt, Delivery, FailureReason, SignedWith, Status
from webhooks.domain.event import EventType
from webhooks.domain.timestamps import to_text
from webhooks.domain.webhook import Webhook

_EVENT_SCHEMA: dict[str, Any] = {
    "type": "string",
    "enum": [*EventType],
    "description": "The type of the sample event. The webhook need not be subscribed to it.",
}


class SampleEventIn(In):
    """A sample event to send to the webhook."""

    event: Annotated[str, WithJsonSchema(_EVENT_SCHEMA)]


class AttemptSummaryOut(Out):
    """One request of a delivery.

    A `manual` one was asked for; a `probe` tested a webhook that was down. Neither counts for the
    schedule.
    """

    number: int
    started_at: str
    duration_ms: int
    status_code: int | None = None
    error: FailureReason | None = None
    manual: bool
    probe: bool


class AttemptOut(AttemptSummaryOut):
    """One request of a delivery, with the start of the receiver's response."""

    response_body: str = Field(
        description="The response body's first 1,024 bytes; unprintable characters are escaped."
    )
    requests: int | None = Field(
        default=None,
        description="2 if a rotation's second secret was tried too, otherwise absent.",
    )
    signed_with: SignedWith | None = Field(
        default=None,
        description=(
            "During a rotation's overlap, the secret that signed X-SendComms-Signature in the "
            "request of this response. Absent outside of an overlap."
        ),
    )


class DeliverySummaryOut(Out):
    """A delivery as lists show it."""

    id: str
    event_id: str
    event: str
    transaction_id: str | None = None
    status: Status
    reason: str | None = None
    test: bool
    erased: bool | None = Field(
        default=None,
        description="True if the payload was erased with a recipient, otherwise absent.",
    )
    created_at: str
    attempt_count: int
    last_attempt: AttemptSummaryOut | None = None
    next_attempt_at: str | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliverySummaryOut":
        """Return a delivery as lists show it."""
        return cls(**_summary(delivery))


class AcceptedDeliveryOut(DeliverySummaryOut):
    """A delivery with a newly requested attempt."""

    not_before: str | None = Field(default=None, description=NOT_BEFORE)

    @classmethod
    def accepted(cls, delivery: Delivery, webhook: Webhook) -> "AcceptedDeliveryOut":
        """Return a delivery; `not_before` is the end of its webhook's pause, if there is one."""
        return cls(**_summary(delivery), not_before=HealthOut.of(webhook.health).not_before)


class DeliveryOut(DeliverySummaryOut):
    """A delivery with its payload and every attempt.

    `body` is the exact text that every attempt sends and signs, `payload` is the same as a value.
    Both are absent if they were erased with a recipient.
    """

    payload: dict[str, Any] | None = None
    body: str | None = None
    attempts: list[AttemptOut]

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        """Return a delivery with its payload and all attempts."""
        return cls(
            **_summary(delivery),
            payload=None if delivery.erased else json.loads(delivery.body),
            body=None if delivery.erased else delivery.body.decode(),
            attempts=[
                AttemptOut(
                    **_attempt(attempt),
                    response_body=attempt.response_body,
                    requests=attempt.requests if attempt.requests > 1 else None,
                    signed_with=attempt.signed_with,
                )
                for attempt in delivery.attempts
            ],
        )


def _summary(delivery: Delivery) -> dict[str, Any]:
    # An exhausted delivery may have a due time too, until its message is in the dead-letter queue.
    due_ms = None if delivery.status.settled else delivery.next_attempt_at_ms
    last = delivery.attempts[-1] if delivery.attempts else None
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event": delivery.event_type,
        "transaction_id": delivery.transaction_id,
        "status": delivery.status,
        "reason": delivery.reason,
        "test": delivery.test,
        "erased": True if delivery.erased else None,
        "created_at": to_text(delivery.created_at_ms),
        "attempt_count": len(delivery.attempts),
        "last_attempt": AttemptSummaryOut(**_attempt(last)) if last else None,
        "next_attempt_at": None if due_ms is None else to_text(due_ms),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": to_text(attempt.started_at_ms),
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "manual": attempt.manual,
        "probe": attempt.probe,
    }
