"""Operational events on EventBridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.domain.operational_event import VERSION
from webhooks.domain.errors import UnavailableError
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from webhooks.domain.operational_event import Announcement

SOURCE = "sendcomms.webhooks"


class EventBridgeAnnouncer:
    """Puts operational events on the AWS account's default bus, for rules to take from there."""

    def __init__(self, client: Any, stack: str) -> None:
        """Name `stack` in every event: an AWS account may have several."""
        self._client = client
        self._stack = stack

    def announce(self, announcement: Announcement) -> None:
        """Put one event on the bus."""
        detail = {
            "version": VERSION,
            "stack": self._stack,
            "type": announcement.type.value,
            "account_id": announcement.account_id,
            "webhook_id": announcement.webhook_id,
            "at": to_text(announcement.at_ms),
            **announcement.facts,
        }
        with unavailable_on_failure("announcing"):
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": announcement.type.value,
                        "Detail": json.dumps(detail),
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            msg = f"announcing: {answer['Entries'][0].get('ErrorCode')}"
            raise UnavailableError(msg)
