"""Deleting a stack through the command, with boto3's own clients, on moto.

moto deletes a state machine at once, even with running executions; the unit tests cover AWS's
delay.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from ops import closing, deployment, destroying, executions, preflight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REGION = "eu-central-1"
STACK = "sendcomms-webhooks-dev"
ROLE = {"Fn::GetAtt": ["Role", "Arn"]}
SERVICES = ("cloudformation", "stepfunctions", "lambda", "events", "sqs", "dynamodb")


def function(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": ROLE,
            "Code": {"ZipFile": "def handler(event, context): ..."},
        },
    }


def machine(name: str, kind: str = "STANDARD") -> dict[str, Any]:
    waits = {
        "StartAt": "Wait",
        "States": {"Wait": {"Type": "Wait", "Seconds": 86400, "End": True}},
    }
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": name,
            "StateMachineType": kind,
            "DefinitionString": json.dumps(waits),
            "RoleArn": ROLE,
        },
    }


RESOURCES = {
    "Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        },
    },
    "EventsQueue": {"Type": "AWS::SQS::Queue"},
    "DeadLetterQueue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dead-letters"}},
    "DeliveriesTable": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": "the-deliveries",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "delivery_id", "AttributeType": "S"},
                {"AttributeName": "due", "AttributeType": "S"},
                {"AttributeName": "next_attempt_at", "AttributeType": "N"},
            ],
            "KeySchema": [{"AttributeName": "delivery_id", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "due",
                    "KeySchema": [
                        {"AttributeName": "due", "KeyType": "HASH"},
                        {"AttributeName": "next_attempt_at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        },
    },
    "ApiFunction": function("api"),
    "WorkerFunction": function("worker"),
    "DispatcherFunctionEvents": {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "FunctionName": {"Ref": "WorkerFunction"},
            "EventSourceArn": {"Fn::GetAtt": ["EventsQueue", "Arn"]},
        },
    },
    "WorkerFunctionSweep": {
        "Type": "AWS::Events::Rule",
        "Properties": {"Name": "the-sweep", "ScheduleExpression": "rate(1 minute)"},
    },
    "SesRule": {
        "Type": "AWS::Events::Rule",
        "Properties": {"Name": "the-mail", "EventPattern": {"source": ["aws.ses"]}},
    },
    "RetryStateMachine": machine("retries"),
    "ShortRetryStateMachine": machine("short-retries", "EXPRESS"),
    "JobStateMachine": machine("jobs"),
}


class Aws:
    """The clients, and their view of the stack."""

    def __init__(self) -> None:
        self.clients = {name: boto3.client(name) for name in SERVICES}  # type: ignore[call-overload]
        self.mapping = ""

    def make(self) -> None:
        self.clients["cloudformation"].create_stack(
            StackName=STACK, TemplateBody=json.dumps({"Resources": RESOURCES})
        )
        [found] = self.clients["lambda"].list_event_source_mappings()["EventSourceMappings"]
        self.mapping = found["UUID"]

    def wait_in(self, name: str, number: int) -> list[str]:
        return [
            self.clients["stepfunctions"].start_execution(
                stateMachineArn=f"arn:aws:states:{REGION}:123456789012:stateMachine:{name}"
            )["executionArn"]
            for _ in range(number)
        ]

    def statuses(self, waiting: Sequence[str]) -> set[str]:
        states = self.clients["stepfunctions"]
        return {states.describe_execution(executionArn=arn)["status"] for arn in waiting}

    def is_open(self) -> list[bool]:
        functions, events = self.clients["lambda"], self.clients["events"]
        return [
            *(
                "ReservedConcurrentExecutions"
                not in functions.get_function_concurrency(FunctionName=name)
                for name in ("api", "worker")
            ),
            functions.get_event_source_mapping(UUID=self.mapping)["State"] == "Enabled",
            *(
                events.describe_rule(Name=name)["State"] == "ENABLED"
                for name in ("the-sweep", "the-mail")
            ),
        ]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    # No invocation is under way here.
    monkeypatch.setattr(destroying, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(destroying, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(closing, "_LOOK_SECONDS", 0.0)
    with mock_aws():
        aws = Aws()
        aws.make()
        yield aws


@pytest.fixture
def sam(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Delete the stack in place of the SAM CLI, and note its arguments."""
    calls: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(words)
        aws.clients["cloudformation"].delete_stack(StackName=STACK)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_the_command_closes_stops_and_deletes(
    aws: Aws, sam: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    aws.wait_in("retries", 5)
    aws.wait_in("jobs", 2)
    for number, partition in enumerate("00a"):
        aws.clients["dynamodb"].put_item(
            TableName="the-deliveries",
            Item={
                "delivery_id": {"S": str(number)},
                "due": {"S": partition},
                "next_attempt_at": {"N": "1"},
            },
        )
    url = aws.clients["sqs"].get_queue_url(QueueName="dead-letters")["QueueUrl"]
    aws.clients["sqs"].send_message(QueueUrl=url, MessageBody="a dead letter")
    assert deployment.main(["destroy", "--yes", "--sam", "sam"]) == 0
    assert sam == [["sam", "delete", "--config-env", "dev", "--stack-name", STACK, "--no-prompts"]]
    said = capsys.readouterr().out.partition("This ends:")[2].split("These resources stay:")[0]
    assert [line.split()[-1] for line in said.strip().splitlines()] == ["3", "2", "7", "1"]
    assert aws.clients["cloudformation"].list_stacks()["StackSummaries"][0]["StackStatus"] == (
        "DELETE_COMPLETE"
    )
    assert aws.clients["lambda"].list_functions()["Functions"] == []


def test_the_command_undoes_what_an_interrupted_run_has_closed(
    aws: Aws, sam: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = aws.wait_in("retries", 3)
    assert all(aws.is_open())

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(deployment.Deployment, "delete", interrupted)
    assert deployment.main(["destroy", "--yes"]) == 130
    assert aws.statuses(waiting) == {"ABORTED"}
    # The rule of Amazon SES fills the queue, and none of its events is lost.
    assert aws.is_open() == [False, False, False, False, True]
    assert deployment.main(["destroy", "--undo"]) == 0
    assert all(aws.is_open())
    assert sam == []


def closed_parts(aws: Aws) -> dict[str, Any]:
    """Return each part that a deletion closes, with the function that closes it."""
    functions, events = aws.clients["lambda"], aws.clients["events"]
    return {
        "the schedule the-sweep": lambda: events.disable_rule(Name="the-sweep"),
        f"the event source mapping {aws.mapping}": lambda: functions.update_event_source_mapping(
            UUID=aws.mapping, Enabled=False
        ),
        "the function api": lambda: functions.put_function_concurrency(
            FunctionName="api", ReservedConcurrentExecutions=0
        ),
    }


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_closed_stack_is_opened_before_it_is_deployed(
    aws: Aws, part: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "shortfalls", lambda *_asked: [])
    assert preflight.main(["deploy", "--yes"]) == 0
    name, close = list(closed_parts(aws).items())[part]
    close()
    # The rule of Amazon SES is the operator's own.
    aws.clients["events"].disable_rule(Name="the-mail")
    assert preflight.main(["preview"]) == 0
    assert preflight.main(["deploy", "--yes"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"Nothing was done: {STACK} is closed")
    assert f": {name}. " in error
    assert "make destroy STAGE=dev UNDO=1" in error
    assert deployment.main(["destroy", "--undo"]) == 0
    assert preflight.main(["deploy", "--yes"]) == 0


def test_a_reservation_of_the_operators_closes_nothing(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "shortfalls", lambda *_asked: [])
    aws.clients["lambda"].put_function_concurrency(
        FunctionName="api", ReservedConcurrentExecutions=5
    )
    assert preflight.main(["deploy", "--yes"]) == 0


def test_counting_and_stopping_go_through_every_page(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "_PAGE", 3)
    waiting = aws.wait_in("retries", 8)
    states = aws.clients["stepfunctions"]
    arns = {"RetryStateMachine": f"arn:aws:states:{REGION}:123456789012:stateMachine:retries"}
    found = executions.Executions(
        states, arns, executions.stop_quota(REGION), executions.Clock(), lambda _: None
    )
    assert found.count() == {"RetryStateMachine": executions.Count(8)}
    while found.stop():
        pass
    assert aws.statuses(waiting) == {"ABORTED"}
