"""Event messages for the stack on this machine, and their way onto its queue."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient

EVENT_TYPES = (
    *("sent", "delivered", "bounced", "complained", "opened", "clicked"),
    *("delivery_delayed", "failed", "unsubscribed"),
)


def sample(event_type: str, account_id: str, to: str) -> str:
    """Return a message for a type, for example `email.opened`; each is about another email."""
    message = {
        "account_id": account_id,
        "event": event_type,
        "data": {
            "email_id": str(uuid.uuid4()),
            "to": to,
            "subject": "Welcome to our platform!",
            "from": "hello@yourdomain.com",
        },
    }
    return json.dumps(message)


def publish(sqs: SQSClient, outputs: Mapping[str, str], message: str) -> str:
    """Send a message to the events queue, grouped by account like a producer's; return its id."""
    sent = sqs.send_message(
        QueueUrl=outputs["EventsQueueUrl"],
        MessageBody=message,
        MessageGroupId=outputs["AccountId"],
    )
    return sent["MessageId"]
