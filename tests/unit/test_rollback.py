"""Going back to a release, and out of an update that failed."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local import handover, rollback
from local.deployment import DeploymentError, stage_of
from local.outputs import NoStackError
from local.rollback import Rollback, not_going_back, unpack
from support import former_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    """A stack of one status, which a rollback brings back."""

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
    """Lambda, where no function has a reservation unless it is given one."""

    def __init__(self) -> None:
        self.reserved: dict[str, int] = {}

    def get_function_concurrency(self, FunctionName: str) -> Any:
        assert FunctionName == "api"
        return self.reserved


class World:
    """A stage whose stack has both machines of jobs, and a SAM CLI that says how it was called."""

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
        """The stack's outputs: a rollback takes the machine of this release's jobs with it."""
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


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


def test_a_release_is_built_and_deployed_with_its_own_files(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    assert world.rollback.deploy("v1", world.root, {"RetentionDays": "30"}) == 0
    assert world.calls == [
        "build",
        "deploy --config-env dev --parameter-overrides Stage=dev RetentionDays=30",
    ]
    text = "\n".join(world.told)
    assert "FormerNames=true is dropped" in text
    assert "ConfigurationSetAccounts is ''" in text
    assert "EncryptionKey (AWS::KMS::Key) leaves the stack" in text
    assert "make rollback STAGE=dev PARTS=1" in text


def test_jobs_go_on_where_the_former_release_has_them(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.start()
    assert world.rollback.deploy("v1", world.root, {}) == 0
    assert world.running("JobStateMachine") == []
    assert world.running("RecoveryStateMachine") == [
        {name: value for name, value in STATE.items() if name != "run"}
    ]
    assert "Jobs under way, to be stopped and started again: 1." in world.told


def test_a_rollback_of_a_stack_that_is_back_already_is_one(tmp_path: Path) -> None:
    world = World(tmp_path, "y", "y")
    assert world.rollback.deploy("v1", world.root, {}) == 0
    assert world.rollback.deploy("v1", world.root, {}) == 0


def test_a_job_is_handed_over_in_each_rollback(tmp_path: Path) -> None:
    world = World(tmp_path, "y", "y")
    arn = world.outputs["RecoveryStateMachineArn"]
    for _ in range(2):
        world.start()
        assert world.rollback.deploy("v1", world.root, {}) == 0
        [listed] = world.states.list_executions(stateMachineArn=arn, statusFilter="RUNNING")[
            "executions"
        ]
        world.states.stop_execution(executionArn=listed["executionArn"])
        world.is_updated()


def test_a_job_that_begins_during_the_build_is_handed_over(tmp_path: Path) -> None:
    world = World(tmp_path)

    def ask(_: str) -> str:
        world.start()
        return "y"

    assert replace(world.rollback, ask=ask).deploy("v1", world.root, {}) == 0
    assert len(world.running("RecoveryStateMachine")) == 1


def test_a_declined_change_set_hands_nothing_over(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.start()
    world.sam_exits(0, declined=True)
    assert world.rollback.deploy("v1", world.root, {}) == 1
    assert world.running("RecoveryStateMachine") == []
    assert "Nothing was rolled back" in world.told[-1]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (NoStackError("no answer"), 1)]
)
def test_jobs_that_were_stopped_are_named_where_it_does_not_end(
    tmp_path: Path, error: BaseException, status: int
) -> None:
    world = World(tmp_path, "y")
    world.start()

    def outputs(_: str) -> Any:
        if world.is_back:
            raise error
        return world.outputs

    assert replace(world.rollback, outputs=outputs).deploy("v1", world.root, {}) == status
    assert any("start-execution --name r1-rollback-" in line for line in world.told)
    assert world.running("JobStateMachine") == []


class Deploying(Rollback):
    """A rollback in whose deployment something happens."""

    during: Callable[[], int]

    def _run(self, directory: Path, *words: str) -> int:
        return self.during() if words[0] == "deploy" else super()._run(directory, *words)


def deploying(world: World, during: Callable[[], int]) -> Rollback:
    rollback = Deploying(**world.rollback.__dict__)
    object.__setattr__(rollback, "during", during)
    return rollback


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "_LOOK_SECONDS", 0.02)


def ends(world: World) -> bool:
    """Wait as CloudFormation does, for the last execution of the machine that it deletes."""
    ends_at = time.monotonic() + 10
    while world.running("JobStateMachine"):
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.usefixtures("quick")
def test_a_job_that_begins_during_the_deployment_keeps_no_machine_and_is_handed_over(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, "y")
    world.start("r1")

    def during() -> int:
        assert not world.sweeps
        assert world.running("JobStateMachine") == []
        for name in ("r2", "r3"):
            world.start(name)
            assert ends(world)
        world.goes_back()
        return 0

    assert deploying(world, during).deploy("v1", world.root, {}) == 0
    handed = {state["replay_id"] for state in world.running("RecoveryStateMachine")}
    assert handed == {"r1", "r2", "r3"}
    assert world.sweeps


@pytest.mark.usefixtures("quick")
def test_a_look_that_fails_is_said_once_and_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, "y")
    listed = handover._running
    looks: list[str] = []

    def running(states: Any, arn: str) -> Any:
        looks.append(arn)
        if len(looks) <= 3:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "ListExecutions")
        return listed(states, arn)

    def during() -> int:
        monkeypatch.setattr(handover, "_running", running)
        world.start()
        assert ends(world)
        world.goes_back()
        return 0

    assert deploying(world, during).deploy("v1", world.root, {}) == 0
    assert len(world.running("RecoveryStateMachine")) == 1
    assert sum("could not be stopped" in line for line in world.told) == 1


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (0, 1),
        (3, 3),
        (KeyboardInterrupt(), 130),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "DescribeStacks"), 1),
    ],
)
def test_the_sweep_is_enabled_again_in_every_ending(
    tmp_path: Path, ending: int | BaseException, status: int
) -> None:
    world = World(tmp_path, "y")

    def during() -> int:
        assert not world.sweeps
        if isinstance(ending, BaseException):
            raise ending
        return ending

    assert deploying(world, during).deploy("v1", world.root, {}) == status
    assert world.sweeps
    assert "Disabling the schedule Sweep" in world.told


def test_the_sweep_is_enabled_again_where_jobs_cannot_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, "y")
    world.start()

    def denied(*_: object) -> None:
        assert not world.sweeps
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "StopExecution")

    monkeypatch.setattr(handover, "stop", denied)
    assert world.rollback.deploy("v1", world.root, {}) == 1
    assert world.calls == ["build"]
    assert world.sweeps


def test_a_sweep_that_cannot_be_enabled_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.events = Denied(world.events)
    assert world.rollback.deploy("v1", world.root, {}) == 1
    assert any("make destroy STAGE=dev UNDO=1" in line for line in world.told)


class Denied:
    """EventBridge, which refuses to enable a rule."""

    def __init__(self, events: Any) -> None:
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def enable_rule(self, **_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "EnableRule")


def test_the_sweep_stays_where_jobs_keep_their_machine(tmp_path: Path) -> None:
    world = World(tmp_path, "y", "y")
    assert world.rollback.deploy("v1", world.root, {}) == 0
    world.told.clear()
    assert world.rollback.deploy("v1", world.root, {}) == 0
    assert not any("schedule" in line for line in world.told)


def test_a_stack_that_a_deletion_has_closed_is_opened_first(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.functions.reserved = {"ReservedConcurrentExecutions": 0}
    with pytest.raises(DeploymentError, match="the function api"):
        world.rollback.deploy("v1", world.root, {})
    assert world.calls == []


@pytest.mark.parametrize("answer", ["n", "", "no"])
def test_what_is_not_confirmed_is_not_done(tmp_path: Path, answer: str) -> None:
    world = World(tmp_path, answer)
    world.start()
    with pytest.raises(DeploymentError, match="not confirmed"):
        world.rollback.deploy("v1", world.root, {})
    assert world.calls == ["build"]
    assert world.running("JobStateMachine")


def test_a_deployment_that_fails_starts_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.start()
    world.sam_exits(3)
    assert world.rollback.deploy("v1", world.root, {}) == 3
    assert world.running("RecoveryStateMachine") == []
    assert "sweep starts the jobs again" in world.told[-1]


def test_what_cannot_be_built_is_not_deployed(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    world.sam_exits(2, "build")
    with pytest.raises(DeploymentError, match="could not be built"):
        world.rollback.deploy("v1", world.root, {})
    assert world.calls == ["build"]


def test_with_nobody_there_nothing_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.rollback.deploy("v1", world.root, {}) == 0
    assert world.calls[-1] == "deploy --config-env dev --no-confirm-changeset"


def test_a_template_that_would_replace_a_table_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    file = world.root / "template.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace(
            "AttributeName: webhook_id, KeyType: RANGE", "AttributeName: id, KeyType: RANGE"
        )
    )
    assert file.read_text() != text
    with pytest.raises(DeploymentError, match="WebhooksTable is replaced"):
        world.rollback.deploy("v1", world.root, {})
    assert world.calls == []


def test_an_update_that_is_under_way_is_no_time_for_a_release(tmp_path: Path) -> None:
    world = World(tmp_path, "y", status="UPDATE_ROLLBACK_FAILED")
    with pytest.raises(DeploymentError, match="run this without REF first"):
        world.rollback.deploy("v1", world.root, {})


@pytest.mark.parametrize(
    "status", ["UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"]
)
def test_a_stack_that_changes_by_itself_is_waited_for(tmp_path: Path, status: str) -> None:
    world = World(tmp_path, "y", status=status)
    with pytest.raises(DeploymentError, match=f"{status}: wait until"):
        world.rollback.deploy("v1", world.root, {})
    with pytest.raises(DeploymentError, match=f"{status}: wait until"):
        world.rollback.recover()


def test_an_update_that_is_under_way_is_cancelled(tmp_path: Path) -> None:
    world = World(tmp_path, "y", status="UPDATE_IN_PROGRESS")
    assert world.rollback.recover() == 0
    assert world.cloudformation.did == [
        f"cancel {STACK}",
        "stack_rollback_complete",
        f"wait {STACK}",
    ]


def test_a_rollback_that_failed_is_continued_and_its_reason_said(tmp_path: Path) -> None:
    world = World(tmp_path, "y", status="UPDATE_ROLLBACK_FAILED")
    assert world.rollback.recover() == 0
    assert world.cloudformation.did[0] == f"continue {STACK}"
    assert world.told[0] == "  RetryStateMachine: the quota of state machines is used up"
    assert not any("OfLongAgo" in line for line in world.told)


def test_where_no_update_failed_a_release_must_be_named(tmp_path: Path) -> None:
    world = World(tmp_path, "y")
    with pytest.raises(DeploymentError, match="REF="):
        world.rollback.recover()
    assert world.cloudformation.did == []


def test_parameters_that_stay_are_not_mentioned() -> None:
    now: Any = {"Parameters": {}, "Resources": {}}
    then: Any = {"Parameters": {"Stage": {"Default": "dev"}}, "Resources": {}}
    assert list(not_going_back(now, then, {"Stage": "dev"})) == []


def test_a_release_is_taken_out_of_the_repository(tmp_path: Path) -> None:
    repository, target = tmp_path / "repository", tmp_path / "target"
    repository.mkdir()
    (repository / "template.yaml").write_text("of this commit")
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    (repository / "template.yaml").write_text("of later")
    assert (unpack("HEAD", target, repository) / "template.yaml").read_text() == "of this commit"
    with pytest.raises(DeploymentError, match="no release v9"):
        unpack("v9", target, repository)


def test_the_command_asks_for_somebody_who_confirms(capsys: pytest.CaptureFixture[str]) -> None:
    assert rollback.main(["--stage", "dev"]) == 1
    assert "say YES=1" in capsys.readouterr().err
