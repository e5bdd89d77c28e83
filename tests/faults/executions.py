"""The retry state machine, really run in moto or in ministack, and the real functions behind it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

import worker.handler
from faults.fault_harness import PATH, FaultHarness
from faults.ministack_machines import made_on_ministack
from local.aws import aws_client
from support import engines
from support.backend import Backend, backend, lambda_context
from support.receiver import Receiver
from support.state_machines import ScriptedTask, StateMachine, made_for
from webhooks.domain.jobs import Action
from webhooks.settings import Settings
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.resources import Resources
    from support.faults import Faults

MACHINE = "RetryStateMachine"


class Task:
    """The machine's task: the real worker, after the failures that a test plans."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.fails_always: str | None = None
        self.handler: Callable[[Any], Any] = lambda _: None
        self.states: list[dict[str, Any]] = []

    def __call__(self, state: dict[str, Any], _: Any) -> Any:
        if state["action"] == Action.NOTE_DEAD_LETTER:
            return self.handler(state)
        self.states.append(state["state"])
        name = self.failures.pop(0) if self.failures else self.fails_always
        if name:
            # An error's name is its class's, even if its text quotes another.
            raise type(name, (Exception,), {})("the text of an error")
        return self.handler(state)


class ExecutionFixture:
    """A state machine that really runs, and the functions with their resources."""

    def __init__(
        self, aws: Backend, endpoint: str, made: Resources, task: Task, faults: Faults
    ) -> None:
        """Find the machine and its dead-letter queue at `endpoint`."""
        # The standard machine, for every delay.
        aws.settings = replace(
            aws.settings,
            retry_state_machine_arn=made.state_machines[MACHINE],
            retry_schedule=(0.0, 0.0),
            short_delay_seconds=-1.0,
        )
        self.sqs = aws_client("sqs", endpoint)
        self.task = task
        self.machine = StateMachine(endpoint, made, MACHINE)
        self.bystander = Receiver(path=PATH)
        self.harness = FaultHarness(aws, faults, self.bystander)
        self.dead_letter_queue = made.queues["DeadLetterQueue"]
        functions = self.harness.services(WorkerServices)
        task.handler = lambda state: worker.handler.handle(state, lambda_context(), functions)

    def ended(self, name: str) -> tuple[str, list[str]]:
        """Wait for an execution to end; returns its status and the states it entered."""
        return self.machine.ended(self.machine.named(name))

    @contextmanager
    def without_dead_letter_queue(self) -> Iterator[None]:
        """Set the url of an absent dead-letter queue."""
        self.sqs.delete_queue(QueueUrl=self.dead_letter_queue)
        yield
        self.sqs.create_queue(QueueName=self.dead_letter_queue.rpartition("/")[2])

    def dead_letters(self) -> list[dict[str, Any]]:
        """Take the messages off the dead-letter queue."""
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letter_queue, MaxNumberOfMessages=10, WaitTimeSeconds=0
        )
        for message in answer.get("Messages", []):
            self.sqs.delete_message(
                QueueUrl=self.dead_letter_queue, ReceiptHandle=message["ReceiptHandle"]
            )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


@contextmanager
def _on_moto(task: Task, faults: Faults) -> Iterator[ExecutionFixture]:
    """Make the template's resources in moto, and the functions with their settings."""
    # `made_for` calls its task like any function; a scripted one is only its usual kind.
    with made_for(cast("ScriptedTask", task), MACHINE) as (endpoint, made):
        settings = Settings.from_environment(
            {
                **made.functions["ApiFunction"].environment,
                **made.functions["WorkerFunction"].environment,
                **made.functions["DispatcherFunction"].environment,
                "CURSOR_KEY": "a key for the cursors of tests",
                "AWS_ENDPOINT_URL": endpoint,
            }
        )
        services = ("dynamodb", "sqs", "stepfunctions")
        clients = {service: aws_client(service, endpoint) for service in services}
        yield ExecutionFixture(Backend(settings, clients), endpoint, made, task, faults)


@contextmanager
def _on_second_engines(task: Task, faults: Faults, endpoint: str) -> Iterator[ExecutionFixture]:
    """Make the machine in the ministack at `endpoint`; tables and events queue are elsewhere."""
    with (
        pytest.MonkeyPatch.context() as patch,
        backend(patch) as aws,
        made_on_ministack(task, MACHINE, endpoint) as made,
    ):
        yield ExecutionFixture(aws, endpoint, made, task, faults)


@contextmanager
def running_executions(faults: Faults) -> Iterator[ExecutionFixture]:
    """Make the machine, in ministack if it runs; its requests meet `faults`."""
    task, endpoint = Task(), engines.address(engines.MINISTACK)
    made = _on_second_engines(task, faults, endpoint) if endpoint else _on_moto(task, faults)
    with made as ready, faults.installed(), ready.bystander:
        yield ready
