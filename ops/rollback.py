"""Takes a stage's stack back to a former release, or out of an update that failed.

::

    python -m ops.rollback --stage dev --ref v1.2.0 [--parameters "Name=value ..."] [--yes]
    python -m ops.rollback --stage dev
    python -m ops.rollback --stage dev --parts

With a tag or a commit, that release is built and deployed over the current one, with its own
template and `samconfig.toml`. Jobs whose state machine is not in that template are stopped, and
started again on the former machine; the sweep is disabled meanwhile. Without a release, an update
under way is cancelled, and a rollback that CloudFormation could not finish is continued. With
`--parts`, after a rollback, parts of messages that the former release rejected go back on the
events queue in the form that it reads.
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local import template
from ops import handover
from ops.closing import Openings
from ops.deployed import Deployed, description, parameters
from ops.deployment import SAM, DeploymentError, Stage, check_open, overrides, pairs, stage_of
from ops.destroying import INTERRUPTED
from ops.executions import Clock
from ops.former_parts import redrive_parts
from ops.outputs import NoStackError, of_deployed
from ops.redrive import stack_of
from ops.upgrade import changes
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_ROOT = Path(__file__).parent.parent
_FAILED = 1
_UNDER_WAY = "UPDATE_IN_PROGRESS"
_STUCK = "UPDATE_ROLLBACK_FAILED"
_SETTLED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})

AFTERWARDS = """\
Next steps:
  make rollback STAGE={stage} PARTS=1
      now, and again after a quarter of an hour: sends parts of messages again that the former
      release rejects, in the form that it reads
  make redrive STACK={stack}
      after 40 minutes: retries deliveries whose executions were interrupted. The former release's
      sweep retries them too, 500 in five minutes
docs/upgrading.md lists the other differences until the next update."""


def unpack(ref: str, directory: Path, root: Path = _ROOT) -> Path:
    """Write a release's files into a directory, return it. DeploymentError for an unknown ref."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", ref], cwd=root, capture_output=True, check=False
    )
    if packed.returncode:
        msg = f"there is no release {ref}: name a tag or a commit of this repository"
        raise DeploymentError(msg)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return directory


def _waiting(status: str) -> str:
    """Return the advice for a stack that another operation is changing."""
    changes = status.endswith("_IN_PROGRESS") and status != _UNDER_WAY
    return "wait until this has ended" if changes else ""


def refusals(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return the reasons why one template must not follow another, a sentence each."""
    return [change.sentence for change in changes(now, then) if change.refused]


def not_going_back(
    now: Mapping[str, Any], then: Mapping[str, Any], current: Mapping[str, str]
) -> Iterator[str]:
    """Yield the settings and resources that a rollback does not restore.

    `current` has the stack's parameters.
    """
    declared = then["Parameters"]
    for name in sorted(set(declared) - set(current)):
        yield f"{name} is {declared[name].get('Default')!r}, unless PARAMETERS names it"
    for name in sorted(set(current) - set(declared)):
        yield f"{name}={current[name]} is dropped: give it again at the next update"
    for name, resource in now["Resources"].items():
        if name not in then["Resources"] and str(resource.get("DeletionPolicy")).startswith("Re"):
            yield f"{name} ({resource['Type']}) leaves the stack, and stays in the AWS account"


@dataclass(frozen=True)
class Rollback:
    """The rollback of a stage's stack."""

    stage: Stage
    cloudformation: Any
    states: Any
    functions: Any
    events: Any
    sam: str
    ask: Callable[[str], str] | None
    tell: Callable[[str], None]
    outputs: Callable[[str], Mapping[str, str]] = of_deployed

    def recover(self) -> int:
        """Cancel the update under way, or continue a rollback that failed; return 0."""
        stack, status = self.stage.stack, self._stack()["StackStatus"]
        if status == _UNDER_WAY:
            self._confirm(f"An update of {stack} is under way. Cancel it?")
            self.cloudformation.cancel_update_stack(StackName=stack)
        elif status == _STUCK:
            for reason in self._failures():
                self.tell(f"  {reason}")
            self._confirm("The rollback of a failed update stopped there. Continue it?")
            self.cloudformation.continue_update_rollback(StackName=stack)
        else:
            named = "no update has failed. Name the release to return to: REF=..."
            msg = f"{stack} is {status}: {_waiting(status) or named}"
            raise DeploymentError(msg)
        self.cloudformation.get_waiter("stack_rollback_complete").wait(StackName=stack)
        self.tell(f"{stack} is as it was before the update.")
        return 0

    def send_parts(self, sqs: Any) -> int:
        """Send rejected parts of messages again, rewritten; return 1 if one was not sent."""
        stack = stack_of(self.outputs(self.stage.stack))
        source, destination = stack.events_dead_letter_queue_url, stack.events_queue_url
        return int("not sent" in redrive_parts(sqs, source, destination, self.tell))

    def deploy(self, ref: str, root: Path, named: Mapping[str, str]) -> int:
        """Deploy the release that is unpacked at `root`; return the SAM CLI's exit status."""
        described = self._stack()
        status = described["StackStatus"]
        if status not in _SETTLED:
            advice = _waiting(status) or "run this without REF first"
            msg = f"{self.stage.stack} is {status}: {advice}"
            raise DeploymentError(msg)
        check_open(self.stage, self._openings())
        now, then = template.read(), template.read(root / "template.yaml")
        refused = refusals(now, then)
        if refused:
            raise DeploymentError("; ".join(refused))
        going = handover.going(self.outputs(self.stage.stack), now, then)
        jobs = len(handover.running(self.states, going))
        self._explain(ref, now, then, parameters(described) | dict(named), jobs)
        template.insert_includes(root / "template.yaml")
        if self._run(root, "build"):
            msg = f"{ref} could not be built"
            raise DeploymentError(msg)
        self._confirm(f"Deploy {ref} over {self.stage.stack}?")
        going = handover.going(self.outputs(self.stage.stack), now, then)
        stopper = handover.Stopper(self.states, going, self.tell)
        try:
            with self._without_sweeps(going), stopper:
                status = self._run(root, *self._deployment(named))
            outputs = self.outputs(self.stage.stack)
            if status or handover.is_declined(outputs, then):
                self.tell("Nothing was rolled back. The sweep restarts the stopped jobs.")
                return status or _FAILED
            handover.begin(self.states, outputs, stopper.jobs)
        except (KeyboardInterrupt, NoStackError, BotoCoreError, ClientError) as error:
            self._tell_jobs(stopper.jobs, str(error) or "interrupted")
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED
        self.tell(AFTERWARDS.format(stage=self.stage.name, stack=self.stage.stack))
        return 0

    @contextmanager
    def _without_sweeps(self, going: Mapping[str, str]) -> Iterator[None]:
        """Disable the sweep during the rollback, and enable it again in any case.

        Otherwise it would restart the stopped jobs. If no state machine is deleted, the sweep is
        left as it is.
        """
        if not going:
            yield
            return
        try:
            self._openings().close_schedules()
            yield
        finally:
            self._open()

    def _open(self) -> None:
        """Enable the sweep of the current stack: the former release's has another name."""
        try:
            self._openings().open_schedules()
        except (KeyboardInterrupt, BotoCoreError, ClientError):
            self.tell(
                "The sweep may be disabled. To enable it:  make destroy"
                f" STAGE={self.stage.name} UNDO=1"
            )
            raise

    def _openings(self) -> Openings:
        deployed = Deployed.of(self.cloudformation, self.stage.stack)
        return Openings(self.functions, self.events, deployed, Clock(), self.tell)

    def _tell_jobs(self, jobs: Sequence[handover.RunningJob], reason: str) -> None:
        """List the jobs that were stopped and may not have been started again."""
        self.tell(
            f"The rollback did not end: {reason}. CloudFormation may continue the update. If not,"
            " the sweep restarts the stopped jobs. If it does, start them afterwards,"
            " and stop executions that block the deletion of a state machine:"
        )
        for job in jobs:
            self.tell(
                f"  aws stepfunctions start-execution --name {job.name} --input"
                f" {shlex.quote(json.dumps(job.state))} --state-machine-arn <{job.machine}Arn>"
            )
        self.tell(f"<...> is an output of {self.stage.stack}.")

    def _deployment(self, named: Mapping[str, str]) -> list[str]:
        options = ["deploy", "--config-env", self.stage.name]
        if not self.ask:
            options.append("--no-confirm-changeset")
        return options + overrides(self.stage, named)

    def _explain(
        self,
        ref: str,
        now: Mapping[str, Any],
        then: Mapping[str, Any],
        current: Mapping[str, str],
        jobs: int,
    ) -> None:
        self.tell(f"Returning to {ref}. The rollback does not restore:")
        for line in not_going_back(now, then, current):
            self.tell(f"  {line}")
        self.tell(f"Jobs under way, to be stopped and restarted: {jobs}.")
        self.tell(
            "Executions of waiting retries will fail within 35 minutes of their due time, and the"
            " former release's sweep will retry them. Nothing is lost."
        )

    def _stack(self) -> Mapping[str, Any]:
        found = description(self.cloudformation, self.stage.stack)
        if found is None:
            msg = f"there is no stack {self.stage.stack} in this account and region"
            raise DeploymentError(msg)
        return found

    def _failures(self) -> Iterator[str]:
        """Yield the reasons why the last rollback did not end, newest first."""
        events = self.cloudformation.describe_stack_events(StackName=self.stage.stack)
        for event in events["StackEvents"]:
            if event["ResourceStatus"] == _UNDER_WAY:
                return
            if event["ResourceStatus"] == "UPDATE_FAILED":
                yield f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"

    def _confirm(self, question: str) -> None:
        if self.ask and self.ask(f"{question} [y/N]: ").strip().lower() not in {"y", "yes"}:
            msg = "it was not confirmed"
            raise DeploymentError(msg)

    def _run(self, directory: Path, *words: str) -> int:
        return subprocess.run([self.sam, *words], cwd=directory, check=False).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = _parser().parse_args(arguments)

    ask = None if options.yes or not sys.stdin.isatty() else input
    try:
        if ask is None and not options.yes:
            msg = "there is no terminal to confirm it: set YES=1"
            raise DeploymentError(msg)
        rollback = Rollback(
            stage_of(options.stage),
            boto3.client("cloudformation"),
            boto3.client("stepfunctions"),
            boto3.client("lambda"),
            boto3.client("events"),
            options.sam,
            ask,
            print,
        )
        if options.parts:
            return rollback.send_parts(boto3.client("sqs"))
        if not options.ref:
            return rollback.recover()
        with tempfile.TemporaryDirectory() as directory:
            root = unpack(options.ref, Path(directory))
            return rollback.deploy(options.ref, root, pairs(shlex.split(options.parameters)))
    except (
        DeploymentError,
        NoStackError,
        UnavailableError,
        ValueError,
        BotoCoreError,
        ClientError,
    ) as error:
        print(f"It was not rolled back: {str(error).rstrip('.')}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "Interrupted. CloudFormation continues the operation that it has begun.",
            file=sys.stderr,
        )
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops.rollback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", default="dev", help="an environment of samconfig.toml")
    parser.add_argument("--ref", help="the release to deploy: a tag or a commit")
    parser.add_argument("--parts", action="store_true", help="send rejected parts again")
    parser.add_argument(
        "--parameters", default="", help="the release's parameters, in the form Name=value"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--sam", default=str(SAM), help="the SAM CLI")
    return parser


if __name__ == "__main__":
    sys.exit(main())
