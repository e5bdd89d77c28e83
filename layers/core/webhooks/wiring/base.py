"""What the services of every function are made of: settings, clients, and the stores."""

from __future__ import annotations

import random
import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.domain import targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
    from webhooks.domain.targets import Target
    from webhooks.observability import PowertoolsTelemetry
    from webhooks.ports import (
        DestinationStore,
        EventQueue,
        HealthStore,
        JobScheduler,
        KeptOperationalEvents,
        OperationalEventBus,
        RetryScheduler,
    )
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.pauses import Pauses
    from webhooks.services.retries import Retries
    from webhooks.settings import Settings


class TargetRules(NamedTuple):
    """What a webhook's url may be, and which addresses it may lead to.

    The seam of the tests and of the stack on one machine, which reach receivers that the guard
    refuses. A deployed function has no way to give rules of its own.
    """

    parse_url: Callable[[str], Target] = targets.parse_url
    is_public: Callable[[str], bool] = targets.is_public


PUBLIC_TARGETS = TargetRules()
"""The rules of every deployed function."""


class Base:
    """What the other parts of the wiring have in common; `_` marks what no function asks for."""

    def __init__(
        self, function: str, settings: Settings, *, rules: TargetRules = PUBLIC_TARGETS
    ) -> None:
        """Serve `function`, such as `dispatcher`, with the settings of its environment."""
        self.function = function
        self.settings = settings
        self._rules = rules
        self._clock: Callable[[], float] = time.time

    @cached_property
    def telemetry(self) -> PowertoolsTelemetry:
        """Where the function's logs and metrics go."""
        from webhooks.observability import PowertoolsTelemetry

        return PowertoolsTelemetry(self.function, self.settings.stack_name)

    @cached_property
    def _health(self) -> WebhookHealthService:
        from webhooks.services.health import WebhookHealthService
        from webhooks.services.operational_events import LastingOperationalEvents

        return WebhookHealthService(
            store=self._health_store,
            destinations=self._destinations,
            scheduler=self._job_scheduler,
            operational_events=LastingOperationalEvents(
                self._operational_event_bus,
                lambda: self._kept_operational_events,
                self.telemetry,
            ),
            telemetry=self.telemetry,
            recovery_schedule=self.settings.recovery_schedule,
            clock=self._clock,
            random=random.random,
            new_id=new_id,
        )

    @cached_property
    def _pauses(self) -> Pauses:
        from webhooks.adapters.dynamodb.pauses import DynamoDBPauseStore
        from webhooks.services.pauses import Pauses

        return Pauses(
            store=DynamoDBPauseStore(self._dynamodb, self.settings.webhooks_table),
            recoveries=self._health_store,
            health=self._health,
            scheduler=self._job_scheduler,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
            new_id=new_id,
        )

    @cached_property
    def _operational_event_bus(self) -> OperationalEventBus:
        from webhooks.adapters.eventbridge import EventBridgeOperationalEvents

        return EventBridgeOperationalEvents(self._client("events"), self.settings.stack_name)

    @cached_property
    def _kept_operational_events(self) -> KeptOperationalEvents:
        from webhooks.adapters.dynamodb.kept_events import DynamoDBKeptOperationalEvents

        return DynamoDBKeptOperationalEvents(self._dynamodb, self.settings.deliveries_table)

    @cached_property
    def _destinations(self) -> DestinationStore:
        from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore

        return DynamoDBDestinationStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _quick_destinations(self) -> DestinationStore:
        from webhooks.adapters.aws import quick
        from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore

        return DynamoDBDestinationStore(quick(self._dynamodb), self.settings.webhooks_table)

    @cached_property
    def _health_store(self) -> HealthStore:
        from webhooks.adapters.dynamodb.health import DynamoDBHealthStore

        return DynamoDBHealthStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _job_scheduler(self) -> JobScheduler:
        from webhooks.adapters.stepfunctions import StepFunctionsJobScheduler

        return StepFunctionsJobScheduler(
            self._client("stepfunctions"), self.settings.job_state_machine_arn
        )

    @cached_property
    def _scheduler(self) -> RetryScheduler:
        from webhooks.adapters.stepfunctions import StepFunctionsRetryScheduler

        return StepFunctionsRetryScheduler(
            self._client("stepfunctions"),
            self.settings.retry_state_machine_arn,
            self.settings.short_retry_state_machine_arn,
        )

    @cached_property
    def _retries(self) -> Retries:
        from webhooks.services.retries import Retries

        return Retries(
            scheduler=self._scheduler,
            deliveries=self._deliveries,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def _deliveries(self) -> DynamoDBDeliveryStore:
        from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore

        return DynamoDBDeliveryStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _event_queue(self) -> EventQueue:
        from webhooks.adapters.sqs import SQSEventQueue

        return SQSEventQueue(self._sqs, self.settings.events_queue_url)

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")

    def _client(self, service: str) -> Any:
        from webhooks.adapters.aws import LazyClient

        return LazyClient(service, self.settings.aws_endpoint_url)


def new_id() -> str:
    """Return a random id, of a recovery."""
    return str(uuid.uuid4())
