"""Messages that go to the events dead-letter queue, counted and logged by their reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.intake import RejectedMessage
    from webhooks.ports import Observer, RejectedMessages


def reject(
    rejected: RejectedMessages, observer: Observer, messages: Sequence[RejectedMessage]
) -> Sequence[str]:
    """Dead-letter messages; returns the ids of those that the queue did not take."""
    tell_rejected(observer, messages)
    return rejected.put(messages) if messages else ()


def tell_rejected(observer: Observer, messages: Sequence[RejectedMessage]) -> None:
    """Count and log messages that are dead-lettered, by their reasons."""
    for message in messages:
        observer.count("RejectedMessages")
        observer.count("Rejected" + message.reason.title().replace("_", ""))
        observer.log(
            "error", "message_rejected", message_id=message.message_id, reason=message.reason
        )
