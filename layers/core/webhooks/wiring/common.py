"""The parts that every function has: settings, telemetry, clients, deliveries and schedulers."""

from __future__ import annotations

import os
import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from webhooks.adapters.aws import LazyClient
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.stepfunctions import StepFunctionsJobScheduler, StepFunctionsRetryScheduler
from webhooks.domain import targets
from webhooks.observability import PowertoolsTelemetry
from webhooks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from webhooks.domain.targets import Target
    from webhooks.ports import JobScheduler, RetryScheduler


class TargetRules(NamedTuple):
    """The rules for a webhook's url, and for the addresses that it may lead to.

    Tests and the stack on one machine give rules of their own, to reach receivers that the guard
    refuses. No setting of a deployed function changes them.
    """

    parse_url: Callable[[str], Target] = targets.parse_url
    is_public: Callable[[str], bool] = targets.is_public


PUBLIC_TARGETS = TargetRules()
"""The rules of every deployed function."""


class CommonServices:
    """The base of each function's services; a name that begins with `_` is for the wiring alone.

    Each part is built at its first use: an invocation builds only the parts that it needs.
    """

    function: ClassVar[str]
    """The function's name in its logs and metrics."""

    def __init__(self, settings: Settings, *, rules: TargetRules = PUBLIC_TARGETS) -> None:
        """Serve with the settings of the function's environment."""
        self.settings = settings
        self._rules = rules
        self._clock: Callable[[], float] = time.time

    @classmethod
    def deployed(cls) -> Self:
        """Return the services of a deployed function, with the settings of its environment."""
        return cls(Settings.from_environment(os.environ))

    @cached_property
    def telemetry(self) -> PowertoolsTelemetry:
        """The function's logs and metrics."""
        return PowertoolsTelemetry(self.function, self.settings.stack_name)

    @cached_property
    def _deliveries(self) -> DynamoDBDeliveryStore:
        return DynamoDBDeliveryStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _job_scheduler(self) -> JobScheduler:
        return StepFunctionsJobScheduler(
            self._client("stepfunctions"), self.settings.job_state_machine_arn
        )

    @cached_property
    def _scheduler(self) -> RetryScheduler:
        return StepFunctionsRetryScheduler(
            self._client("stepfunctions"),
            self.settings.retry_state_machine_arn,
            self.settings.short_retry_state_machine_arn,
        )

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    def _client(self, service: str) -> Any:
        return LazyClient(service, self.settings.aws_endpoint_url)


def new_id() -> str:
    """Return a random id, of a recovery."""
    return str(uuid.uuid4())
