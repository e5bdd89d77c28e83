"""The parts of a request to a receiver, which the dispatcher and the worker share."""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.adapters.aws import quick
from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore
from webhooks.adapters.dynamodb.health import DynamoDBHealthStore
from webhooks.adapters.dynamodb.kept_events import DynamoDBKeptOperationalEvents
from webhooks.adapters.dynamodb.pauses import DynamoDBPauseStore
from webhooks.adapters.eventbridge import EventBridgeOperationalEvents
from webhooks.adapters.http.sender import GuardedSender
from webhooks.services.deliverer import Deliverer
from webhooks.services.health import WebhookHealthService
from webhooks.services.operational_events import LastingOperationalEvents
from webhooks.services.pauses import Pauses
from webhooks.services.retries import Retries
from webhooks.wiring.common import CommonServices, new_id

if TYPE_CHECKING:
    from webhooks.ports import (
        DestinationStore,
        HealthStore,
        KeptOperationalEvents,
        OperationalEventBus,
        Sender,
    )


class SendingServices(CommonServices):
    """The sender, and the state of webhooks that each attempt reads and changes."""

    @cached_property
    def _deliverer(self) -> Deliverer:
        return Deliverer(
            sender=self._sender,
            destinations=self._destinations,
            health=self._health,
            telemetry=self.telemetry,
            schedule=self.settings.retry_schedule,
            clock=self._clock,
            random=random.random,
            short_delay_seconds=self.settings.short_delay_seconds,
            quick_destinations=self._quick_destinations,
        )

    @cached_property
    def _sender(self) -> Sender:
        return GuardedSender(check=self._rules.parse_url, allowed=self._rules.is_public)

    @cached_property
    def _health(self) -> WebhookHealthService:
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
    def _retries(self) -> Retries:
        return Retries(
            scheduler=self._scheduler,
            deliveries=self._deliveries,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def _destinations(self) -> DestinationStore:
        return DynamoDBDestinationStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _quick_destinations(self) -> DestinationStore:
        return DynamoDBDestinationStore(quick(self._dynamodb), self.settings.webhooks_table)

    @cached_property
    def _health_store(self) -> HealthStore:
        return DynamoDBHealthStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _operational_event_bus(self) -> OperationalEventBus:
        return EventBridgeOperationalEvents(self._client("events"), self.settings.stack_name)

    @cached_property
    def _kept_operational_events(self) -> KeptOperationalEvents:
        return DynamoDBKeptOperationalEvents(self._dynamodb, self.settings.deliveries_table)
