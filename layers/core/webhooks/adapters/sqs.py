"""Queues on SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from webhooks.ports import RejectedMessage


class SQSRejectedMessages:
    """The events dead-letter queue: each message as it came, the reason in its attributes."""

    def __init__(self, client: SQSClient, queue_url: str) -> None:
        """Send to `queue_url`."""
        self._client = client
        self._queue_url = queue_url

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Put messages by one at a time, since two may be too large for one batch.

        Returns the ids of those that could not be.
        """
        return [message.message_id for message in messages if not self._put(message)]

    def _put(self, message: RejectedMessage) -> bool:
        attributes = {
            "reason": message.reason,
            "detail": message.detail,
            "message_id": message.message_id,
        }
        try:
            with unavailable_on_failure("rejecting a message"):
                self._client.send_message(
                    QueueUrl=self._queue_url,
                    # SQS refuses an empty body, and never delivers one either.
                    MessageBody=message.body or " ",
                    MessageAttributes={name: _text(value) for name, value in attributes.items()},
                )
        except Unavailable:
            return False
        return True


def _text(value: str) -> MessageAttributeValueTypeDef:
    return {"DataType": "String", "StringValue": value}
