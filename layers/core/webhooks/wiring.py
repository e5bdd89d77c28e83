"""Puts the parts together: which adapter stands behind which port."""

from __future__ import annotations

import os
import random
import time
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.domain import targets
from webhooks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.targets import Target
    from webhooks.observability import PowertoolsObserver
    from webhooks.ports import DeliveryStore, DestinationStore, Sender
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.dispatcher import Dispatcher
    from webhooks.services.keyring import Keyring
    from webhooks.services.registry import Registry
    from webhooks.services.retrier import Retrier

_THREADS = 64
"""Deliveries attempted at once: what 1,024 MB of function memory does without false time-outs."""


class TargetRules(NamedTuple):
    """What a webhook's url may be, and which addresses it may lead to.

    The seam of the tests and of the stack on one machine, which reach receivers that the guard
    refuses. A deployed function has no way to give rules of its own.
    """

    parse_url: Callable[[str], Target] = targets.parse_url
    is_public: Callable[[str], bool] = targets.is_public


PUBLIC_TARGETS = TargetRules()
"""The rules of every deployed function."""


class Services:
    """The services of one function, each built when it is first asked for."""

    def __init__(
        self, function: str, settings: Settings, *, rules: TargetRules = PUBLIC_TARGETS
    ) -> None:
        """Serve `function`, as `dispatcher`, with the settings of its environment."""
        self.function = function
        self.settings = settings
        self._rules = rules

    @cached_property
    def observer(self) -> PowertoolsObserver:
        """Where the function's logs and metrics go."""
        from webhooks.observability import PowertoolsObserver

        return PowertoolsObserver(self.function)

    @cached_property
    def registry(self) -> Registry:
        """What manages webhooks. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.dynamodb import DynamoDBWebhookStore
        from webhooks.adapters.resolver import resolve
        from webhooks.services.registry import Registry

        if not self.settings.cursor_key:
            msg = "CURSOR_KEY must be set: it seals the lists' cursors"
            raise ValueError(msg)
        return Registry(
            DynamoDBWebhookStore(self._dynamodb, self.settings.webhooks_table),
            check_url=self._rules.parse_url,
            resolve=resolve,
            is_public=self._rules.is_public,
            max_webhooks=self.settings.max_webhooks_per_account,
            cursor_key=self.settings.cursor_key,
        )

    @cached_property
    def keyring(self) -> Keyring:
        """What makes and recognises API keys."""
        from webhooks.adapters.dynamodb import DynamoDBApiKeyStore
        from webhooks.services.keyring import Keyring

        return Keyring(DynamoDBApiKeyStore(self._dynamodb, self.settings.api_keys_table))

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """What handles batches of event messages."""
        from webhooks.adapters.sqs import SQSRejectedMessages
        from webhooks.adapters.stepfunctions import StepFunctionsRetryScheduler
        from webhooks.domain.ses import SesAccounts
        from webhooks.services.dispatcher import Dispatcher

        settings = self.settings
        return Dispatcher(
            destinations=self._destinations,
            deliveries=self._deliveries,
            deliverer=self._deliverer,
            scheduler=StepFunctionsRetryScheduler(
                self._client("stepfunctions"), settings.retry_state_machine_arn
            ),
            rejected=SQSRejectedMessages(
                self._client("sqs"), settings.events_dead_letter_queue_url
            ),
            observer=self.observer,
            ses_accounts=SesAccounts(
                settings.configuration_set_accounts, settings.default_account_id
            ),
            clock=time.time,
            max_threads=_THREADS,
        )

    @cached_property
    def retrier(self) -> Retrier:
        """What makes later attempts."""
        from webhooks.services.retrier import Retrier

        return Retrier(
            deliveries=self._deliveries,
            destinations=self._destinations,
            deliverer=self._deliverer,
            observer=self.observer,
            clock=time.time,
        )

    @cached_property
    def _deliverer(self) -> Deliverer:
        from webhooks.services.deliverer import Deliverer

        return Deliverer(
            sender=self._sender,
            destinations=self._destinations,
            observer=self.observer,
            schedule=self.settings.retry_schedule,
            clock=time.time,
            random=random.random,
        )

    @cached_property
    def _sender(self) -> Sender:
        from webhooks.adapters.http import GuardedSender

        return GuardedSender(check=self._rules.parse_url, allowed=self._rules.is_public)

    @cached_property
    def _destinations(self) -> DestinationStore:
        from webhooks.adapters.dynamodb import DynamoDBDestinationStore

        return DynamoDBDestinationStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _deliveries(self) -> DeliveryStore:
        from webhooks.adapters.deliveries import DynamoDBDeliveryStore

        return DynamoDBDeliveryStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    def _client(self, service: str) -> Any:
        from webhooks.adapters.aws import client

        return client(service, self.settings.aws_endpoint_url)


@cache
def services(function: str) -> Services:
    """Return the services of a deployed function, built from its environment, once a process."""
    return Services(function, Settings.from_environment(os.environ))
