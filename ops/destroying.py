"""Deletes a stack whose state machines may have executions that wait for up to a day.

CloudFormation waits for each execution, gives up after an hour, and keeps the stack's name taken.
Therefore the parts that start executions are closed first, then the executions are stopped, then
the stack is deleted. Each step can be repeated: an interrupted run can be continued or undone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.progress import Progress
from ops import unsent
from ops.closing import NotSettledError, Openings
from ops.deployed import Deployed, description, unless_gone
from ops.executions import (
    LOOK_SECONDS,
    THREADS,
    Clock,
    Count,
    Executions,
    RequestQuota,
    duration,
    standard,
    stop_quota,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUIET_SECONDS = 70.0
"""How long to look for executions after the last function was closed: the longest time-out of a
function, and some seconds until the executions that it started are listed.
"""

MOST_OPEN = 1_000_000
"""The default quota of open executions of an AWS account in a region."""

INTERRUPTED = 130
"""The exit status after Ctrl-C."""

_RETRIES = "RetryStateMachine"
_DELIVERIES = "DeliveriesTable"
_TABLE = "AWS::DynamoDB::Table"
_LONG_SECONDS = 3600.0
_FAILED = 1


class NotDestroyedError(Exception):
    """The stack cannot be deleted now, and nothing was changed; the message says what to do."""


@dataclass(frozen=True)
class Clients:
    """The AWS clients for deleting a stack."""

    cloudformation: Any
    states: Any
    functions: Any
    events: Any
    sqs: Any
    dynamodb: Any

    @classmethod
    def of(cls, session: Any) -> Clients:
        """Create the clients; a throttled request is sent up to ten times."""
        config = Config(
            max_pool_connections=THREADS, retries={"mode": "standard", "max_attempts": 10}
        )
        names = ("cloudformation", "stepfunctions", "lambda", "events", "sqs", "dynamodb")
        return cls(*(session.client(name, config=config) for name in names))


@dataclass(frozen=True)
class Destruction:
    """The deletion of one stack.

    Without `ask` no confirmation is needed. `tell` prints events, `progress` the progress. `delete`
    deletes the stack once nothing in it runs, and returns an exit status.
    """

    stack: str
    region: str
    clients: Clients
    ask: Callable[[str], str] | None
    tell: Callable[[str], None]
    progress: Callable[[str], None]
    delete: Callable[[], int]
    again: str = "make destroy"
    """The command that continues an interrupted deletion."""
    clock: Clock = field(default_factory=Clock)

    def destroy(self) -> int:
        """Delete the stack after its name was typed; return the exit status.

        Raises NotDestroyedError, BotoCoreError or ClientError as long as nothing has changed.
        """
        try:
            deployed, executions = self._asked()
        except (KeyboardInterrupt, EOFError) as error:
            msg = "it was interrupted"
            raise NotDestroyedError(msg) from error
        try:
            self._stop(deployed, executions)
            self.tell(f"Deleting {self.stack}, in which nothing runs now")
            status = self.delete()
        except (KeyboardInterrupt, NotSettledError, BotoCoreError, ClientError) as error:
            self._tell_how_to_go_on(_reason(error))
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED
        if status:
            self._tell_how_to_go_on(f"the SAM CLI ended with {status}")
        return status

    def _asked(self) -> tuple[Deployed, Executions]:
        """Show what will be deleted and ask for the name; return the resources and executions."""
        self._check()
        deployed = Deployed.of(self.clients.cloudformation, self.stack)
        self._check_tables(deployed)
        executions = self._executions(deployed)
        self.progress("counting what is running")
        self._tell_what_ends(deployed, executions.count())
        if self.ask and self.ask("Type the stack's name to delete it: ") != self.stack:
            msg = "that is not the stack's name"
            raise NotDestroyedError(msg)
        return deployed, executions

    def undo(self) -> int:
        """Open a stack again that an interrupted run has closed; return the exit status.

        Raises NotDestroyedError, BotoCoreError or ClientError as long as nothing has changed.
        """
        status = self._described()["StackStatus"]
        if status.startswith("DELETE_"):
            msg = f"{self.stack} is {status}, which cannot be undone"
            raise NotDestroyedError(msg)
        deployed = Deployed.of(self.clients.cloudformation, self.stack)
        try:
            self._openings(deployed).open()
        except (KeyboardInterrupt, NotSettledError, BotoCoreError, ClientError) as error:
            self.tell(
                f"{self.stack} is only partly open: {_reason(error)}. "
                f"To continue:  {self.again} UNDO=1"
            )
            return INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED
        self.tell(
            f"{self.stack} is open. Its next sweeps start stopped retries and jobs again, a few "
            "minutes after they were due. Stopped resends must be requested again."
        )
        return 0

    def _described(self) -> Mapping[str, Any]:
        described = description(self.clients.cloudformation, self.stack)
        if described is None:
            msg = f"there is no stack {self.stack} in this account and region"
            raise NotDestroyedError(msg)
        return described

    def _check(self) -> None:
        """Raise NotDestroyedError if CloudFormation would refuse to delete the stack."""
        described = self._described()
        status = described["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "DELETE_IN_PROGRESS":
            msg = f"{self.stack} is {status}: wait until this has ended"
            raise NotDestroyedError(msg)
        if described.get("EnableTerminationProtection"):
            msg = (
                f"{self.stack} has termination protection: disable it first, with aws "
                "cloudformation update-termination-protection --no-enable-termination-protection "
                f"--stack-name {self.stack}"
            )
            raise NotDestroyedError(msg)

    def _check_tables(self, deployed: Deployed) -> None:
        """Raise NotDestroyedError if a table of the stack has deletion protection."""
        kept = deployed.kept()
        going = [table for name, table in deployed.of_type(_TABLE).items() if name not in kept]
        for table in going:
            with unless_gone():
                described = self.clients.dynamodb.describe_table(TableName=table)["Table"]
                if described.get("DeletionProtectionEnabled"):
                    msg = (
                        f"{table} has deletion protection: disable it first, with aws dynamodb "
                        f"update-table --no-deletion-protection-enabled --table-name {table}"
                    )
                    raise NotDestroyedError(msg)

    def _executions(self, deployed: Deployed) -> Executions:
        """Return the stack's executions; jobs come first, because jobs start retries."""
        machines = deployed.of_type("AWS::StepFunctions::StateMachine")
        ordered = {
            name: machines[name] for name in sorted(machines, key=lambda name: name == _RETRIES)
        }
        found = standard(self.clients.states, ordered)
        quota = stop_quota(self.region)
        return Executions(self.clients.states, found, quota, self.clock, self.progress)

    def _openings(self, deployed: Deployed) -> Openings:
        return Openings(
            self.clients.functions, self.clients.events, deployed, self.clock, self.tell
        )

    def _stop(self, deployed: Deployed, executions: Executions) -> None:
        """Close the stack and stop its executions; return when no execution can begin."""
        openings = self._openings(deployed)
        openings.close()
        # The worker stays open until here, so retries that fall due meanwhile are delivered.
        executions.stop()
        openings.close_functions()
        if not executions.machines:
            return
        self.progress("waiting for the last invocations to end")
        quiet_at = self.clock.now() + QUIET_SECONDS
        while executions.stop() or self.clock.now() < quiet_at:
            self.clock.sleep(LOOK_SECONDS)

    def _tell_what_ends(self, deployed: Deployed, counts: Mapping[str, Count]) -> None:
        table = deployed.of_type(_TABLE).get(_DELIVERIES)
        queues = deployed.of_type("AWS::SQS::Queue").values()
        running = sum(counts.values(), Count(0))
        ending = {
            "deliveries unsent, retrying or waiting": _counted(
                lambda: unsent.deliveries(self.clients.dynamodb, table) if table else Count(0)
            ),
            "jobs running: recoveries, replays, erasures, checks": sum(
                (count for name, count in counts.items() if name != _RETRIES), Count(0)
            ),
            "executions running, those of jobs included": running,
            "messages in the queues": _counted(lambda: unsent.messages(self.clients.sqs, queues)),
        }
        self.tell(f"{self.stack} will be deleted, with its queues and its logs. This ends:")
        for name, count in ending.items():
            self.tell(f"  {name:<52} {count}")
        self.tell("These resources stay:")
        for logical_id, physical_id in sorted(deployed.kept().items()):
            self.tell(f"  {logical_id}  {physical_id}")
        self.tell(
            "They are billed until you delete them by hand: the tables first, their key last."
        )
        self.tell(_how_long(running, stop_quota(self.region)))

    def _tell_how_to_go_on(self, reason: str) -> None:
        self.tell(
            f"{self.stack} is not deleted: {reason}. It may be closed for events and calls.\n"
            f"To continue:  {self.again}\n"
            f"To undo, unless CloudFormation has begun to delete it:  {self.again} UNDO=1"
        )


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)


def _counted(count: Callable[[], Count]) -> Count | str:
    """Return a count, or the reason why there is none: the count is only information."""
    try:
        return count()
    except ClientError as error:
        return f"unknown ({error.response['Error']['Code']})"


def _how_long(running: Count, quota: RequestQuota) -> str:
    """Return how long stopping takes, by the rate that Step Functions allows in the region."""
    seconds = quota.seconds(running.number)
    text = (
        f"Calls to the API fail from the start. Stopping the executions takes "
        f"{'about' if running.complete else 'at least'} {duration(seconds)}, at {quota.per_second} "
        f"per second after the first {quota.bucket:,}; the rest takes about ten minutes."
    )
    if not running.complete:
        text += (
            f" A million, the default maximum of a region, takes "
            f"{duration(quota.seconds(MOST_OPEN))}."
        )
    if seconds > _LONG_SECONDS:
        text += (
            " Use credentials that last as long: an interrupted run leaves the stack closed,"
            " and the next one continues it."
        )
    return text


def command(
    stack: str,
    *,
    ask: Callable[[str], str] | None,
    delete: Callable[[], int],
    again: str,
    undo: bool,
) -> int:
    """Delete a stack with clients from the environment, or undo that; return the exit status.

    Raises NotDestroyedError, BotoCoreError or ClientError if nothing was changed.
    """
    shown = Progress(sys.stderr)

    def tell(text: str) -> None:
        shown.end()
        print(text, flush=True)

    clients = Clients.of(boto3.Session())
    region = clients.cloudformation.meta.region_name
    destruction = Destruction(stack, region, clients, ask, tell, shown.tell, delete, again)
    return destruction.undo() if undo else destruction.destroy()
