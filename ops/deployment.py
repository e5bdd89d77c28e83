"""Deploys a stage's stack, previews the changes, or deletes the stack, through the SAM CLI.

::

    python -m ops.deployment deploy --stage dev [--parameters "Name=value ..."] [--yes]
    python -m ops.deployment preview --stage dev [--parameters "Name=value ..."]
    python -m ops.deployment destroy --stage dev [--yes] [--undo]

A stage is an environment of `samconfig.toml`. The first deployment asks for parameters without a
good default. CloudFormation remembers them, so later deployments change only the named ones.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import template
from ops import destroying
from ops.credentials import CredentialsError, caller
from ops.deployed import description
from ops.destroying import NotDestroyedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ops.closing import Openings

_ROOT = Path(__file__).parent.parent
SAM = _ROOT / ".venv-sam" / "bin" / "sam"

ASKED = ("Alarms", "AlarmEmail", "ConnectSes", "DomainName")
"""Parameters that a first deployment asks for: each depends on the operator, not on taste."""

ASKED_WITH_A_DOMAIN = ("CertificateArn", "HostedZoneId")


class DeploymentError(Exception):
    """The command cannot continue; the message says what to do."""


@dataclass(frozen=True)
class Stage:
    """An environment of `samconfig.toml`: its stack, and the parameters in the file."""

    name: str
    stack: str
    parameters: Mapping[str, str]


def stage_of(name: str, file: Path = _ROOT / "samconfig.toml") -> Stage:
    """Read a stage. Raises DeploymentError if the file does not have it."""
    environments = tomllib.loads(file.read_text(encoding="utf-8"))
    try:
        settings = environments[name]["deploy"]["parameters"]
    except KeyError as error:
        named = ", ".join(one for one in environments if one not in {"version", "default"})
        msg = f"{file.name} has no stage {name}; it has {named}"
        raise DeploymentError(msg) from error
    return Stage(name, settings["stack_name"], pairs(settings.get("parameter_overrides", [])))


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Read texts of the form `Name=value`. Raises DeploymentError for any other form."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            msg = f"{text} is not of the form Name=value"
            raise DeploymentError(msg)
        found[name] = value
    return found


def check_open(stage: Stage, openings: Openings) -> None:
    """Raise DeploymentError for a stack with a closed part, which no deployment opens."""
    closed = openings.closed()
    if closed:
        msg = (
            f"{stage.stack} is closed, for example by an interrupted deletion: "
            f"{', '.join(closed)}. A deployment does not open it, so nothing would run. "
            f"Open it first: make destroy STAGE={stage.name} UNDO=1"
        )
        raise DeploymentError(msg)


def overrides(stage: Stage, named: Mapping[str, str]) -> list[str]:
    """Return the SAM CLI's option for named parameters, together with the stage's own.

    The option replaces all parameters of samconfig.toml, so it repeats those too.
    """
    if not named:
        return []
    merged = {**stage.parameters, **named}
    return ["--parameter-overrides", *(_override(*pair) for pair in merged.items())]


def _override(name: str, value: str) -> str:
    """Write a parameter for the SAM CLI, which needs quotes around an empty value."""
    return f"{name}={value}" if value else f'{name}=""'


def is_former(cloudformation: Any, stack: str) -> bool:
    """Return whether a stack is of the former release, whose worker has another name."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    names = {one["LogicalResourceId"] for page in pages for one in page["StackResourceSummaries"]}
    return "RetrierFunction" in names and "WorkerFunction" not in names


def asked(
    ask: Callable[[str], str], tell: Callable[[str], None], given: Mapping[str, str]
) -> dict[str, str]:
    """Ask for the parameters of a first deployment; return the changed ones.

    Parameters in `given` are not asked for. Nor is the alarms' address if the stack has no topic
    for it.
    """
    chosen: dict[str, str] = {}
    for name in ASKED:
        no_topic = given.get("AlarmTopicArn") or {**given, **chosen}.get("Alarms") == "false"
        if name not in given and not (name == "AlarmEmail" and no_topic):
            _ask(name, chosen, ask, tell)
    if "DomainName" in chosen:
        for name in ASKED_WITH_A_DOMAIN:
            _ask(name, chosen, ask, tell)
    return chosen


def _ask(
    name: str, chosen: dict[str, str], ask: Callable[[str], str], tell: Callable[[str], None]
) -> None:
    parameter = template.read()["Parameters"][name]
    tell(f"\n{parameter['Description']}")
    while True:
        answer = ask(f"{name} [{parameter['Default'] or 'none'}]: ").strip()
        if not answer:
            return
        try:
            template.check_parameters({name: answer})
        except ValueError as error:
            tell(f"{error}.")
            continue
        chosen[name] = answer
        return


@dataclass(frozen=True)
class Deployment:
    """A stage's stack in the session's AWS account, and the SAM CLI that changes it."""

    stage: Stage
    cloudformation: Any
    sam: str
    ask: Callable[[str], str] | None
    tell: Callable[[str], None]
    """`ask` is None if no person can answer."""

    def deploy(self, named: Mapping[str, str], *, execute: bool = True) -> int:
        """Create or change the stack, or show the changes; return the SAM CLI's exit status."""
        template.check_parameters(named)
        chosen = dict(named)
        if not description(self.cloudformation, self.stage.stack):
            self.tell(f"{self.stage.stack} is new.")
            if self.ask:
                given = {**self.stage.parameters, **named}
                chosen = asked(self.ask, self.tell, given) | chosen
        elif "FormerNames" not in chosen and is_former(self.cloudformation, self.stage.stack):
            self.tell(
                "The stack is of the former release. FormerNames=true keeps its open executions "
                "working."
            )
            chosen["FormerNames"] = "true"
        options = [] if execute else ["--no-execute-changeset"]
        if execute and not self.ask:
            options.append("--no-confirm-changeset")
        return self._sam("deploy", *options, *overrides(self.stage, chosen))

    def delete(self) -> int:
        """Delete the stack; return the SAM CLI's exit status."""
        return self._sam("delete", "--stack-name", self.stage.stack, "--no-prompts")

    def _sam(self, command: str, *options: str) -> int:
        words = [self.sam, command, "--config-env", self.stage.name, *options]
        return subprocess.run(words, cwd=_ROOT, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)
    ask = None if options.yes or not sys.stdin.isatty() else input
    try:
        stage = stage_of(options.stage)
        named = pairs(shlex.split(options.parameters))
        who = caller()
        cloudformation = boto3.client("cloudformation")
        print(f"{stage.stack}, in the AWS account {who.account}, {who.region}", flush=True)
        deployment = Deployment(stage, cloudformation, options.sam, ask, print)
        if ask is None and not (options.yes or options.undo or options.command == "preview"):
            msg = "there is no terminal to confirm it: set YES=1"
            raise DeploymentError(msg)
        if options.command == "destroy":
            return destroying.command(
                stage.stack,
                ask=ask,
                delete=deployment.delete,
                again=f"make destroy STAGE={stage.name}",
                undo=options.undo,
            )
        return deployment.deploy(named, execute=options.command == "deploy")
    except (
        CredentialsError,
        DeploymentError,
        NotDestroyedError,
        ValueError,
        BotoCoreError,
        ClientError,
    ) as error:
        print(f"Nothing was done: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Interrupted. CloudFormation continues the operation that it has begun.",
            file=sys.stderr,
        )
        return destroying.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.deployment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["deploy", "preview", "destroy"])
    parser.add_argument("--stage", default="dev", help="an environment of samconfig.toml")
    parser.add_argument(
        "--parameters", default="", help="parameters to change, in the form Name=value"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument(
        "--undo",
        action="store_true",
        help="open a stack again that an interrupted destroy has closed",
    )
    parser.add_argument("--sam", default=str(SAM), help="the SAM CLI")
    return parser


if __name__ == "__main__":
    sys.exit(main())
