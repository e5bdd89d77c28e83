"""moto among threads, the way of the local stack: each single step of AWS is one step there."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from moto.sqs.models import sqs_backends

from local.aws import aws_client, aws_server
from local.constants import ACCOUNT, REGION
from local.servers import LOOPBACK, listen
from webhooks.adapters.aws import error_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

THREADS = 8
DEFINITION = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})


@pytest.fixture(scope="module")
def client() -> Iterator[Callable[[str], Any]]:
    """The local stack's AWS, whose threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    with (
        contextlib.closing(listen(LOOPBACK, 0, "AWS_PORT")) as listener,
        aws_server([listener]) as endpoint,
    ):
        sys.setswitchinterval(5e-6)
        yield lambda service: aws_client(service, endpoint)
        sys.setswitchinterval(before)


@pytest.mark.usefixtures("client")
def test_no_message_is_lost_that_is_sent_while_others_are_deleted() -> None:
    # Without HTTP between: threads that wait for sockets meet too seldom to show it.
    backend: Any = sqs_backends[ACCOUNT][REGION]
    backend.create_queue("events", {})
    received: set[str] = set()

    def receive() -> bool:
        messages = backend.receive_message("events", 10, 0, 60)
        for message in messages:
            received.add(message.body)
            backend.delete_message("events", message.receipt_handle)
        return bool(messages)

    def send(number: int) -> None:
        backend.send_message("events", str(number))
        receive()

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(send, range(200)))
    while receive():
        pass
    assert received == {str(number) for number in range(200)}


def test_of_many_conditional_writes_at_once_one_succeeds(client: Callable[[str], Any]) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="table",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def write(item: int) -> bool:
        try:
            dynamodb.put_item(
                TableName="table",
                Item={"id": {"S": str(item)}},
                ConditionExpression="attribute_not_exists(id)",
            )
        except ClientError as error:
            # By its code: each of many threads at once may make a class of its own of it.
            assert error_code(error) == "ConditionalCheckFailedException"
            return False
        return True

    with ThreadPoolExecutor(THREADS) as threads:
        for item in range(20):
            assert sum(threads.map(write, [item] * THREADS)) == 1


@pytest.mark.usefixtures("client")
def test_definitions_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
    from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

    read = Preprocessor.visitState_machine
    under_way: list[None] = []
    at_once: list[int] = []

    def slowly(self: Preprocessor, ctx: Any) -> Any:
        under_way.append(None)
        at_once.append(len(under_way))
        time.sleep(0.01)
        program = read(self, ctx)
        under_way.pop()
        return program

    monkeypatch.setattr(Preprocessor, "visitState_machine", slowly)
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(AmazonStateLanguageParser.parse, [DEFINITION] * THREADS))
    assert at_once == [1] * THREADS


def test_many_starts_of_one_name_at_once_are_one_execution(client: Callable[[str], Any]) -> None:
    states = client("stepfunctions")
    machine = states.create_state_machine(
        name="machine",
        definition=DEFINITION,
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine",
    )["stateMachineArn"]

    def start(name: str) -> None:
        with contextlib.suppress(ClientError):
            states.start_execution(stateMachineArn=machine, name=name, input="{}")

    names = [f"execution-{number}" for number in range(10)]
    with ThreadPoolExecutor(THREADS) as threads:
        for name in names:
            list(threads.map(start, [name] * THREADS))
    executions = states.list_executions(stateMachineArn=machine)["executions"]
    assert sorted(execution["name"] for execution in executions) == names
