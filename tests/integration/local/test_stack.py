"""The local stack on a template and handlers of its own: mappings, state machines, environment."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from integration.local.local_project import (
    MACHINE,
    SECONDS,
    TEMPLATE,
    Functions,
    bodies,
    client,
    dead_messages,
    execute,
    send,
    sqs,
    states,
)
from local.stack import LocalStack, StackOptions
from support.slowness import seconds
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.functions import Context


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    (directory / "template.yaml").write_text(TEMPLATE)
    (directory / "machine.asl.yaml").write_text(MACHINE)
    return directory


@pytest.fixture(scope="module")
def options(project: Path) -> StackOptions:
    return StackOptions(
        template=project / "template.yaml",
        parameters={"Greeting": "servus"},
        directory=project / "local",
    )


@pytest.fixture(scope="module")
def running(options: StackOptions) -> Iterator[tuple[LocalStack, Functions]]:
    functions = Functions()
    with LocalStack(options, make_handler=functions.make) as stack:
        yield stack, functions


@pytest.fixture
def stack(running: tuple[LocalStack, Functions]) -> LocalStack:
    return running[0]


@pytest.fixture
def functions(running: tuple[LocalStack, Functions]) -> Functions:
    functions = running[1]
    functions.does.clear()
    functions.given.clear()
    return functions


class TestTheTemplate:
    def test_a_function_has_the_templates_variables_resolved(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        assert functions.environments["web"] == {
            "GREETING": "servus",
            "CONCURRENCY": "2",
            "QUEUE_URL": stack.outputs["QueueUrl"],
            "TABLE": stack.outputs["Things"],
            "MACHINE": stack.outputs["MachineArn"],
            "AWS_ENDPOINT_URL": stack.outputs["AwsEndpointUrl"],
        }

    def test_the_outputs_name_what_exists(self, stack: LocalStack) -> None:
        endpoint = stack.outputs["AwsEndpointUrl"]
        table = client("dynamodb", endpoint).describe_table(TableName=stack.outputs["Things"])
        assert table["Table"]["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
        attributes = sqs(stack).get_queue_attributes(
            QueueUrl=stack.outputs["QueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        assert attributes["VisibilityTimeout"] == "1"
        assert json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] == 2

    def test_the_api_has_the_templates_routes(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        functions.does["web"] = lambda event, context: {
            "path": event["pathParameters"]["proxy"],
            "milliseconds": context.get_remaining_time_in_millis(),
        }
        with urllib.request.urlopen(f"{stack.outputs['ApiUrl']}/some/where") as answer:
            body = json.load(answer)
        assert body["path"] == "some/where"
        assert 0 < body["milliseconds"] <= 7000

    def test_the_files_are_whole_private_and_for_containers(
        self, stack: LocalStack, options: StackOptions
    ) -> None:
        assert options.directory
        outputs, environment = (options.directory / n for n in ("outputs.json", "env.json"))
        assert json.loads(outputs.read_text()) == stack.outputs
        assert outputs.stat().st_mode & 0o777 == 0o600
        port = stack.outputs["AwsEndpointUrl"].rpartition(":")[2]
        variables = json.loads(environment.read_text())["WebFunction"]
        assert variables["AWS_ENDPOINT_URL"] == f"http://host.docker.internal:{port}"
        assert variables["QUEUE_URL"].startswith(variables["AWS_ENDPOINT_URL"])
        assert variables["GREETING"] == "servus"

    def test_a_second_stack_in_the_process_is_refused(
        self, stack: LocalStack, options: StackOptions
    ) -> None:
        assert stack.outputs
        with (
            pytest.raises(RuntimeError, match="running in this process already"),
            LocalStack(replace(options, directory=None)),
        ):
            pass


class TestTheMapping:
    def test_a_function_gets_records_as_lambda_hands_them_over(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        sent_at_ms = time.time() * 1000
        sent = sqs(stack).send_message(
            QueueUrl=stack.outputs["QueueUrl"],
            MessageBody="Grüße",
            MessageGroupId="acc_1",
            MessageAttributes={
                "text": {"DataType": "String", "StringValue": "a"},
                "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            },
        )
        [event] = functions.wait("work", bool)
        [record] = event["Records"]
        assert record["messageId"] == sent["MessageId"]
        assert (record["body"], record["md5OfBody"]) == ("Grüße", sent["MD5OfMessageBody"])
        assert record["receiptHandle"]
        assert record["attributes"]["MessageGroupId"] == "acc_1"
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert abs(int(record["attributes"]["SentTimestamp"]) - sent_at_ms) < 10_000
        assert record["messageAttributes"]["text"]["stringValue"] == "a"
        assert record["messageAttributes"]["bytes"]["binaryValue"] == "AP8="
        assert record["eventSource"] == "aws:sqs"
        queue_name = stack.outputs["QueueUrl"].rpartition("/")[2]
        assert record["eventSourceARN"] == f"arn:aws:sqs:us-east-1:123456789012:{queue_name}"

    def test_only_the_reported_items_come_back_and_then_are_dead_lettered(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        functions.does["work"] = lambda event, _context: {
            "batchItemFailures": [
                {"itemIdentifier": record["messageId"]}
                for record in event["Records"]
                if record["body"] == "bad"
            ]
        }
        send(stack, "good", "bad", "fine")
        assert dead_messages(stack, 1) == ["bad"]
        assert sorted(bodies(functions.given["work"])) == ["bad", "bad", "fine", "good"]

    @pytest.mark.parametrize(
        "answer",
        [{"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"other": 1}, "text"],
        ids=["unknown id", "no list", "no object"],
    )
    def test_an_answer_that_makes_no_sense_fails_the_whole_batch(
        self, stack: LocalStack, functions: Functions, answer: Any
    ) -> None:
        functions.does["work"] = lambda _event, _context: answer
        send(stack, "a", "b")
        assert sorted(dead_messages(stack, 2)) == ["a", "b"]

    def test_an_exception_fails_the_whole_batch(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        def crash(_event: Any, _context: Context) -> Any:
            raise UnavailableError("the table")

        functions.does["work"] = crash
        send(stack, "a", "b")
        assert sorted(dead_messages(stack, 2)) == ["a", "b"]

    def test_batches_and_concurrency_stay_within_the_templates_bounds(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        under_way: set[int] = set()
        most: list[int] = []
        two_at_once, three_at_once = threading.Event(), threading.Event()

        def work(_event: Any, context: Context) -> Any:
            under_way.add(id(context))
            most.append(len(under_way))
            if len(under_way) >= 2:
                two_at_once.set()
            if len(under_way) >= 3:
                three_at_once.set()
            # Holds the first batch until there is a second, and both until a third should be here.
            two_at_once.wait(seconds(SECONDS))
            three_at_once.wait(0.3)
            under_way.remove(id(context))

        functions.does["work"] = work
        for start in range(0, 40, 10):
            send(stack, *map(str, range(start, start + 10)))
        events = functions.wait("work", lambda given: len(bodies(given)) == 40)
        assert sorted(map(int, bodies(events))) == list(range(40))
        assert max(len(event["Records"]) for event in events) <= 5
        assert max(most) == 2


class TestTheStateMachine:
    def test_a_functions_error_is_known_by_its_class_and_retried(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        def task(event: Any, _context: Context) -> Any:
            if len(functions.given["task"]) < 3:
                raise UnavailableError("the table")
            return {"done": event["id"]}

        functions.does["task"] = task
        arn = execute(stack, "retried", seconds=0, id="1")
        deadline = time.monotonic() + seconds(SECONDS)
        while states(stack).describe_execution(executionArn=arn)["status"] == "RUNNING":
            assert time.monotonic() < deadline
        ended = states(stack).describe_execution(executionArn=arn)
        assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", {"done": "1"})
        assert len(functions.given["task"]) == 3

    def test_another_error_is_caught_by_its_name_and_sent_to_the_queue(
        self, stack: LocalStack, functions: Functions
    ) -> None:
        def task(_event: Any, _context: Context) -> Any:
            raise LookupError("no such thing")

        functions.does["task"] = task
        execute(stack, "caught", seconds=0, id="2")
        [message] = dead_messages(stack, 1)
        assert json.loads(message) == {"error": "LookupError", "id": "2"}
        assert len(functions.given["task"]) == 1

    def test_an_execution_really_waits(self, stack: LocalStack, functions: Functions) -> None:
        started = time.monotonic()
        execute(stack, "waits", seconds=2, id="3")
        functions.wait("task", bool)
        assert time.monotonic() - started >= 2

    def test_many_executions_run_at_once(self, stack: LocalStack, functions: Functions) -> None:
        for number in range(40):
            execute(stack, f"parallel-{number}", seconds=1, id=str(number))
        given = functions.wait("task", lambda events: len(events) == 40)
        assert {event["id"] for event in given} == {str(number) for number in range(40)}


def test_a_stack_leaves_nothing_behind(
    running: tuple[LocalStack, Functions], options: StackOptions
) -> None:
    stack, _functions = running
    assert "AWS_ENDPOINT_URL" in os.environ
    assert options.directory
    stack.__exit__(None, None, None)
    assert "AWS_ENDPOINT_URL" not in os.environ
    assert list(options.directory.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(stack.outputs["ApiUrl"])
