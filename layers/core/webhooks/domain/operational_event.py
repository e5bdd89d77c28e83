"""Operational events: what a webhook's owner and the stack's operator want to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

VERSION = 1
"""Grows when what an announcement says changes its shape."""


class AnnouncementType(StrEnum):
    """What is announced, once each time that it happens."""

    WEBHOOK_DOWN = "webhook.down"
    WEBHOOK_RECOVERED = "webhook.recovered"
    WEBHOOK_FAILING = "webhook.failing"
    WEBHOOK_DISABLED = "webhook.disabled"
    DELIVERY_EXHAUSTED = "delivery.exhausted"


@dataclass(frozen=True, slots=True)
class Announcement:
    """Ids, times, counts and codes; never a secret, a payload, a url or an address."""

    type: AnnouncementType
    account_id: str
    webhook_id: str
    at_ms: int
    facts: Mapping[str, str | int | None] = field(default_factory=dict)
