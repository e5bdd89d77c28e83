"""The checks before a build: the account, the name, the region, the quotas."""

from __future__ import annotations

import json
import re
import subprocess
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from local import template
from ops import preflight
from ops.credentials import Caller
from ops.deployment import DeploymentError, Stage
from ops.preflight import (
    MOST_NAME,
    REGIONAL,
    check_international_name,
    check_places,
    check_services,
    parameters_of,
)
from ops.quotas import Shortfall
from support.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

DEV = "sendcomms-webhooks-dev"
SMALL = Shortfall("lambda", "L-1", "Lambda, functions", 10, 70, "Few.", 1000)
HOPELESS = Shortfall("lambda", "L-1", "Lambda, functions", 1, 70, "None.", 1000, fatal=True)


READ = cache(template.read)


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The template is parsed once, which takes longer than all the rest.
    monkeypatch.setattr(template, "read", lambda: deepcopy(READ()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield


@pytest.fixture
def quotas(monkeypatch: pytest.MonkeyPatch) -> list[Shortfall]:
    """The account's shortfalls, for the test to fill."""
    found: list[Shortfall] = []
    monkeypatch.setattr(preflight, "shortfalls", lambda *_asked: found)
    return found


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Put a person at the terminal who gives this answer; returns the questions."""
    left, asked = list(answers), []

    def ask(question: str) -> str:
        asked.append(question)
        return left.pop(0)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", ask)
    return asked


def defaults() -> dict[str, str]:
    declared = template.read()["Parameters"]
    return {name: str(one["Default"]) for name, one in declared.items()}


def test_a_stacks_name_is_one_that_all_its_resources_can_have() -> None:
    for name in ("a", DEV, "A-1", "x" * MOST_NAME):
        check_international_name(name)
    for name in ("1a", "-a", "a_b", "a.b", "", "ä", "a\n"):
        with pytest.raises(DeploymentError, match="letters, digits and hyphens"):
            check_international_name(name)
    with pytest.raises(DeploymentError, match="has 60 characters; the maximum is 59"):
        check_international_name("x" * (MOST_NAME + 1))


def test_the_longest_name_leaves_room_for_the_former_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # "Step Functions service quotas": names of state machines have 80 characters.
    assert MOST_NAME + len("-RecoveryStateMachine") == 80
    monkeypatch.undo()
    machines = template.of_type(template.load(), "AWS::StepFunctions::StateMachine")
    name = machines["RecoveryStateMachine"]["Properties"]["StateMachineName"]["Fn::Sub"]
    assert name == "${AWS::StackName}-RecoveryStateMachine"


def test_parameters_are_the_templates_the_stacks_the_stages_and_the_named() -> None:
    cloudformation = boto3.client("cloudformation")
    stage = Stage("dev", DEV, {"Stage": "dev", "ApiBurst": "30"})
    fresh = parameters_of(stage, {"ApiRate": "40"}, cloudformation)
    assert fresh == defaults() | {"Stage": "dev", "ApiBurst": "30", "ApiRate": "40"}
    body = {
        "Parameters": {
            name: {"Type": "String"} for name in ("ApiRate", "ApiBurst", "DispatcherConcurrency")
        },
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
    }
    cloudformation.create_stack(
        StackName=DEV,
        TemplateBody=json.dumps(body),
        Parameters=[{"ParameterKey": name, "ParameterValue": "7"} for name in body["Parameters"]],
    )
    found = parameters_of(stage, {"ApiRate": "40"}, cloudformation)
    assert found == fresh | {"DispatcherConcurrency": "7"}


def caller_in(region: str, partition: str = "aws") -> Caller:
    return Caller("123456789012", f"arn:{partition}:iam::123456789012:user/me", region)


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_region_has_all_that_every_stack_needs(region: str, partition: str) -> None:
    check_services(boto3.Session(), caller_in(region, partition), defaults(), "dev")


def test_a_region_without_ses_takes_a_stack_that_is_not_connected_to_it() -> None:
    connected = defaults() | {"ConnectSes": "true"}
    check_services(boto3.Session(), caller_in("eu-central-1"), connected, "dev")
    with pytest.raises(DeploymentError, match=r'not have Amazon SES: .*"ConnectSes=false"'):
        check_services(boto3.Session(), caller_in("cn-north-1", "aws-cn"), connected, "dev")


def test_a_region_without_http_apis_is_refused_and_an_unknown_one_is_not() -> None:
    lacking = caller_in("us-isof-south-1", "aws-iso-f")
    with pytest.raises(DeploymentError, match="does not have API Gateway's HTTP APIs"):
        check_services(boto3.Session(), lacking, defaults(), "dev")
    check_services(boto3.Session(), caller_in("eu-new-1"), defaults(), "dev")


@pytest.mark.parametrize("name", REGIONAL)
def test_an_arn_of_another_region_or_partition_is_refused(name: str) -> None:
    for partition, region in (("aws", "us-east-1"), ("aws-cn", "eu-central-1")):
        elsewhere = defaults() | {name: f"arn:{partition}:sns:{region}:123456789012:x"}
        with pytest.raises(DeploymentError, match=f"{name}=.* is not in eu-central-1"):
            check_places(caller_in("eu-central-1"), elsewhere)
    here = defaults() | {name: "arn:aws:sns:eu-central-1:123456789012:x"}
    check_places(caller_in("eu-central-1"), here)


def test_a_preview_refuses_a_topic_of_another_region(
    quotas: list[Shortfall], capsys: pytest.CaptureFixture[str]
) -> None:
    topic = "AlarmTopicArn=arn:aws:sns:us-east-1:123456789012:x"
    assert preflight.main(["preview", "--parameters", topic]) == 1
    assert f"Nothing was done: {topic} is not in eu-central-1" in capsys.readouterr().err


def test_every_parameter_with_an_arn_is_looked_at() -> None:
    assert {name for name in defaults() if name.endswith("Arn")} == set(REGIONAL)


def test_a_preview_looks_and_asks_nothing(
    quotas: list[Shortfall], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quotas.append(SMALL)
    asked = answering(monkeypatch)
    assert preflight.main(["preview"]) == 0
    told = capsys.readouterr().out
    assert f"{DEV}, in the AWS account 123456789012, eu-central-1" in told
    assert "Lambda, functions: 10, and 70 needed." in told
    assert asked == []


@pytest.mark.parametrize(("answer", "status"), [(" Yes ", 0), ("", 1), ("n", 1)])
def test_quotas_that_are_too_small_are_a_question(
    answer: str, status: int, quotas: list[Shortfall], monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas.append(SMALL)
    asked = answering(monkeypatch, answer)
    assert preflight.main(["deploy"]) == status
    assert asked == ["\nDeploy anyway? [y/N]: "]


def test_who_ends_the_input_has_not_said_yes(
    quotas: list[Shortfall], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_question: str) -> str:
        raise EOFError

    quotas.append(SMALL)
    answering(monkeypatch)
    monkeypatch.setattr("builtins.input", ended)
    assert preflight.main(["deploy"]) == 1


def test_where_nothing_is_too_small_nothing_is_asked(
    quotas: list[Shortfall], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert quotas == []
    assert answering(monkeypatch) == []
    assert preflight.main(["deploy"]) == 0


def test_with_yes_it_says_what_is_too_small_and_goes_on(
    quotas: list[Shortfall], capsys: pytest.CaptureFixture[str]
) -> None:
    quotas.append(SMALL)
    assert preflight.main(["deploy", "--yes"]) == 0
    assert "70 needed" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["deploy", "preview"])
def test_a_stack_that_could_not_work_is_refused(
    command: str, quotas: list[Shortfall], capsys: pytest.CaptureFixture[str]
) -> None:
    quotas.append(HOPELESS)
    assert preflight.main([command, "--yes"]) == 1
    captured = capsys.readouterr()
    assert "request-service-quota-increase" in captured.out
    assert "request higher ones first" in captured.err


@pytest.mark.usefixtures("quotas")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["deploy"], "YES=1"),
        (["deploy", "--yes", "--stage", "x"], "no stage x"),
        (["preview", "--parameters", "Tracing"], "Tracing is not of the form Name=value"),
        (["preview", "--parameters", "Tracing=perhaps"], "Tracing must be one of"),
        (["preview", "--parameters", "ApiRate=many"], "ApiRate must be a number"),
        (["preview", "--parameters", "DispatcherConcurrency=1"], "must be 2 to 1,000"),
        (["preview", "--parameters", "ApiBurst=5001"], "must be 1 to 5,000"),
        (["preview", "--parameters", "AlarmEmail=ops"], "AlarmEmail must be an email address"),
        (["preview", "--parameters", "DomainName=a.example.com"], "needs CertificateArn"),
        (["preview", "--parameters", "Alarms=false AlarmEmail=a@example.com"], "both empty."),
    ],
)
def test_it_says_why_nothing_is_built(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert preflight.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("Nothing was done: ")
    assert told in error


@pytest.mark.usefixtures("quotas")
def test_a_rule_is_held_against_what_cloudformation_remembers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    remembered = {"AlarmEmail": "ops@example.com", "NoLongerInTheTemplate": "x"}
    boto3.client("cloudformation").create_stack(
        StackName=DEV,
        TemplateBody=json.dumps(
            {
                "Parameters": {name: {"Type": "String"} for name in remembered},
                "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            }
        ),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in remembered.items()],
    )
    assert preflight.main(["preview", "--parameters", "Alarms=false"]) == 1
    assert "Alarms=false leaves nothing for AlarmEmail" in capsys.readouterr().err
    assert preflight.main(["preview", "--parameters", "Alarms=false AlarmEmail="]) == 0


@pytest.mark.usefixtures("quotas")
def test_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preflight, "caller", interrupted)
    assert preflight.main(["deploy", "--yes"]) == 130
    assert capsys.readouterr().err == "Nothing was done: it was interrupted.\n"


def test_a_name_that_is_too_long_is_refused_before_aws_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "stage_of", lambda name: Stage(name, "x" * 60, {}))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert preflight.main(["deploy", "--yes"]) == 1
    assert "the maximum is 59" in capsys.readouterr().err


def test_without_permission_to_describe_the_stack_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(*_asked: Any) -> None:
        raise boto3.client("cloudformation").exceptions.ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "DescribeStacks"
        )

    monkeypatch.setattr(preflight, "_remembered", denied)
    assert preflight.main(["deploy", "--yes"]) == 1
    assert "DescribeStacks" in capsys.readouterr().err


def test_make_looks_first_builds_then_and_deploys_at_last() -> None:
    for target in ("deploy", "preview"):
        run = subprocess.run(
            ["make", "--dry-run", target, "PARAMETERS=ApiRate=7", "YES=1"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        steps = [
            match[0]
            for line in run.stdout.splitlines()
            if (
                match := re.search(
                    rf"ops\.preflight {target} .*|sam build|ops\.deployment .*", line
                )
            )
        ]
        looked, built, deployed = steps
        assert looked == f'ops.preflight {target} --stage "dev" --parameters "ApiRate=7" --yes'
        assert built == "sam build"
        assert deployed.startswith(f"ops.deployment {target} ")
