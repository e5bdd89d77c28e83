"""`make publish`: one event to the local stack's queue, for those without the AWS CLI."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from local.aws import aws_client
from local.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient

OUTPUTS = ROOT / ".local" / "outputs.json"
EVENT_TYPES = ("sent", "delivered", "bounced", "complained", "opened", "clicked")


def sample(event_type: str, account_id: str, to: str) -> str:
    """Return a message of contract 2.4 for one of the six types, as `email.opened`."""
    message = {
        "account_id": account_id,
        "event": event_type,
        "data": {
            "email_id": "abc123-def456-789",
            "to": to,
            "subject": "Welcome to our platform!",
            "from": "hello@yourdomain.com",
        },
    }
    return json.dumps(message)


def publish(sqs: SQSClient, outputs: Mapping[str, str], message: str) -> str:
    """Send a message to the events queue, grouped by account as producers do; returns its id."""
    sent = sqs.send_message(
        QueueUrl=outputs["EventsQueueUrl"],
        MessageBody=message,
        MessageGroupId=outputs["AccountId"],
    )
    return sent["MessageId"]


def main() -> int:
    """Publish what the command line asks for; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.publish", description=__doc__)
    parser.add_argument(
        "event",
        nargs="?",
        default="email.delivered",
        choices=[f"email.{name}" for name in EVENT_TYPES],
    )
    parser.add_argument("--to", default="recipient@example.com", help="the email's recipient")
    arguments = parser.parse_args()
    try:
        outputs = json.loads(OUTPUTS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print("make publish: nothing is running here; start the stack with make run")
        return 1
    sqs = aws_client("sqs", outputs["AwsEndpointUrl"])
    message_id = publish(sqs, outputs, sample(arguments.event, outputs["AccountId"], arguments.to))
    print(f"published {arguments.event} to {arguments.to} as message {message_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
