"""A stack on moto that a rollback restores, and the answers of CloudFormation and SAM."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3

from ops.deployment import stage_of
from ops.rollback import Rollback
from support import former_release

if TYPE_CHECKING:
    from pathlib import Path

STACK = "sendcomms-webhooks-dev"
ROLE = "arn:aws:iam::123456789012:role/states"
DEFINITION = json.dumps(
    {"StartAt": "End", "States": {"End": {"Type": "Wait", "Seconds": 60, "End": True}}}
)
STATE = {
    "version": 1,
    "action": "replay",
    "account_id": "acc_1",
    "webhook_id": "w1",
    "replay_id": "r1",
    "seconds": 0,
    "run": 2,
}


class Cloudformation:
    """A stack of one status, which a rollback restores."""

    def __init__(self, status: str = "UPDATE_COMPLETE") -> None:
        self.status = status
        self.did: list[str] = []

    def describe_stacks(self, **_: str) -> Any:
        parameters = [
            {"ParameterKey": "RetentionDays", "ParameterValue": "60"},
            {"ParameterKey": "FormerNames", "ParameterValue": "true"},
        ]
        return {"Stacks": [{"StackStatus": self.status, "Parameters": parameters}]}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_stack_resources"
        return self

    def paginate(self, StackName: str) -> Any:
        assert StackName == STACK
        rules = [
            {
                "ResourceType": "AWS::Events::Rule",
                "LogicalResourceId": name,
                "PhysicalResourceId": name,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for name in ("Sweep", "SesRule")
        ]
        functions = [
            {
                "ResourceType": "AWS::Lambda::Function",
                "LogicalResourceId": "ApiFunction",
                "PhysicalResourceId": "api",
                "ResourceStatus": "CREATE_COMPLETE",
            }
        ]
        return [{"StackResourceSummaries": [*rules, *functions]}]

    def describe_stack_events(self, **_: str) -> Any:
        reason = "the quota of state machines is used up"
        events = [
            {"ResourceStatus": "UPDATE_ROLLBACK_FAILED", "LogicalResourceId": STACK},
            {
                "ResourceStatus": "UPDATE_FAILED",
                "LogicalResourceId": "RetryStateMachine",
                "ResourceStatusReason": reason,
            },
            {"ResourceStatus": "UPDATE_IN_PROGRESS", "LogicalResourceId": STACK},
            {"ResourceStatus": "UPDATE_FAILED", "LogicalResourceId": "OfLongAgo"},
        ]
        return {"StackEvents": events}

    def cancel_update_stack(self, StackName: str) -> None:
        self.did.append(f"cancel {StackName}")

    def continue_update_rollback(self, StackName: str) -> None:
        self.did.append(f"continue {StackName}")

    def get_waiter(self, name: str) -> Any:
        self.did.append(name)
        return self

    def wait(self, StackName: str) -> None:
        self.did.append(f"wait {StackName}")


class Functions:
    """Lambda, where a function has a reservation only if a test gives it one."""

    def __init__(self) -> None:
        self.reserved: dict[str, int] = {}

    def get_function_concurrency(self, FunctionName: str) -> Any:
        assert FunctionName == "api"
        return self.reserved


class RollbackFixture:
    """A stage whose stack has both machines of jobs, and a SAM CLI that records its arguments."""

    def __init__(self, directory: Path, *answers: str, status: str = "UPDATE_COMPLETE") -> None:
        self.root = former_release.unpack(directory)
        self.told: list[str] = []
        self.answers = list(answers)
        self.cloudformation = Cloudformation(status)
        self.states = boto3.client("stepfunctions", "eu-central-1")
        self.functions = Functions()
        self.events = boto3.client("events", "eu-central-1")
        self.events.put_rule(Name="Sweep", ScheduleExpression="rate(1 minute)")
        self.events.put_rule(Name="SesRule", EventPattern='{"source": ["aws.ses"]}')
        self.outputs = {
            f"{name}Arn": self.states.create_state_machine(
                name=name, definition=DEFINITION, roleArn=ROLE
            )["stateMachineArn"]
            for name in ("JobStateMachine", "RecoveryStateMachine")
        }
        self._calls = directory / "calls"
        self._sam = directory / "sam"
        self._is_back = directory / "is_back"
        self.sam_exits(0)

    def sam_exits(self, status: int, command: str = "deploy", *, declined: bool = False) -> None:
        deployed = ":" if status or declined else f"touch {self._is_back}"
        self._sam.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$PWD: $*" >> {self._calls}\n'
            f'test "$1" != {command} || {{ {deployed}; exit {status}; }}\n'
        )
        self._sam.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        text = self._calls.read_text() if self._calls.exists() else ""
        return [line.removeprefix(f"{self.root}: ") for line in text.splitlines()]

    @property
    def rollback(self) -> Rollback:
        return Rollback(
            stage_of("dev"),
            self.cloudformation,
            self.states,
            self.functions,
            self.events,
            str(self._sam),
            (lambda _: self.answers.pop(0)) if self.answers else None,
            self.told.append,
            lambda _: self.shown,
        )

    @property
    def shown(self) -> dict[str, str]:
        """The stack's outputs: a rollback removes the machine of this release's jobs."""
        if not self.is_back:
            return self.outputs
        return {name: arn for name, arn in self.outputs.items() if name != "JobStateMachineArn"}

    @property
    def sweeps(self) -> bool:
        return bool(self.events.describe_rule(Name="Sweep")["State"] == "ENABLED")

    def is_updated(self) -> None:
        self._is_back.unlink()

    @property
    def is_back(self) -> bool:
        return self._is_back.exists()

    def goes_back(self) -> None:
        self._is_back.touch()

    def start(self, replay: str = "r1") -> str:
        arn = self.outputs["JobStateMachineArn"]
        text = json.dumps({**STATE, "replay_id": replay})
        return str(self.states.start_execution(stateMachineArn=arn, input=text)["executionArn"])

    def running(self, machine: str) -> list[Any]:
        arn = self.outputs[f"{machine}Arn"]
        listed = self.states.list_executions(stateMachineArn=arn, statusFilter="RUNNING")
        return [
            json.loads(self.states.describe_execution(executionArn=one["executionArn"])["input"])
            for one in listed["executions"]
        ]
