"""The services that send: first attempts, later ones, and an operator's."""

from __future__ import annotations

import random
import time
from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.wiring.base import Base

if TYPE_CHECKING:
    from webhooks.ports import RejectedMessages, Sender
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.dispatch.batches import Batches
    from webhooks.services.dispatch.dispatcher import Dispatcher
    from webhooks.services.dispatch.event_limits import EventLimits
    from webhooks.services.host_limits import HostLimits
    from webhooks.services.redriver import Redriver
    from webhooks.services.retrier import Retrier

_THREADS = 64
"""Deliveries attempted at once: what 1,024 MB of function memory does without false time-outs."""


class SendingServices(Base):
    """The dispatcher's services, and what the worker sends with."""

    @cached_property
    def batches(self) -> Batches:
        """What handles the batches of the events queue."""
        from webhooks.adapters.sqs import SQSReceivedMessages
        from webhooks.services.dispatch.batches import Batches

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
        """What attempts the deliveries of event messages."""
        from webhooks.adapters.dynamodb.ses_accounts import DynamoDBSesAccountStore
        from webhooks.services.dispatch.dispatcher import Dispatcher
        from webhooks.services.ses_accounts import KeptSesAccounts

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
    def _event_limits(self) -> EventLimits:
        from webhooks.adapters.dynamodb.rate_limits import DynamoDBRateLimitStore
        from webhooks.services.dispatch.event_limits import EventLimits

        return EventLimits(
            DynamoDBRateLimitStore(self._dynamodb, self.settings.deliveries_table),
            limit=self.settings.max_events_per_minute,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
        )

    @cached_property
    def host_limits(self) -> HostLimits:
        """What paces the requests to hosts."""
        from webhooks.adapters.dynamodb.host_turns import DynamoDBHostTurns
        from webhooks.services.host_limits import HostLimits

        return HostLimits(
            DynamoDBHostTurns(self._dynamodb, self.settings.deliveries_table),
            rate=self.settings.max_requests_per_host,
            telemetry=self.telemetry,
            clock=self._clock,
            random=random.random,
        )

    @cached_property
    def _rejected(self) -> RejectedMessages:
        from webhooks.adapters.sqs import SQSRejectedMessages

        return SQSRejectedMessages(self._sqs, self.settings.events_dead_letter_queue_url)

    @cached_property
    def retrier(self) -> Retrier:
        """What makes later attempts."""
        from webhooks.services.retrier import Retrier

        return Retrier(
            deliveries=self._deliveries,
            destinations=self._destinations,
            deliverer=self._deliverer,
            health=self._health,
            pauses=self._pauses,
            retries=self._retries,
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def redriver(self) -> Redriver:
        """What an operator's command gives deliveries another chance with."""
        from webhooks.services.redriver import Redriver

        return Redriver(self._deliveries, self._scheduler, self._clock)

    @cached_property
    def _deliverer(self) -> Deliverer:
        from webhooks.services.deliverer import Deliverer

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
        from webhooks.adapters.http.sender import GuardedSender

        return GuardedSender(check=self._rules.parse_url, allowed=self._rules.is_public)
