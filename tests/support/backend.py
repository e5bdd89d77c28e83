"""The functions' real wiring on moto, for tests that call a handler as Lambda does.

Engines that run next to moto are used instead (see `support.engines`).
"""

from __future__ import annotations

import atexit
import itertools
import json
import logging
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

import boto3
import botocore.client
import requests

from support import engines
from support.receiver import loopback_target
from webhooks.settings import Settings
from webhooks.wiring.common import CommonServices, TargetRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pytest

Made = TypeVar("Made", bound=CommonServices)
"""The services of a function, by their class."""

LOOPBACK = TargetRules(loopback_target, lambda _: True)
_INVOCATIONS = itertools.count(1)
_NOWHERE = "http://127.0.0.1:1"
_STATE_MACHINE = {
    "StartAt": "Wait",
    "States": {"Wait": {"Type": "Wait", "Seconds": 86_400, "End": True}},
}
"""Waits, as the template's machine does: an execution that starts here does not end."""


def lambda_context(remaining_seconds: float = 60.0) -> Any:
    """Return the parts of a Lambda context that a handler uses; its clock stands still."""
    return SimpleNamespace(
        # Each invocation has one of its own.
        aws_request_id=str(UUID(int=next(_INVOCATIONS))),
        get_remaining_time_in_millis=lambda: int(remaining_seconds * 1000),
    )


@dataclass
class Backend:
    """An AWS of test engines; every call of the code is counted."""

    settings: Settings
    clients: dict[str, Any]
    calls: Counter[str] = field(default_factory=Counter)
    observers: list[Callable[[str, dict[str, Any]], None]] = field(default_factory=list)
    """Called with the operation and the parameters of each call."""

    def services(self, kind: type[Made]) -> Made:
        return kind(self.settings, rules=LOOPBACK)

    def executions(self) -> list[dict[str, Any]]:
        """The inputs of the executions of the retry state machine that were started."""
        return self._executions(self.settings.retry_state_machine_arn)

    def short_executions(self) -> list[dict[str, Any]]:
        """The inputs of the executions of the machine of short delays."""
        return self._executions(self.settings.short_retry_state_machine_arn)

    def _executions(self, machine: str) -> list[dict[str, Any]]:
        client = self.clients["stepfunctions"]
        listed = client.list_executions(stateMachineArn=machine)
        return [
            json.loads(client.describe_execution(executionArn=one["executionArn"])["input"])
            for one in listed["executions"]
        ]

    def queued(self) -> list[str]:
        """Take every message off the events queue; a duplicate counts twice."""
        sqs, url = self.clients["sqs"], self.settings.events_queue_url
        found: list[str] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message["Body"])
        return found

    def rejected(self) -> list[dict[str, Any]]:
        """The messages on the events dead-letter queue."""
        answer = self.clients["sqs"].receive_message(
            QueueUrl=self.settings.events_dead_letter_queue_url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))


@contextmanager
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Set AWS up, empty, with the template's tables and the functions' other resources."""
    # Here, because it takes seconds to load and the benchmarks' processes do not need it.
    from support.tables import create_tables

    with endpoints(monkeypatch), ExitStack() as made:
        # Of this backend's credentials: boto3's own session keeps the first that it found.
        session: Any = boto3.session.Session()
        clients: dict[str, Any] = {
            service: session.client(service) for service in ("dynamodb", "sqs", "stepfunctions")
        }
        create_tables(clients["dynamodb"])
        made.callback(_delete_tables, clients["dynamodb"])
        machines = {
            name: clients["stepfunctions"].create_state_machine(
                name=engines.unique(name),
                definition=json.dumps(_STATE_MACHINE),
                roleArn=f"arn:aws:iam::123456789012:role/{name}",
            )["stateMachineArn"]
            for name in ("retry", "short-retry", "recovery")
        }
        queues = {
            name: clients["sqs"].create_queue(QueueName=engines.unique(name))["QueueUrl"]
            for name in ("events", "rejected")
        }
        for url in queues.values():
            made.callback(clients["sqs"].delete_queue, QueueUrl=url)
        aws_backend = Backend(
            Settings(
                webhooks_table="WebhooksTable",
                deliveries_table="DeliveriesTable",
                api_keys_table="ApiKeysTable",
                idempotency_table="IdempotencyTable",
                events_queue_url=queues["events"],
                events_dead_letter_queue_url=queues["rejected"],
                retry_state_machine_arn=machines["retry"],
                short_retry_state_machine_arn=machines["short-retry"],
                job_state_machine_arn=machines["recovery"],
                # No delay is short, unless a test says so.
                short_delay_seconds=-1.0,
                cursor_key=b"a key for the cursors of tests",
            ),
            clients,
        )
        client_class: Any = botocore.client.BaseClient
        original = client_class._make_api_call

        def counted(client: Any, operation: str, parameters: Any) -> Any:
            aws_backend.calls[operation] += 1
            for observe in aws_backend.observers:
                observe(operation, parameters)
            return original(client, operation, parameters)

        monkeypatch.setattr(client_class, "_make_api_call", counted)
        yield aws_backend


@contextmanager
def endpoints(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lead every client, here and in child processes, to its engine through the environment.

    If a second engine runs for each service, there is no moto.
    """
    second = engines.addresses()
    with ExitStack() as serving:
        every = second.keys() == engines.SECOND.keys()
        variables = {
            "AWS_DEFAULT_REGION": "us-east-1",
            # DynamoDB Local keeps a database for each access key.
            "AWS_ACCESS_KEY_ID": uuid4().hex,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": _NOWHERE if every else serving.enter_context(_moto()),
            **{engines.SDK_VARIABLES[service]: url for service, url in second.items()},
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


def _delete_tables(client: Any) -> None:
    for table in client.list_tables()["TableNames"]:
        client.delete_table(TableName=table)


@contextmanager
def _moto() -> Iterator[str]:
    """Serve moto, empty, with atomic writes like AWS's; yields its url."""
    from local.moto_locks import one_at_a_time
    from support.moto_in_process import called_in_process

    url = _server()
    with one_at_a_time(), called_in_process(url):
        try:
            yield url
        finally:
            requests.post(f"{url}/moto-api/reset", timeout=10)


@cache
def _server() -> str:
    """Start the process's one server of moto; returns its url.

    A server, because moto inside the process would catch the sender's requests too. One for all
    tests, because each takes half a second to stop.
    """
    from local.aws import serving_moto
    from local.servers import listen

    listener = listen("127.0.0.1", 0, "AWS_PORT")
    host, port = listener.getsockname()
    # moto logs every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serving = ExitStack()
    serving.enter_context(serving_moto([listener]))
    atexit.register(serving.close)
    return f"http://{host}:{port}"


def sqs_event(
    *bodies: str,
    sent_at_ms: int = 1_766_313_000_000,
    receive_count: int = 1,
    numbers: Mapping[str, object] | None = None,
    group: str | None = None,
) -> dict[str, Any]:
    """Return a batch of messages in the event source mapping's form.

    All messages have `numbers` as attributes and `group` as their group.
    """
    attributes = {
        name: {
            "stringValue": str(number),
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "Number",
        }
        for name, number in (numbers or {}).items()
    }
    return {
        "Records": [
            {
                "messageId": f"m{index}",
                "receiptHandle": f"handle-{index}",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": str(receive_count),
                    "SentTimestamp": str(sent_at_ms + index),
                    "SenderId": "123456789012",
                    "ApproximateFirstReceiveTimestamp": str(sent_at_ms + index),
                    **({} if group is None else {"MessageGroupId": group}),
                },
                "messageAttributes": attributes,
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:events",
                "awsRegion": "us-east-1",
            }
            for index, body in enumerate(bodies)
        ]
    }
