"""Messages that go to the events dead-letter queue, counted and logged by their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.ingest import RejectedMessage
    from webhooks.ports import RejectedMessages, Telemetry


def reject(
    rejected: RejectedMessages, telemetry: Telemetry, messages: Sequence[RejectedMessage]
) -> Sequence[str]:
    """Dead-letter messages; returns the ids of those that the queue did not take."""
    tell_rejected(telemetry, messages)
    return rejected.put(messages) if messages else ()


def tell_rejected(telemetry: Telemetry, messages: Sequence[RejectedMessage]) -> None:
    """Count and log messages that are dead-lettered, by their reasons."""
    for message in messages:
        telemetry.count("RejectedMessages")
        telemetry.count("Rejected" + message.reason.title().replace("_", ""))
        telemetry.log(
            "error", "message_rejected", message_id=message.message_id, reason=message.reason
        )
