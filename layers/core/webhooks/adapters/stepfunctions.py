"""The retry schedule on Step Functions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_stepfunctions import SFNClient

    from webhooks.domain.delivery import DeliveryKey
    from webhooks.domain.replay import ReplayKey

INPUT_VERSION = 1
"""Grows when the input's shape changes, so that a new function knows an old execution's input."""

RESEND = "resend"
"""The input's `action` for one attempt besides the schedule; without one, the schedule's."""

REPLAY = "replay"
"""The input's `action` for a replay, of the recovery state machine."""


class StepFunctionsRetryScheduler:
    """One execution a delivery, named after it, and one for each time that it is sent by hand."""

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        """Start executions of `state_machine_arn`."""
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(
        self, key: DeliveryKey, *, attempt: int, delay_seconds: float, created_at_ms: int
    ) -> None:
        """See that the delivery has its execution.

        It is named after the delivery and the time when that was made. A name stays taken for 90
        days after its execution ended (StartExecution in AWS's API reference), so a repeat starts
        nothing.
        """
        seconds = math.ceil(max(delay_seconds, 0))
        name = f"{key.delivery_id}-{created_at_ms}"
        self._start(name, key, {"attempt": attempt, "seconds": seconds})

    def resend(self, key: DeliveryKey, *, attempt: int, request_id: str) -> None:
        """Start an execution of its own, beside the schedule's, for one attempt at once.

        `request_id` makes its name: 36 characters at most, since a name has 80.
        """
        name = f"{key.delivery_id}-resend-{request_id}"
        self._start(name, key, {"action": RESEND, "attempt": attempt, "seconds": 0})

    def _start(self, name: str, key: DeliveryKey, state: dict[str, str | int]) -> None:
        _start(self._client, self._state_machine_arn, name, {**key._asdict(), **state})


class StepFunctionsReplayScheduler:
    """One execution a replay, named after it, until that one goes on in the next."""

    def __init__(self, client: SFNClient, state_machine_arn: str) -> None:
        """Start executions of `state_machine_arn`."""
        self._client = client
        self._state_machine_arn = state_machine_arn

    def start(self, key: ReplayKey) -> None:
        """See that the replay has its execution."""
        state: dict[str, str | int] = {"action": REPLAY, **key._asdict(), "seconds": 0}
        _start(self._client, self._state_machine_arn, key.replay_id, state)


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
