"""Events that no webhook is sent: counted by cause, and logged once an account."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webhooks.domain.event import Event
    from webhooks.ports import Telemetry

MAX_LINES = 100
"""Lines of one batch. An array of events may name a thousand accounts."""


class Cause(StrEnum):
    """Why an event is sent to nobody; its value is the metric that counts such events."""

    NO_SUCH_ACCOUNT = "NoSuchAccount"
    """The account has no webhooks, or there is no such account: this table knows no difference."""
    NO_MATCHING_WEBHOOK = "NoMatchingWebhook"
    """None of the account's webhooks is subscribed to the event's type."""


class Unwanted:
    """The events of one batch that are sent to nobody."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Hold none yet."""
        self._telemetry = telemetry
        self._types: dict[tuple[str, Cause], list[str]] = {}

    def add(self, event: Event, cause: Cause) -> None:
        """Note an event; `report` tells of it."""
        self._types.setdefault((event.account_id, cause), []).append(event.type.value)

    def report(self) -> None:
        """Count the events and log their accounts, up to `MAX_LINES`; nothing where all went."""
        for line, ((account_id, cause), types) in enumerate(self._types.items()):
            self._telemetry.count(cause.value, len(types))
            if line < MAX_LINES:
                self._telemetry.log(
                    "warning" if cause is Cause.NO_SUCH_ACCOUNT else "info",
                    "events_unwanted",
                    account_id=account_id,
                    cause=cause.value,
                    events=len(types),
                    event_types=sorted(set(types)),
                )
        left_out = len(self._types) - MAX_LINES
        if left_out > 0:
            self._telemetry.log("warning", "events_unwanted_left_out", lines=left_out)
