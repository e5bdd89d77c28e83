"""Operational events: notices for webhooks' owners and the stack's operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

VERSION = 1
"""Version of an event's detail; grows when its shape changes."""

KEPT_SECONDS = 4 * 86_400
"""How long a rejected event is retried: as long as the events queue keeps a message."""

LATE_SECONDS = 600
"""A kept event that waits longer than this needs a person's attention."""


class OperationalEventType(StrEnum):
    """The type of an operational event; each occurrence is published at least once."""

    WEBHOOK_DOWN = "webhook.down"
    WEBHOOK_RECOVERED = "webhook.recovered"
    WEBHOOK_PAUSED = "webhook.paused"
    WEBHOOK_FAILING = "webhook.failing"
    WEBHOOK_DISABLED = "webhook.disabled"
    DELIVERY_EXHAUSTED = "delivery.exhausted"
    DELIVERY_EXPIRING = "delivery.expiring"


@dataclass(frozen=True, slots=True)
class OperationalEvent:
    """Ids, times, counts and codes; never a secret, a payload, a url or an address."""

    type: OperationalEventType
    account_id: str
    webhook_id: str
    at_ms: int
    facts: Mapping[str, str | int | None] = field(default_factory=dict)


class KeptEventKey(NamedTuple):
    """Primary key of a kept operational event."""

    kept_event_id: str
