"""The retry schedule on Step Functions."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from webhooks.domain.delivery import DeliveryKey

INPUT_VERSION = 1
"""Grows when the input's shape changes, so that a new function knows an old execution's input."""


class StepFunctionsRetryScheduler:
    """One execution a delivery, named after it."""

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
        state = {
            "version": INPUT_VERSION,
            "account_id": key.account_id,
            "webhook_id": key.webhook_id,
            "delivery_id": key.delivery_id,
            "attempt": attempt,
            "seconds": math.ceil(max(delay_seconds, 0)),
        }
        with unavailable_on_failure("starting a retry schedule"):
            try:
                self._client.start_execution(
                    stateMachineArn=self._state_machine_arn,
                    name=f"{key.delivery_id}-{created_at_ms}",
                    input=json.dumps(state),
                )
            except ClientError as error:
                if error_code(error) != "ExecutionAlreadyExists":
                    raise
