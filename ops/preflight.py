"""Checks for everything that can stop a deployment, before the build, which takes a minute.

::

    python -m ops.preflight deploy --stage dev [--parameters "Name=value ..."] [--yes]
    python -m ops.preflight preview --stage dev [--parameters "Name=value ..."]

Prints the account and the region, then checks parameters, the stack's name, the region's services,
ARNs of another region, whether the stack is open, and the account's quotas. Before a deployment,
quotas that are too small lead to a question, not to a refusal.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import template
from ops.closing import Openings
from ops.credentials import CredentialsError, caller
from ops.deployed import Deployed, description
from ops.deployed import parameters as parameters_in
from ops.deployment import DeploymentError, check_open, pairs, stage_of
from ops.destroying import INTERRUPTED
from ops.executions import Clock
from ops.quotas import shortfalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ops.credentials import Caller
    from ops.deployment import Stage
    from ops.quotas import Shortfall

MOST_NAME = 59
"""A state machine's name has at most 80 characters ("Step Functions service quotas"). The names in
the template begin with the stack's; the longest ending is `-RecoveryStateMachine`.
"""

SERVICES = {
    "apigatewayv2": "API Gateway's HTTP APIs",
    "cloudwatch": "CloudWatch",
    "dynamodb": "DynamoDB",
    "events": "EventBridge",
    "kms": "KMS",
    "lambda": "Lambda",
    "logs": "CloudWatch Logs",
    "sns": "SNS",
    "sqs": "SQS",
    "stepfunctions": "Step Functions",
}
"""The services that every stack needs, by boto3's names."""

REGIONAL = ("AlarmTopicArn", "CertificateArn", "OperationalEventsTopicArn")
"""Parameters that are empty, or the ARN of a resource in the stack's region."""


def check_international_name(stack: str) -> None:
    """Raise DeploymentError for a name that the stack or its resources cannot have."""
    if len(stack) > MOST_NAME:
        msg = (
            f"the stack's name {stack} has {len(stack)} characters; the maximum is {MOST_NAME}, "
            "because its state machines are named after it. "
            "Give it a shorter stack_name in samconfig.toml"
        )
        raise DeploymentError(msg)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", stack):
        msg = (
            f"the stack's name {stack} is invalid in CloudFormation: it must begin with a letter "
            "and have letters, digits and hyphens only. Change stack_name in samconfig.toml"
        )
        raise DeploymentError(msg)


def check_services(
    session: boto3.Session, who: Caller, parameters: Mapping[str, str], stage: str
) -> None:
    """Raise DeploymentError for a region that, according to boto3, lacks a needed service."""

    def lacks(service: str) -> bool:
        return who.region not in session.get_available_regions(service, who.partition)

    if lacks("cloudformation"):
        return  # Newer than boto3's list.
    missing = [name for service, name in SERVICES.items() if lacks(service)]
    if missing:
        msg = f"{who.region} does not have {', '.join(missing)}: choose another region"
        raise DeploymentError(msg)
    if parameters["ConnectSes"] == "true" and lacks("sesv2"):
        msg = (
            f"{who.region} does not have Amazon SES: choose another region, or run "
            f'make deploy STAGE={stage} PARAMETERS="ConnectSes=false"'
        )
        raise DeploymentError(msg)


def check_places(who: Caller, parameters: Mapping[str, str]) -> None:
    """Raise DeploymentError for an ARN that the stack cannot use from its partition and region.

    Alarms, rules and an API's domain accept only resources of their own region.
    """
    for name in REGIONAL:
        arn = parameters[name]
        if arn and (arn.split(":")[1], arn.split(":")[3]) != (who.partition, who.region):
            msg = f"{name}={arn} is not in {who.region}, the stack's region: name a resource in it"
            raise DeploymentError(msg)


def check_stack(session: boto3.Session, stage: Stage) -> None:
    """Raise DeploymentError for an existing stack that is closed."""
    cloudformation = session.client("cloudformation")
    if description(cloudformation, stage.stack):
        deployed = Deployed.of(cloudformation, stage.stack)
        functions, events = session.client("lambda"), session.client("events")
        check_open(stage, Openings(functions, events, deployed, Clock(), print))


def parameters_of(stage: Stage, named: Mapping[str, str], cloudformation: Any) -> dict[str, str]:
    """Return the value that each parameter of the template will have.

    Later sources take precedence: the template's defaults, CloudFormation's values of the existing
    stack, the stage's own in `samconfig.toml`, and `named`.
    """
    declared = template.read()["Parameters"]
    defaults = {name: str(parameter["Default"]) for name, parameter in declared.items()}
    return {**defaults, **_remembered(stage.stack, cloudformation), **stage.parameters, **named}


def _remembered(stack: str, cloudformation: Any) -> dict[str, str]:
    return parameters_in(description(cloudformation, stack) or {})


def report(
    found: Sequence[Shortfall], who: Caller, stage: str, tell: Callable[[str], None]
) -> None:
    """Print quotas that are too small. Raises DeploymentError if the stack could not work."""
    for shortfall in found:
        tell("\n" + "\n".join(shortfall.lines(who.partition, who.region, stage)))
    if any(shortfall.fatal for shortfall in found):
        msg = "the stack would not work with these quotas: request higher ones first"
        raise DeploymentError(msg)


def confirm(ask: Callable[[str], str]) -> None:
    """Raise DeploymentError unless the response is yes."""
    try:
        answer = ask("\nDeploy anyway? [y/N]: ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        msg = "raise the quotas, or change the parameters"
        raise DeploymentError(msg)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, and ask if there is a question; return the exit status."""
    options = _parser().parse_args(arguments)
    deploys = options.command == "deploy"
    ask = None if options.yes or not sys.stdin.isatty() else input
    try:
        stage = stage_of(options.stage)
        named = pairs(shlex.split(options.parameters))
        template.check_parameters(named)
        check_international_name(stage.stack)
        who = caller()
        print(f"{stage.stack}, in the AWS account {who.account}, {who.region}", flush=True)
        if deploys and ask is None and not options.yes:
            msg = "there is no terminal to confirm it: set YES=1"
            raise DeploymentError(msg)
        session = boto3.Session()
        parameters = parameters_of(stage, named, session.client("cloudformation"))
        template.check_rules(parameters)
        check_services(session, who, parameters, stage.name)
        check_places(who, parameters)
        if deploys:
            check_stack(session, stage)
        found = shortfalls(session, parameters, print)
        report(found, who, stage.name, print)
        if found and deploys and ask:
            confirm(ask)
    except (CredentialsError, DeploymentError, ValueError, BotoCoreError, ClientError) as error:
        print(f"Nothing was done: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Nothing was done: it was interrupted.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.preflight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["deploy", "preview"])
    parser.add_argument("--stage", default="dev", help="an environment of samconfig.toml")
    parser.add_argument(
        "--parameters", default="", help="parameters to change, in the form Name=value"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
