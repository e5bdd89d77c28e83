"""A deployed stack as AWS deletes it, by a clock of its own.

It has the parts that moto and ministack leave out: a Standard state machine that stays DELETING
while its executions run, the quotas of Step Functions, late lists, an event source mapping that
takes a while to be disabled, and invocations that go on when their function is closed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ops.destroying import Clients
from ops.executions import Clock, stop_quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


STACK = "sendcomms-webhooks-dev"
API, DISPATCHER, WORKER = "ApiFunction", "DispatcherFunction", "WorkerFunction"
RETRIES, SHORT_RETRIES, JOBS = "RetryStateMachine", "ShortRetryStateMachine", "JobStateMachine"
FORMER_JOBS = "RecoveryStateMachine"

DAY = 86_400.0
_HOUR = 3600.0
_LAG_SECONDS = 3.0
_DISABLING_SECONDS = 20.0
_DELETING_SECONDS = 40.0
_LONGEST_SECONDS = 3 * _HOUR
_PAGE = 1000
_LIST_QUOTAS = {"us-east-1": (200, 5.0), "eu-central-1": (100, 2.0)}


def error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnOperation")


class FakeClock:
    """A clock that moves in sleeps alone."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.interrupts_at: float | None = None

    def sleep(self, seconds: float) -> None:
        if self.interrupts_at is not None and self.seconds >= self.interrupts_at:
            self.interrupts_at = None
            raise KeyboardInterrupt
        self.seconds += seconds
        # A wait for something that never happens fails, and does not hang.
        assert self.seconds <= _LONGEST_SECONDS

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep)


class Bucket:
    """A quota, as Step Functions keeps it."""

    def __init__(self, bucket: float, per_second: float, clock: FakeClock) -> None:
        self.per_second = per_second
        self.throttled = 0
        self._most = self._left = float(bucket)
        self._clock = clock
        self._at = clock.seconds

    def take(self) -> None:
        passed = self._clock.seconds - self._at
        self._at = self._clock.seconds
        self._left = min(self._most, self._left + passed * self.per_second)
        # A hair less than one is a rounding of the sum.
        if self._left < 1 - 1e-6:
            self.throttled += 1
            raise error("ThrottlingException", "Rate exceeded")
        self._left -= 1


@dataclass
class Execution:
    started_at: float
    ended_at: float
    """The end of its Wait, unless it is stopped before."""
    stopped: bool = False


@dataclass
class Machine:
    kind: str = "STANDARD"
    executions: dict[str, Execution] = field(default_factory=dict)
    deleting: bool = False
    gone: bool = False

    def running(self, now: float) -> list[str]:
        return [arn for arn, one in self.executions.items() if one.started_at <= now < one.ended_at]


@dataclass
class Source:
    """Starts an execution every so many seconds, and for a while after it is closed."""

    machine: str
    every_seconds: float
    lingers_seconds: float
    closed_at: float = float("inf")
    started_until: float = 0.0

    def starts(self, now: float) -> Iterator[float]:
        while (at := self.started_until + self.every_seconds) <= min(
            now, self.closed_at + self.lingers_seconds
        ):
            self.started_until = at
            yield at
        if now > self.closed_at + self.lingers_seconds:
            self.started_until = now


class FakeAws:
    """All services' clients in one, for one stack."""

    def __init__(self, region: str = "eu-central-1", *, former_names: bool = False) -> None:
        self.region = region
        self.time = FakeClock()
        self.status = "CREATE_COMPLETE"
        self.termination_protection = False
        names = [SHORT_RETRIES, RETRIES, JOBS, *([FORMER_JOBS] if former_names else [])]
        self.machines = {name: Machine() for name in names}
        self.machines[SHORT_RETRIES].kind = "EXPRESS"
        functions = [API, DISPATCHER, WORKER, *(["RetrierFunction"] if former_names else [])]
        self.concurrency: dict[str, int | None] = dict.fromkeys(functions)
        self.mapping = "Enabled"
        self.mapping_settles_at = 0.0
        self.sweeps = True
        self.connects_ses = True
        self.due = 0
        self.messages = 0
        self.protected_tables: set[str] = set()
        self.denied: set[str] = set()
        self.stop_bucket = Bucket(*stop_quota(region), self.time)
        self.list_bucket = Bucket(*_LIST_QUOTAS[region], self.time)
        self.sources: dict[str, Source] = {}
        self.changes: list[str] = []
        self.stopped: list[str] = []
        self._deleting_since = 0.0
        self._started = 0
        self._lock = threading.Lock()

    def clients(self) -> Clients:
        return Clients(self, self, self, self, self, self)

    def wait_in(self, machine: str, number: int, seconds: float = DAY) -> None:
        """Start executions that wait."""
        for _ in range(number):
            self._start(machine, self.time.seconds - 60, seconds)

    def everything_starts(self) -> None:
        """Let each part of the stack start executions, for as long as it is open."""
        self.sources = {
            "mapping": Source(RETRIES, 3.0, 60.0),
            "sweep": Source(JOBS, 60.0, 60.0),
            API: Source(JOBS, 5.0, 29.0),
            WORKER: Source(RETRIES, 2.0, 50.0),
        }

    def running(self) -> int:
        self._catch_up()
        return sum(len(one.running(self.time.seconds)) for one in self._standard().values())

    def delete(self) -> int:
        """Act like `sam delete`: call CloudFormation, and check every half minute for an hour."""
        self.begin_deletion()
        for _ in range(120):
            self._catch_up()
            if self.status == "DELETE_COMPLETE":
                return 0
            if self.status == "DELETE_FAILED":
                return 1
            self.time.sleep(30.0)
        return 1

    def begin_deletion(self) -> None:
        """Let CloudFormation delete the stack, the console's way."""
        self._catch_up()
        if self.status != "DELETE_IN_PROGRESS":
            self.status = "DELETE_IN_PROGRESS"
            self._deleting_since = self.time.seconds
        for machine in self.machines.values():
            machine.deleting = True

    def _standard(self) -> dict[str, Machine]:
        return {name: one for name, one in self.machines.items() if one.kind == "STANDARD"}

    def _start(self, machine: str, at: float, seconds: float) -> None:
        if not self.machines[machine].deleting:
            self._started += 1
            name = f"arn:aws:states:{self.region}:123456789012:execution:{machine}:{self._started}"
            self.machines[machine].executions[name] = Execution(at, at + seconds)

    def _catch_up(self) -> None:
        """Apply everything that happened since the last call."""
        now = self.time.seconds
        if self.mapping == "Disabling" and now >= self.mapping_settles_at:
            self.mapping = "Disabled"
            self._close("mapping", self.mapping_settles_at)
        for source in self.sources.values():
            for at in source.starts(now):
                self._start(source.machine, at, DAY)
        if self.status == "DELETE_IN_PROGRESS":
            self._go_on_deleting(now)

    def _go_on_deleting(self, now: float) -> None:
        for machine in self.machines.values():
            machine.gone = machine.gone or not machine.running(now)
        since = now - self._deleting_since
        if all(one.gone for one in self.machines.values()) and since >= _DELETING_SECONDS:
            self.status = "DELETE_COMPLETE"
        elif since >= _HOUR:
            self.status = "DELETE_FAILED"

    def _close(self, name: str, at: float) -> None:
        if name in self.sources:
            self.sources[name].closed_at = at

    def _change(self, what: str) -> None:
        self._catch_up()
        self.changes.append(what)

    def _check(self, action: str) -> None:
        self._catch_up()
        if action in self.denied:
            raise error("AccessDeniedException")

    def get_paginator(self, operation: str) -> Any:
        return Pages(getattr(self, f"_{operation}"))

    # CloudFormation

    def describe_stacks(self, *, StackName: str) -> Any:
        self._catch_up()
        if self.status == "DELETE_COMPLETE":
            raise error("ValidationError", f"Stack with id {StackName} does not exist")
        described = {
            "StackStatus": self.status,
            "EnableTerminationProtection": self.termination_protection,
        }
        return {"Stacks": [described]}

    def _list_stack_resources(self, *, StackName: str) -> Iterator[Any]:
        assert StackName == STACK
        listed = [
            *(
                ("AWS::StepFunctions::StateMachine", name, self._arn(name))
                for name in self.machines
            ),
            *(("AWS::Lambda::Function", name, name) for name in self.concurrency),
            ("AWS::Lambda::EventSourceMapping", "DispatcherFunctionEvents", "a-mapping"),
            ("AWS::Events::Rule", "WorkerFunctionSweep", "the-sweep"),
            ("AWS::Events::Rule", "SesRule", "the-mail"),
            ("AWS::SQS::Queue", "EventsQueue", "https://the-events"),
            ("AWS::DynamoDB::Table", "DeliveriesTable", "the-deliveries"),
            ("AWS::DynamoDB::Table", "IdempotencyTable", "the-responses"),
        ]
        status = "DELETE_COMPLETE" if self.status == "ROLLBACK_COMPLETE" else "CREATE_COMPLETE"
        resources = [
            {
                "ResourceType": kind,
                "LogicalResourceId": name,
                "PhysicalResourceId": physical_id,
                "ResourceStatus": status,
            }
            for kind, name, physical_id in listed
        ]
        never_made = {
            "ResourceType": "AWS::SQS::Queue",
            "LogicalResourceId": "DeadLetterQueue",
            "ResourceStatus": "CREATE_FAILED",
        }
        yield {"StackResourceSummaries": resources[:5]}
        yield {"StackResourceSummaries": [*resources[5:], never_made]}

    def _arn(self, machine: str) -> str:
        return f"arn:aws:states:{self.region}:123456789012:stateMachine:{STACK}-{machine}"

    # Step Functions

    def _machine(self, arn: str) -> Machine:
        self._catch_up()
        machine = self.machines[arn.rpartition("-")[2]]
        if machine.gone:
            raise error("StateMachineDoesNotExist")
        return machine

    def describe_state_machine(self, *, stateMachineArn: str) -> Any:
        return {"type": self._machine(stateMachineArn).kind}

    def _list_executions(
        self, *, stateMachineArn: str, statusFilter: str, PaginationConfig: dict[str, int]
    ) -> Iterator[Any]:
        assert statusFilter == "RUNNING"
        assert PaginationConfig == {"PageSize": _PAGE}
        self._check("states:ListExecutions")
        machine = self._machine(stateMachineArn)
        if machine.kind == "EXPRESS":
            raise error("StateMachineTypeNotSupported")
        listed = machine.running(self.time.seconds - _LAG_SECONDS)
        for start in range(0, max(len(listed), 1), _PAGE):
            self.list_bucket.take()
            page = listed[start : start + _PAGE]
            yield {"executions": [{"executionArn": arn, "status": "RUNNING"} for arn in page]}

    def stop_execution(self, *, executionArn: str) -> Any:
        with self._lock:
            self._check("states:StopExecution")
            self.stop_bucket.take()
            execution = self.machines[executionArn.split(":")[-2]].executions[executionArn]
            execution.ended_at = min(execution.ended_at, self.time.seconds)
            self.stopped.append(executionArn)
        return {"stopDate": None}

    # Lambda

    def get_function_concurrency(self, *, FunctionName: str) -> Any:
        reserved = self.concurrency[FunctionName]
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def put_function_concurrency(
        self, *, FunctionName: str, ReservedConcurrentExecutions: int
    ) -> Any:
        self._change(f"close {FunctionName}")
        self.concurrency[FunctionName] = ReservedConcurrentExecutions
        self._close(FunctionName, self.time.seconds)
        return {"ReservedConcurrentExecutions": ReservedConcurrentExecutions}

    def delete_function_concurrency(self, *, FunctionName: str) -> Any:
        self._change(f"open {FunctionName}")
        self.concurrency[FunctionName] = None
        return {}

    def get_event_source_mapping(self, *, UUID: str) -> Any:
        self._catch_up()
        return {"UUID": UUID, "State": self.mapping}

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> Any:
        self._change(f"{'open' if Enabled else 'close'} {UUID}")
        if self.mapping not in {"Enabled", "Disabled"}:
            raise error("ResourceInUseException")
        self.mapping = "Enabled" if Enabled else "Disabling"
        self.mapping_settles_at = self.time.seconds + _DISABLING_SECONDS
        return {"UUID": UUID, "State": self.mapping}

    # EventBridge

    def describe_rule(self, *, Name: str) -> Any:
        if Name == "the-sweep":
            state = "ENABLED" if self.sweeps else "DISABLED"
            return {"Name": Name, "ScheduleExpression": "rate(1 minute)", "State": state}
        return {"Name": Name, "EventPattern": "{}"}

    def disable_rule(self, *, Name: str) -> None:
        self._change(f"close {Name}")
        self.sweeps = False
        self._close("sweep", self.time.seconds)

    def enable_rule(self, *, Name: str) -> None:
        self._change(f"open {Name}")
        self.sweeps = True

    # SQS and DynamoDB

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> Any:
        self._check("sqs:GetQueueAttributes")
        assert QueueUrl == "https://the-events"
        first, *others = AttributeNames
        return {"Attributes": {first: str(self.messages), **dict.fromkeys(others, "0")}}

    def describe_table(self, *, TableName: str) -> Any:
        return {"Table": {"DeletionProtectionEnabled": TableName in self.protected_tables}}

    def _query(self, **query: Any) -> Iterator[Any]:
        self._check("dynamodb:Query")
        assert query["Select"] == "COUNT"
        yield {"Count": self.due // 2}
        yield {"Count": self.due - self.due // 2}


class Pages:
    """A paginator of boto3's."""

    def __init__(self, pages: Callable[..., Iterator[Any]]) -> None:
        self.paginate = pages
