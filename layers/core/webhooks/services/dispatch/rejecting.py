"""Messages that go to the events dead-letter queue, counted and logged by their reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.ingest import RejectedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.errors import InvalidEventError
    from webhooks.domain.ingest import ParsedMessage
    from webhooks.ports import RejectedMessages, Telemetry
    from webhooks.services.dispatch.messages import QueueMessage


def reject(
    rejected: RejectedMessages, telemetry: Telemetry, messages: Sequence[RejectedMessage]
) -> Sequence[str]:
    """Dead-letter messages; return the ids of the messages that the queue did not take."""
    log_rejected(telemetry, messages)
    return rejected.put(messages) if messages else ()


def log_rejected(telemetry: Telemetry, messages: Sequence[RejectedMessage]) -> None:
    """Count and log dead-lettered messages by their reasons."""
    for message in messages:
        telemetry.count("RejectedMessages")
        telemetry.count("Rejected" + message.reason.title().replace("_", ""))
        telemetry.log(
            "error", "message_rejected", message_id=message.message_id, reason=message.reason
        )


def refused(message: QueueMessage, parsed: ParsedMessage) -> list[RejectedMessage]:
    """Return the invalid documents of a message, or the message if it has too many documents."""
    return [rejected_message(message, error, body) for error, body in parsed.refusals]


def rejected_message(
    message: QueueMessage, error: InvalidEventError, body: str | None = None
) -> RejectedMessage:
    """Return the rejection of a message, or of `body`, one document of its array."""
    body = message.body if body is None else body
    return RejectedMessage(
        message.id, body, error.reason, str(error), message.group, message.arrived_at_ms
    )
