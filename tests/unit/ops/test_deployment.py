"""Deploying, previewing and deleting: the questions, and the SAM CLI's arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from e2e import conftest
from ops import deployment
from ops.deployment import Deployment, DeploymentError, stage_of
from ops.outputs import of_deployed
from support.stack import ROOT, AnyStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEV = "sendcomms-webhooks-dev"
RESOURCES = {
    "WebhooksTable": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": "the-webhooks",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        },
    },
    "EventsQueue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "the-events"}},
}


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        yield boto3.client("cloudformation")


class Sam:
    """A program in the SAM CLI's place that records its arguments."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "sam"
        self._calls = directory / "calls"
        self.path.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {self._calls}\nexit 7\n")
        self.path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def sam(tmp_path: Path) -> Sam:
    return Sam(tmp_path)


class Person:
    """A user who gives these answers in order, and reads the output."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.told: list[str] = []

    def ask(self, question: str) -> str:
        self.asked.append(question)
        return self.answers.pop(0)


def made(cloudformation: Any) -> None:
    cloudformation.create_stack(StackName=DEV, TemplateBody=json.dumps({"Resources": RESOURCES}))


def of_dev(cloudformation: Any, sam: Sam, person: Person | None) -> Deployment:
    told = person or Person()
    return Deployment(
        stage_of("dev"),
        cloudformation,
        str(sam.path),
        person.ask if person else None,
        told.told.append,
    )


def test_the_stages_are_those_of_the_configuration() -> None:
    assert stage_of("dev").stack == DEV
    assert stage_of("prod").parameters == {"Stage": "prod"}
    with pytest.raises(DeploymentError, match="no stage staging; it has prod, dev"):
        stage_of("staging")


def test_a_first_deployment_asks_until_an_answer_is_allowed(cloudformation: Any, sam: Sam) -> None:
    person = Person(
        *("", "not an address", "ops@example.com", "true"),
        *("api.example.com", "arn:aws:acm:eu-central-1:123456789012:certificate/0a-1b", ""),
    )
    assert of_dev(cloudformation, sam, person).deploy({"Tracing": "true"}) == 7
    assert sam.calls == [
        "deploy --config-env dev --parameter-overrides Stage=dev AlarmEmail=ops@example.com"
        " ConnectSes=true DomainName=api.example.com"
        " CertificateArn=arn:aws:acm:eu-central-1:123456789012:certificate/0a-1b Tracing=true"
    ]
    assert "parameter AlarmEmail must be an email address, or empty for no emails." in person.told


def test_without_a_domain_nobody_is_asked_for_its_certificate(
    cloudformation: Any, sam: Sam
) -> None:
    person = Person("", "", "", "")
    of_dev(cloudformation, sam, person).deploy({})
    assert sam.calls == ["deploy --config-env dev"]
    assert [question.split()[0] for question in person.asked] == [*deployment.ASKED]


@pytest.mark.parametrize(
    ("given", "answers", "asked"),
    [
        ({}, ("false", "", ""), ["Alarms", "ConnectSes", "DomainName"]),
        ({"Alarms": "false"}, ("", ""), ["ConnectSes", "DomainName"]),
        (
            {"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:ops"},
            ("", "", ""),
            ["Alarms", "ConnectSes", "DomainName"],
        ),
        (
            {"AlarmEmail": "ops@example.com", "ConnectSes": "true"},
            ("", ""),
            ["Alarms", "DomainName"],
        ),
    ],
)
def test_nobody_is_asked_for_an_address_that_nothing_would_notify_nor_for_what_is_given(
    given: dict[str, str],
    answers: tuple[str, ...],
    asked: list[str],
    cloudformation: Any,
    sam: Sam,
) -> None:
    person = Person(*answers)
    of_dev(cloudformation, sam, person).deploy(given)
    assert [question.split()[0] for question in person.asked] == asked
    assert not person.answers


def test_a_later_deployment_asks_nothing_and_changes_what_is_named(
    cloudformation: Any, sam: Sam
) -> None:
    made(cloudformation)
    person = Person()
    of_dev(cloudformation, sam, person).deploy({})
    of_dev(cloudformation, sam, person).deploy({"RetrySchedule": "1,2,3", "AlarmEmail": ""})
    assert sam.calls == [
        "deploy --config-env dev",
        'deploy --config-env dev --parameter-overrides Stage=dev RetrySchedule=1,2,3 AlarmEmail=""',
    ]


def test_a_change_set_that_was_only_looked_at_is_no_stack_yet(
    cloudformation: Any, sam: Sam
) -> None:
    cloudformation.create_change_set(
        StackName=DEV,
        ChangeSetName="first",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": RESOURCES}),
    )
    person = Person("", "", "", "")
    of_dev(cloudformation, sam, person).deploy({})
    assert person.asked


def test_where_nobody_answers_nothing_is_asked_and_nothing_confirmed(
    cloudformation: Any, sam: Sam
) -> None:
    of_dev(cloudformation, sam, None).deploy({})
    assert sam.calls == ["deploy --config-env dev --no-confirm-changeset"]


@pytest.mark.parametrize(
    ("names", "named", "added"),
    [
        (["RetrierFunction"], {}, ["FormerNames=true"]),
        (["RetrierFunction"], {"FormerNames": "false"}, ["FormerNames=false"]),
        (["RetrierFunction", "WorkerFunction"], {}, []),
        (["WorkerFunction"], {}, []),
    ],
)
def test_over_the_release_before_its_names_are_kept(
    cloudformation: Any, sam: Sam, names: list[str], named: dict[str, str], added: list[str]
) -> None:
    functions = {name: {"Type": "AWS::SQS::Queue"} for name in names}
    cloudformation.create_stack(StackName=DEV, TemplateBody=json.dumps({"Resources": functions}))
    of_dev(cloudformation, sam, Person()).deploy(named)
    [call] = sam.calls
    assert [word for word in call.split() if word.startswith("FormerNames")] == added


def test_a_preview_executes_nothing(cloudformation: Any, sam: Sam) -> None:
    made(cloudformation)
    of_dev(cloudformation, sam, None).deploy({"Tracing": "true"}, execute=False)
    [call] = sam.calls
    assert "--no-execute-changeset" in call.split()
    assert "--no-confirm-changeset" not in call.split()


@pytest.mark.parametrize("named", [{"Tracing": "yes"}, {"Colour": "blue"}])
def test_what_the_template_does_not_allow_is_told_before_anything_is_done(
    named: dict[str, str], cloudformation: Any, sam: Sam
) -> None:
    with pytest.raises(ValueError, match=next(iter(named))):
        of_dev(cloudformation, sam, None).deploy(named)
    assert sam.calls == []


def test_the_command_names_account_and_region_and_passes_the_exit_status_on(
    cloudformation: Any, sam: Sam, capsys: pytest.CaptureFixture[str]
) -> None:
    made(cloudformation)
    arguments = ["deploy", "--yes", "--sam", str(sam.path), "--parameters", "Tracing=true"]
    assert deployment.main(arguments) == 7
    assert f"{DEV}, in the AWS account 123456789012, eu-central-1" in capsys.readouterr().out
    assert sam.calls[0].endswith("--parameter-overrides Stage=dev Tracing=true")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)


def test_the_suite_finds_its_way_about_a_deployed_stack(cloudformation: Any) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "key_hash", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "key_hash", "KeyType": "HASH"}],
        },
    }
    outputs = {
        "ApiKeysTableName": {"Value": {"Ref": "ApiKeysTable"}},
        "Region": {"Value": {"Ref": "AWS::Region"}},
    }
    body = json.dumps({"Resources": {"ApiKeysTable": table}, "Outputs": outputs})
    cloudformation.create_stack(StackName=DEV, TemplateBody=body)
    stack = AnyStack(lambda: of_deployed(DEV))
    assert stack.deployed
    assert stack.account("acc_1").key.startswith("sc_live_")
    keys = stack.client("dynamodb").scan(TableName=stack.table("ApiKeysTable"))
    assert [item["account_id"]["S"] for item in keys["Items"]] == ["acc_1"]


def test_the_command_shows_its_progress_at_a_terminal() -> None:
    # In a process of its own: here the tests' settings have put the core on the path.
    script = (
        "import io; from ops.destroying import Progress; "
        "terminal = type('Terminal', (io.StringIO,), {'isatty': lambda self: True}); "
        "Progress(terminal()).tell('counting')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)


@pytest.mark.usefixtures("cloudformation")
def test_the_suite_says_once_that_there_is_no_such_stack(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(conftest, "NAMED", "no-such-stack")
    with pytest.raises(pytest.UsageError, match="the stack no-such-stack cannot be described"):
        conftest.pytest_collection_modifyitems(request.config, [])


@pytest.mark.usefixtures("cloudformation", "nobody")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["destroy"], "YES=1"),
        (["deploy"], "YES=1"),
        (["deploy", "--stage", "x"], "no stage x"),
        (["preview", "--parameters", "Tracing"], "Tracing is not of the form Name=value"),
        (["destroy", "--yes"], f"no stack {DEV}"),
        (["destroy", "--undo"], f"no stack {DEV}"),
    ],
)
def test_the_command_says_why_it_does_nothing(
    arguments: list[str], told: str, sam: Sam, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployment.main([*arguments, "--sam", str(sam.path)]) == 1
    assert told in capsys.readouterr().err
    assert sam.calls == []


@pytest.mark.parametrize("command", ["deploy", "preview", "destroy"])
def test_ctrl_c_before_the_question_is_no_traceback(
    command: str, sam: Sam, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deployment, "caller", interrupted)
    assert deployment.main([command, "--yes", "--sam", str(sam.path)]) == 130
    assert "Interrupted" in capsys.readouterr().err
    assert sam.calls == []


@pytest.mark.parametrize("command", ["deploy", "preview", "destroy"])
def test_without_credentials_nothing_is_done(
    command: str, sam: Sam, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(sam.path.parent / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert deployment.main([command, "--yes", "--sam", str(sam.path)]) == 1
    assert "Nothing was done: there are no AWS credentials" in capsys.readouterr().err
    assert sam.calls == []
