"""The dispatcher's services: first attempts of deliveries."""

from __future__ import annotations

import random
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb.rate_limits import DynamoDBRateLimitStore
from webhooks.adapters.dynamodb.ses_accounts import DynamoDBSesAccountStore
from webhooks.adapters.sqs import SQSEventQueue, SQSReceivedMessages, SQSRejectedMessages
from webhooks.services.dispatch.batches import Batches
from webhooks.services.dispatch.dispatcher import Dispatcher
from webhooks.services.dispatch.event_limits import EventLimits
from webhooks.services.ses_accounts import KeptSesAccounts
from webhooks.wiring.host_limits import host_limits_of
from webhooks.wiring.sending import SendingServices

if TYPE_CHECKING:
    from webhooks.ports import EventQueue, RejectedMessages
    from webhooks.services.host_limits import HostLimits

_THREADS = 64
"""Deliveries attempted at once: what 1,024 MB of function memory does without false time-outs."""


class DispatcherServices(SendingServices):
    """The services of the events queue's function."""

    function = "dispatcher"

    @cached_property
    def batches(self) -> Batches:
        """The batches of the events queue."""
        return Batches(
            dispatcher=self.dispatcher,
            queue=self._event_queue,
            received=SQSReceivedMessages(self._sqs, self.settings.events_queue_url),
            rejected=self._rejected,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
        )

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """The first attempts of an event's deliveries."""
        settings = self.settings
        return Dispatcher(
            destinations=self._destinations,
            deliveries=self._deliveries,
            deliverer=self._deliverer,
            health=self._health,
            pauses=self._pauses,
            retries=self._retries,
            queue=self._event_queue,
            rejected=self._rejected,
            telemetry=self.telemetry,
            ses_accounts=KeptSesAccounts(
                DynamoDBSesAccountStore(self._dynamodb, settings.webhooks_table),
                default=settings.default_account_id,
                clock=time.monotonic,
            ),
            ses_headers=settings.ses_headers,
            clock=self._clock,
            max_threads=_THREADS,
            event_limits=self._event_limits,
            host_limits=self.host_limits,
        )

    @cached_property
    def host_limits(self) -> HostLimits:
        """The rate limits of requests to hosts."""
        return host_limits_of(self)

    @cached_property
    def _event_limits(self) -> EventLimits:
        return EventLimits(
            DynamoDBRateLimitStore(self._dynamodb, self.settings.deliveries_table),
            limit=self.settings.max_events_per_minute,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
        )

    @cached_property
    def _rejected(self) -> RejectedMessages:
        return SQSRejectedMessages(self._sqs, self.settings.events_dead_letter_queue_url)

    @cached_property
    def _event_queue(self) -> EventQueue:
        return SQSEventQueue(self._sqs, self.settings.events_queue_url)

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")
