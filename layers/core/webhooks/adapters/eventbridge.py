"""Operational events on EventBridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.domain.errors import UnavailableError
from webhooks.domain.operational_event import VERSION
from webhooks.domain.timestamps import to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.operational_event import OperationalEvent

SOURCE = "sendcomms.webhooks"

MOST_AT_ONCE = 10
"""Most entries of a PutEvents request ("PutEvents" in its API reference)."""


class EventBridgeOperationalEvents:
    """Publishes operational events on the AWS account's default bus, where rules match them.

    Each event names `stack`, because an AWS account may have several.
    """

    def __init__(self, client: Any, stack: str) -> None:
        self._client = client
        self._stack = stack

    def publish(self, event: OperationalEvent) -> None:
        """Publish one event; UnavailableError if the bus rejects it."""
        refused = self._put([event])
        if refused:
            msg = f"publishing an operational event: {refused[0]}"
            raise UnavailableError(msg)

    def publish_all(self, events: Sequence[OperationalEvent]) -> Sequence[int]:
        """Publish up to `MOST_AT_ONCE` events; returns the indexes of rejected ones."""
        return sorted(self._put(events))

    def _put(self, events: Sequence[OperationalEvent]) -> dict[int, str]:
        """Return the error codes of rejected events, by index.

        A successful request may still reject some of its events.
        """
        with unavailable_on_failure("publishing an operational event"):
            answer = self._client.put_events(Entries=[self._entry(event) for event in events])
        if not answer["FailedEntryCount"]:
            return {}
        return {
            place: entry["ErrorCode"]
            for place, entry in enumerate(answer["Entries"])
            if entry.get("ErrorCode")
        }

    def _entry(self, event: OperationalEvent) -> dict[str, str]:
        detail = {
            "version": VERSION,
            "stack": self._stack,
            "type": event.type.value,
            "account_id": event.account_id,
            "webhook_id": event.webhook_id,
            "at": to_text(event.at_ms),
            **event.facts,
        }
        return {
            "Source": SOURCE,
            "DetailType": event.type.value,
            "Detail": json.dumps(detail),
        }
