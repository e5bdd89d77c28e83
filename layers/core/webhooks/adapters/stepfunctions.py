"""Executions of the state machines: of retries, of short retries, and of jobs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.domain.delivery import Status
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import run_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import JobKey

INPUT_VERSION = 1
"""Grows when the input's shape changes, so that a new function knows an old execution's input."""


class StepFunctionsRetryScheduler:
    """One execution for each delivery, named after it, and one for each manual attempt.

    A short delay has an execution of its own, of the Express state machine.
    """

    def __init__(
        self, client: SFNClient, state_machine_arn: str, short_state_machine_arn: str = ""
    ) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn
        self._short_state_machine_arn = short_state_machine_arn

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """Ensure that the delivery's generation has its execution.

        It is named after the delivery, the time when that was made, and the generation. A name
        stays taken for 90 days after its execution ended (StartExecution in AWS's API reference),
        so a repeat starts nothing. If the delivery is `short`, its name has the attempt's number
        too, and a repeat may start another; only one of them can claim the attempt.

        The delay is rounded up, since it is the rest of a delay in whole seconds.
        """
        seconds = math.ceil(max(delay_seconds, 0))
        state: dict[str, str | int] = {"attempt": delivery.next_attempt, "seconds": seconds}
        if delivery.generation:
            state["generation"] = delivery.generation
        key: dict[str, str] = delivery.key._asdict()
        if delivery.short:
            name = f"{_name(delivery)}-attempt-{delivery.next_attempt}"
            _start(self._client, self._short_state_machine_arn, name, {**key, **state})
        else:
            _start(self._client, self._state_machine_arn, _name(delivery), {**key, **state})

    def running(self, delivery: Delivery) -> bool:
        """Whether the execution of the delivery's generation is running."""
        machine = self._state_machine_arn.replace(":stateMachine:", ":execution:")
        with unavailable_on_failure("looking at an execution"):
            try:
                execution = self._client.describe_execution(
                    executionArn=f"{machine}:{_name(delivery)}"
                )
            except ClientError as error:
                if error_code(error) != "ExecutionDoesNotExist":
                    raise
                return False
        return execution["status"] == "RUNNING"

    def resend(
        self, key: DeliveryKey, *, attempt: int, request_id: str, delay_seconds: float = 0
    ) -> None:
        """Start a separate execution, outside the schedule, for one attempt after a delay.

        `request_id` is part of its name: 36 characters at most, since a name has 80.
        """
        name = f"{key.delivery_id}-resend-{request_id}"
        state: dict[str, str | int] = {
            "action": Action.RESEND,
            "attempt": attempt,
            "seconds": math.ceil(max(delay_seconds, 0)),
        }
        _start(self._client, self._state_machine_arn, name, {**key._asdict(), **state})


class StepFunctionsJobScheduler:
    """One execution for each job, named after it; when its history is long, another continues."""

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, key: JobKey, *, delay_seconds: float = 0, run: int = 0) -> None:
        """Ensure that the job's run has its execution."""
        ids = key._asdict()
        [*_, job_id] = ids.values()
        seconds = math.ceil(max(delay_seconds, 0))
        state = {"action": key.action, **ids, "seconds": seconds}
        if run:
            state["run"] = run
        _start(self._client, self._state_machine_arn, run_name(job_id, run), state)


def _name(delivery: Delivery) -> str:
    """Return the name of a generation's execution: within Step Functions' 80 characters.

    An exhausted delivery whose dead letter is sent again stays in its generation, whose name is
    taken: its name includes the number of the sweep's restart.
    """
    name = f"{delivery.id}-{delivery.created_at_ms}"
    if delivery.generation:
        name = f"{name}-{delivery.generation}"
    if delivery.status is Status.EXHAUSTED and delivery.restarts:
        name = f"{name}-letter{delivery.restarts}"
    return name


def _start(
    client: SFNClient, state_machine_arn: str, name: str, state: Mapping[str, str | int]
) -> None:
    with unavailable_on_failure("starting an execution"):
        try:
            client.start_execution(
                stateMachineArn=state_machine_arn,
                name=name,
                input=json.dumps({"version": INPUT_VERSION, **state}),
            )
        except ClientError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
