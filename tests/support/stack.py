"""The local stack in a user's form: a process of its own, reached over HTTP and AWS's APIs.

::

    with Stack(checkout(tmp_path), RETRY_SCHEDULE="1,1") as stack:
        acme = stack.account("acme")
        webhook = acme.register(receiver.url)
        acme.publish(event="email.sent")

Each stack runs in its own checkout, so that its `.local` is not that of a stack in the
developer's checkout, and listens on any free ports.

A test that needs only a stack's outputs takes an `AnyStack`, which may be deployed.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import boto3

from local.aws import aws_client
from ops.api_key import KeysTable, issue
from ops.outputs import of_deployed, of_local
from support.program import Program
from support.recorded_calls import Resources, read_calls
from support.samples import event_document
from support.slowness import seconds
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.domain.delivery import DeliveryKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from support.policies import Call
    from webhooks.domain.delivery import Delivery

ROOT = Path(__file__).parents[2]
CALLS = "calls.jsonl"
"""The file that `support.observed_run` writes, next to a stack's outputs."""

READY_SECONDS = 60.0
"""The longest start of a stack on a busy machine; it prints its own time on an idle one."""

_FREE_PORTS = {"PORT": "0", "AWS_PORT": "0", "RECEIVER_PORT": "0"}
_PAUSE_SECONDS = 0.05

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], what: str, timeout: float = 60.0) -> Found:
    """Return the first result of `look`; AssertionError if it never finds one.

    The timeout is in seconds on an idle machine.
    """
    deadline = time.monotonic() + seconds(timeout)
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            msg = f"{what}: not within {timeout} seconds"
            raise AssertionError(msg)
        time.sleep(_PAUSE_SECONDS)


def checkout(directory: Path) -> Path:
    """Make a directory into a checkout of the project, by links to all visible files."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (directory / path.name).symlink_to(path)
    return directory


def run_module(name: str, *arguments: str, directory: Path, **variables: str) -> Program:
    """Start `python -m NAME` in a checkout, without the settings of the tests' own environment."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LOCAL_"))
    }
    environment = {**inherited, "PYTHONUNBUFFERED": "1", **_FREE_PORTS, **variables}
    return Program(sys.executable, "-m", name, *arguments, cwd=directory, environment=environment)


@dataclass(frozen=True)
class Answer:
    """An answer of the API."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error


def call(
    url: str,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
) -> Answer:
    """Send one HTTP request with these headers and HTTP's own, no others."""
    address = urlsplit(url)
    secure = address.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(address.hostname or "", address.port, timeout=seconds(30))
    try:
        data = body.encode() if isinstance(body, str) else body
        connection.request(method, target, data, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    finally:
        connection.close()


@dataclass(frozen=True)
class QueueMessage:
    """A message as it lay in a queue."""

    body: str
    attributes: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Queue:
    """A queue of the stack."""

    sqs: Any
    url: str
    _taken: list[QueueMessage] = field(default_factory=list)

    def send(self, body: str, group: str = "tests") -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageGroupId=group)

    def send_together(self, bodies: Sequence[str]) -> None:
        """Send up to ten messages in one request, so that one batch receives them."""
        answer = self.sqs.send_message_batch(
            QueueUrl=self.url,
            Entries=[{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)],
        )
        assert not answer.get("Failed")

    def comes_again_after(self, seconds: int) -> None:
        """Let messages that were received and not deleted return after so long."""
        self.sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)}
        )

    def wait_until_empty(self) -> None:
        """Wait until every message was received and deleted again."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def empty() -> bool:
            answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
            return not any(int(count) for count in answer["Attributes"].values())

        eventually(empty, "the queue is empty")

    def matching(self, matches: Callable[[QueueMessage], bool]) -> list[QueueMessage]:
        """Return all messages so far that match. They leave the queue, and are kept here."""
        while messages := self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            MessageAttributeNames=["All"],
        ).get("Messages"):
            for message in messages:
                attributes = message.get("MessageAttributes", {})
                values = {name: value["StringValue"] for name, value in attributes.items()}
                self._taken.append(QueueMessage(message["Body"], values))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [message for message in self._taken if matches(message)]

    def wait_for(self, matches: Callable[[QueueMessage], bool], what: str) -> list[QueueMessage]:
        """Return the messages that match, once there are any."""
        return eventually(lambda: self.matching(matches), f"a message {what}")


def outputs_of(name: str, api_url: str = "") -> Mapping[str, str]:
    """Return a deployed stack's outputs, with its pages at `api_url` if that is given."""
    outputs = of_deployed(name)
    if not api_url:
        return outputs
    return {key: value.replace(outputs["ApiUrl"], api_url) for key, value in outputs.items()}


class AnyStack:
    """A running stack, here or in AWS, known by its outputs."""

    def __init__(self, read_outputs: Callable[[], Mapping[str, str]]) -> None:
        """Keep the function that returns the stack's outputs, for their first use."""
        self._read_outputs = read_outputs

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        return self._read_outputs()

    @property
    def deployed(self) -> bool:
        """Whether the stack is AWS's, and therefore accepts public receivers only."""
        return "AwsEndpointUrl" not in self.outputs

    def client(self, service: str) -> Any:
        """Return a boto3 client of the stack's AWS."""
        if self.deployed:
            return boto3.client(service, region_name=self.outputs["Region"])  # type: ignore[call-overload]
        return aws_client(service, self.outputs["AwsEndpointUrl"])

    def table(self, logical_id: str) -> str:
        """Return the name of a table."""
        return self.outputs.get(f"{logical_id}Name") or self.outputs[logical_id]

    @cached_property
    def events(self) -> Queue:
        return Queue(self.client("sqs"), self.outputs["EventsQueueUrl"])

    @cached_property
    def rejected(self) -> Queue:
        """The dead-letter queue of messages that cannot be processed."""
        return Queue(self.client("sqs"), self.outputs["EventsDeadLetterQueueUrl"])

    @cached_property
    def dead_letters(self) -> Queue:
        """The dead-letter queue of exhausted deliveries."""
        return Queue(self.client("sqs"), self.outputs["DeadLetterQueueUrl"])

    @cached_property
    def deliveries(self) -> DynamoDBDeliveryStore:
        return DynamoDBDeliveryStore(
            self.client("dynamodb"), self.table("DeliveriesTable"), retention_days=30
        )

    def account(self, account_id: str) -> Account:
        """Return an account, with a key made like `make api-key`'s."""
        outputs = self.outputs
        table = KeysTable(
            self.table("ApiKeysTable"), outputs.get("AwsEndpointUrl"), outputs["Region"]
        )
        return Account(self, account_id, issue(table, account_id))

    def call(self, method: str, target: str, **request: Any) -> Answer:
        """Send a request to the API without a key."""
        return call(self.outputs["ApiUrl"], method, target, **request)

    def execution_status(self, delivery_id: str) -> str | None:
        """Return the status of a delivery's retries, in Step Functions' words; None: no retries.

        AssertionError if a delivery has two standard executions. A short delay has an execution of
        its own, which AWS does not list.
        """
        standard = self._executions("RetryStateMachineArn", rf"{delivery_id}-[0-9]+$")
        assert len(standard) <= 1
        short = [] if self.deployed else self._executions("ShortRetryStateMachineArn", delivery_id)
        found = {*standard, *short}
        return min(found - {"SUCCEEDED"} or found, default=None)

    def _executions(self, machine: str, name: str) -> list[str]:
        pages = self.client("stepfunctions").get_paginator("list_executions")
        return [
            str(execution["status"])
            for page in pages.paginate(stateMachineArn=self.outputs[machine])
            for execution in page["executions"]
            if re.match(name, execution["name"])
        ]

    def wait_for_execution(self, delivery_id: str) -> None:
        """Wait until the retries of a delivery have succeeded."""

        def ended() -> str | None:
            status = self.execution_status(delivery_id)
            if status is None and self.deployed:
                return "SUCCEEDED"
            return None if status == "RUNNING" else status

        assert eventually(ended, "the retries' execution ends") == "SUCCEEDED"


class Stack(AnyStack):
    """`make run` in its own checkout, ready from the beginning of its `with` block."""

    module = "local.run"

    def __init__(self, directory: Path, **variables: str) -> None:
        """Set `variables`, for example RETRY_SCHEDULE, in its environment."""
        self.outputs_file = directory / ".local" / "outputs.json"
        super().__init__(lambda: of_local(self.outputs_file))
        self.program = run_module(self.module, directory=directory, **variables)

    def __enter__(self) -> Self:
        try:
            self.program.wait_for(
                lambda lines: any(line.startswith("Ready in") for line in lines),
                "the banner",
                READY_SECONDS,
            )
        except BaseException:
            self.program.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.program.process.poll() is None:
                self.program.interrupt()
        finally:
            self.program.close()


class ObservedStack(Stack):
    """A stack that records its functions' AWS calls."""

    module = "tests.support.observed_run"

    def calls(self) -> Iterator[tuple[str, Call]]:
        """Give the calls so far, each with the logical id of the function that made it."""
        file = self.outputs_file.with_name(CALLS)
        return read_calls(file, Resources.of(self.outputs))


@dataclass(frozen=True)
class Account:
    """A customer of a stack, with an API key."""

    stack: AnyStack
    id: str
    key: str

    def call(self, method: str, target: str = "/api/v1/webhooks", **request: Any) -> Answer:
        """Send a request with the account's key; `json` is a value to send as the body."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if "json" in request:
            request["body"] = json.dumps(request.pop("json"))
            headers["Content-Type"] = "application/json"
        headers |= request.pop("headers", {})
        return self.stack.call(method, target, headers=headers, **request)

    def register(self, url: str, events: Sequence[str] = ("*",), **fields: Any) -> dict[str, Any]:
        """Register a webhook; returns it with its secret."""
        answer = self.call("POST", json={"url": url, "events": list(events), **fields})
        assert answer.status == 201, answer.text
        webhook: dict[str, Any] = answer.data
        return webhook

    def show(self, webhook_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/api/v1/webhooks/{webhook_id}")
        assert answer.status == 200, answer.text
        webhook: dict[str, Any] = answer.data
        return webhook

    def publish(self, **changes: Any) -> str:
        """Publish the contract's example of an event, changed; returns the message."""
        message = json.dumps(event_document(account_id=self.id, **changes))
        self.stack.events.send(message, group=self.id)
        return message

    def leave(self) -> None:
        """Delete the account's webhooks, unless a test revoked its key."""
        while (answer := self.call("GET")).status == 200 and answer.data:
            for webhook in answer.data:
                self.call("DELETE", f"/api/v1/webhooks/{webhook['id']}")

    def delivery(self, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Return a delivery from the log."""
        return self.stack.deliveries.get(DeliveryKey(self.id, webhook_id, delivery_id))

    def delivery_with(self, status: str, webhook_id: str, delivery_id: str) -> Delivery:
        """Wait until a delivery has a status, and return it."""

        def look() -> Delivery | None:
            found = self.delivery(webhook_id, delivery_id)
            return found if found and found.status == status else None

        return eventually(look, f"the delivery is {status}")
