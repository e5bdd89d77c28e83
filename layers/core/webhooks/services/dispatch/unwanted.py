"""Events without a webhook: counted by cause, and logged once for each account."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.event import Event
    from webhooks.ports import Telemetry

MAX_LINES = 100
"""Most lines of the log for one batch. An array of events may name a thousand accounts."""


class Cause(StrEnum):
    """Why an event goes to no webhook; the value is the metric that counts such events."""

    NO_SUCH_ACCOUNT = "NoSuchAccount"
    """The account has no webhooks, or does not exist: this table does not distinguish the two."""
    NO_MATCHING_WEBHOOK = "NoMatchingWebhook"
    """None of the account's webhooks is subscribed to the event's type."""


def report_unwanted(telemetry: Telemetry, events: Iterable[tuple[Event, Cause]]) -> None:
    """Count events without a webhook by cause, and log their accounts, up to `MAX_LINES`."""
    types: defaultdict[tuple[str, Cause], list[str]] = defaultdict(list)
    for event, cause in events:
        types[event.account_id, cause].append(event.type.value)
    for line, ((account_id, cause), names) in enumerate(types.items()):
        telemetry.count(cause.value, len(names))
        if line < MAX_LINES:
            telemetry.log(
                "warning" if cause is Cause.NO_SUCH_ACCOUNT else "info",
                "events_unwanted",
                account_id=account_id,
                cause=cause.value,
                events=len(names),
                event_types=sorted(set(names)),
            )
    left_out = len(types) - MAX_LINES
    if left_out > 0:
        telemetry.log("warning", "events_unwanted_left_out", lines=left_out)
