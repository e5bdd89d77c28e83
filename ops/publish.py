"""`make publish`: sends one event to the local stack's queue, without the AWS CLI."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from botocore.exceptions import EndpointConnectionError

from local.aws import aws_client
from local.publishing import EVENT_TYPES, publish, sample
from ops.outputs import FILE


def bodies(text: str) -> list[str]:
    """Return the messages of a file: the bodies of a dispatcher's batch, or the file itself."""
    try:
        document = json.loads(text)
    except ValueError:
        return [text]
    if isinstance(document, dict) and "Records" in document:
        return [record["body"] for record in document["Records"]]
    return [text]


def main() -> int:
    """Publish the messages that the command line names; return the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.publish", description=__doc__)
    parser.add_argument(
        "event",
        nargs="?",
        default="email.delivered",
        choices=[f"email.{name}" for name in EVENT_TYPES],
    )
    parser.add_argument("--to", default="recipient@example.com", help="the email's recipient")
    parser.add_argument("--file", type=Path, help="a message, or a sample like those in events/")
    parser.add_argument("--json", action="store_true", help="print the messages' ids as JSON")
    arguments = parser.parse_args()
    try:
        outputs = json.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _complain("nothing is running here; start the stack with make run")
        return 1
    sqs = aws_client("sqs", outputs["AwsEndpointUrl"])
    if arguments.file is None:
        messages = [sample(arguments.event, outputs["AccountId"], arguments.to)]
    else:
        try:
            messages = bodies(arguments.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            _complain(f"the file cannot be read: {error}; give the path of a text file")
            return 1
    published = []
    for message in messages:
        try:
            message_id = publish(sqs, outputs, message)
        except EndpointConnectionError:
            _complain("the stack does not respond; start it again with make run")
            return 1
        published.append({"message_id": message_id, "body": message})
        if not arguments.json:
            print(f"published message {message_id}: {message[:60]}...")
    if arguments.json:
        print(json.dumps(published, indent=2, ensure_ascii=False))
    return 0


def _complain(what: str) -> None:
    print(f"make publish: {what}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
