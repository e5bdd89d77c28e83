"""Operational events on EventBridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.domain.errors import UnavailableError
from webhooks.domain.operational_event import VERSION
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from webhooks.domain.operational_event import OperationalEvent

SOURCE = "sendcomms.webhooks"


class EventBridgeOperationalEvents:
    """Puts operational events on the AWS account's default bus, for rules to take from there."""

    def __init__(self, client: Any, stack: str) -> None:
        """Name `stack` in every event: an AWS account may have several."""
        self._client = client
        self._stack = stack

    def publish(self, event: OperationalEvent) -> None:
        """Put one event on the bus."""
        detail = {
            "version": VERSION,
            "stack": self._stack,
            "type": event.type.value,
            "account_id": event.account_id,
            "webhook_id": event.webhook_id,
            "at": to_text(event.at_ms),
            **event.facts,
        }
        with unavailable_on_failure("publishing an operational event"):
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": event.type.value,
                        "Detail": json.dumps(detail),
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            msg = f"publishing an operational event: {answer['Entries'][0].get('ErrorCode')}"
            raise UnavailableError(msg)
