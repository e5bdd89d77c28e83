"""Puts the parts together: which adapter stands behind which port."""

from __future__ import annotations

import os
import random
import time
import uuid
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.domain import targets
from webhooks.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.domain.targets import Target
    from webhooks.observability import PowertoolsObserver
    from webhooks.ports import (
        CheckStore,
        DeliveryStore,
        DeliveryWalk,
        DestinationStore,
        ErasureStore,
        EventQueue,
        HealthStore,
        KeptAnswers,
        RecoveryScheduler,
        ReplayStore,
        RetryScheduler,
        Sender,
    )
    from webhooks.services.checker import Checker
    from webhooks.services.checks import Checks
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.delivery_log import Logbook
    from webhooks.services.dispatcher import Dispatcher
    from webhooks.services.eraser import Eraser
    from webhooks.services.erasures import Erasures
    from webhooks.services.health import HealthKeeper
    from webhooks.services.keyring import Keyring
    from webhooks.services.own_api import OwnApi
    from webhooks.services.publisher import Publisher
    from webhooks.services.rate_limits import RateLimits
    from webhooks.services.recovery import Recovery
    from webhooks.services.redriver import Redriver
    from webhooks.services.registry import Registry
    from webhooks.services.replayer import Replayer
    from webhooks.services.replays import Replays
    from webhooks.services.retrier import Retrier
    from webhooks.services.sweeper import Sweeper

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

        return PowertoolsObserver(self.function, self.settings.stack_name)

    @cached_property
    def own_api(self) -> OwnApi:
        """What knows the API's own names."""
        from webhooks.services.own_api import OwnApi

        return OwnApi(self.settings.domain_name)

    @cached_property
    def registry(self) -> Registry:
        """What manages webhooks. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.dynamodb import DynamoDBWebhookStore
        from webhooks.adapters.resolver import resolve
        from webhooks.services.registry import Registry

        return Registry(
            DynamoDBWebhookStore(
                self._dynamodb,
                self.settings.webhooks_table,
                deliveries_table=self.settings.deliveries_table,
                retention_days=self.settings.retention_days,
            ),
            recoveries=self._recovery_scheduler,
            observer=self.observer,
            check_url=self._check_url,
            resolve=resolve,
            is_public=self._rules.is_public,
            max_webhooks=self.settings.max_webhooks_per_account,
            max_webhooks_per_host=self.settings.max_webhooks_per_host,
            cursor_key=self._cursor_key,
        )

    def _check_url(self, url: str) -> None:
        from webhooks.adapters.names import check_name

        target = self._rules.parse_url(url)
        check_name(target)
        self.own_api.check(target)

    @cached_property
    def logbook(self) -> Logbook:
        """What owners look through. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.delivery_log import DynamoDBDeliveryLog
        from webhooks.services.delivery_log import Logbook

        log = DynamoDBDeliveryLog(self._dynamodb, self.settings.deliveries_table, self._deliveries)
        return Logbook(
            log,
            self._deliveries,
            self._scheduler,
            rate_limits=self.rate_limits,
            observer=self.observer,
            cursor_key=self._cursor_key,
        )

    @cached_property
    def replays(self) -> Replays:
        """What starts and shows replays. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.stepfunctions import StepFunctionsReplayScheduler
        from webhooks.services.replays import Replays

        return Replays(
            store=self._replay_store,
            scheduler=StepFunctionsReplayScheduler(
                self._client("stepfunctions"), self.settings.recovery_state_machine_arn
            ),
            max_replays_per_day=self.settings.max_replays_per_day,
            cursor_key=self._cursor_key,
        )

    @cached_property
    def erasures(self) -> Erasures:
        """What starts and shows erasures."""
        from webhooks.adapters.stepfunctions import StepFunctionsErasureScheduler
        from webhooks.services.erasures import Erasures

        return Erasures(
            store=self._erasure_store,
            scheduler=StepFunctionsErasureScheduler(
                self._client("stepfunctions"), self.settings.recovery_state_machine_arn
            ),
            rate_limits=self.rate_limits,
        )

    @cached_property
    def checks(self) -> Checks:
        """What starts and shows checks of receivers."""
        from webhooks.adapters.stepfunctions import StepFunctionsCheckScheduler
        from webhooks.services.checks import Checks

        return Checks(
            store=self._check_store,
            scheduler=StepFunctionsCheckScheduler(
                self._client("stepfunctions"), self.settings.recovery_state_machine_arn
            ),
            rate_limits=self.rate_limits,
        )

    @cached_property
    def rate_limits(self) -> RateLimits:
        """How much may be asked for."""
        from webhooks.adapters.rate_limits import DynamoDBRateLimitStore
        from webhooks.domain.rate_limit import RateLimit
        from webhooks.services.rate_limits import RateLimits

        settings = self.settings
        return RateLimits(
            DynamoDBRateLimitStore(self._dynamodb, settings.deliveries_table),
            limits={
                RateLimit.CALLS: settings.max_calls_per_minute,
                RateLimit.TESTS: settings.max_tests_per_hour,
                RateLimit.RESENDS: settings.max_resends_per_hour,
                RateLimit.ERASURES: settings.max_erasures_per_day,
            },
            observer=self.observer,
            clock=time.time,
        )

    @cached_property
    def keyring(self) -> Keyring:
        """What makes and recognises API keys. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.api_keys import DynamoDBApiKeyStore
        from webhooks.services.keyring import Keyring

        return Keyring(
            DynamoDBApiKeyStore(self._dynamodb, self.settings.api_keys_table),
            cursor_key=self._cursor_key,
        )

    @cached_property
    def publisher(self) -> Publisher:
        """What puts events on the queue."""
        from webhooks.services.publisher import Publisher

        return Publisher(self._event_queue, self.observer)

    @cached_property
    def kept_answers(self) -> KeptAnswers:
        """The answers to calls with an idempotency key."""
        from webhooks.adapters.idempotency import PowertoolsKeptAnswers

        return PowertoolsKeptAnswers(self._dynamodb, self.settings.idempotency_table)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """What handles batches of event messages."""
        from webhooks.adapters.sqs import SQSRejectedMessages
        from webhooks.domain.ses import SesAccounts
        from webhooks.services.dispatcher import Dispatcher

        settings = self.settings
        return Dispatcher(
            destinations=self._destinations,
            deliveries=self._deliveries,
            deliverer=self._deliverer,
            health=self._health,
            scheduler=self._scheduler,
            queue=self._event_queue,
            rejected=SQSRejectedMessages(self._sqs, settings.events_dead_letter_queue_url),
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
            health=self._health,
            scheduler=self._scheduler,
            observer=self.observer,
            clock=time.time,
        )

    @cached_property
    def replayer(self) -> Replayer:
        """What carries replays out."""
        from webhooks.services.replayer import Replayer

        return Replayer(
            store=self._replay_store,
            walk=self._walk,
            destinations=self._destinations,
            retrier=self.retrier,
            observer=self.observer,
            clock=time.time,
            deliveries_per_second=self.settings.replay_rate,
        )

    @cached_property
    def checker(self) -> Checker:
        """What carries checks out."""
        from webhooks.services.checker import Checker

        return Checker(
            store=self._check_store,
            destinations=self._destinations,
            sender=self._sender,
            observer=self.observer,
            clock=time.time,
        )

    @cached_property
    def eraser(self) -> Eraser:
        """What carries erasures out."""
        from webhooks.adapters.erasures import DynamoDBWebhookTrail
        from webhooks.services import eraser

        settings = self.settings
        return eraser.Eraser(
            store=self._erasure_store,
            trail=DynamoDBWebhookTrail(
                self._dynamodb, settings.webhooks_table, settings.deliveries_table
            ),
            walk=self._walk,
            deliveries=self._deliveries,
            observer=self.observer,
            clock=time.time,
            settle_seconds=eraser.SETTLE_SECONDS,
        )

    @cached_property
    def recovery(self) -> Recovery:
        """What brings back webhooks that were down or disabled."""
        from webhooks.services.recovery import Recovery

        return Recovery(
            store=self._health_store,
            health=self._health,
            walk=self._walk,
            deliveries=self._deliveries,
            destinations=self._destinations,
            retrier=self.retrier,
            observer=self.observer,
            clock=time.time,
            random=random.random,
            schedule=self.settings.recovery_schedule,
            deliveries_per_second=self.settings.recovery_rate,
        )

    @cached_property
    def sweeper(self) -> Sweeper:
        """What starts again what nobody works on any more."""
        from webhooks.adapters.overdue import DynamoDBOverdueDeliveries
        from webhooks.services.sweeper import Sweeper

        return Sweeper(
            overdue=DynamoDBOverdueDeliveries(self._dynamodb, self.settings.deliveries_table),
            deliveries=self._deliveries,
            scheduler=self._scheduler,
            health=self._health_store,
            recoveries=self._recovery_scheduler,
            observer=self.observer,
            clock=time.time,
            random=random.random,
            new_id=_new_id,
        )

    @cached_property
    def redriver(self) -> Redriver:
        """What an operator's command gives deliveries another chance with."""
        from webhooks.services.redriver import Redriver

        return Redriver(self._deliveries, self._scheduler, time.time)

    @cached_property
    def _health(self) -> HealthKeeper:
        from webhooks.adapters.eventbridge import EventBridgeOperationalEvents
        from webhooks.services.health import HealthKeeper

        return HealthKeeper(
            store=self._health_store,
            scheduler=self._recovery_scheduler,
            operational_events=EventBridgeOperationalEvents(
                self._client("events"), self.settings.stack_name
            ),
            observer=self.observer,
            recovery_schedule=self.settings.recovery_schedule,
            clock=time.time,
            random=random.random,
            new_id=_new_id,
        )

    @cached_property
    def _health_store(self) -> HealthStore:
        from webhooks.adapters.health import DynamoDBHealthStore

        return DynamoDBHealthStore(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _recovery_scheduler(self) -> RecoveryScheduler:
        from webhooks.adapters.stepfunctions import StepFunctionsRecoveryScheduler

        return StepFunctionsRecoveryScheduler(
            self._client("stepfunctions"), self.settings.recovery_state_machine_arn
        )

    @cached_property
    def _walk(self) -> DeliveryWalk:
        from webhooks.adapters.delivery_walk import DynamoDBDeliveryWalk

        return DynamoDBDeliveryWalk(
            self._dynamodb, self.settings.deliveries_table, self._deliveries
        )

    @cached_property
    def _replay_store(self) -> ReplayStore:
        from webhooks.adapters.replays import DynamoDBReplayStore

        return DynamoDBReplayStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _erasure_store(self) -> ErasureStore:
        from webhooks.adapters.erasures import DynamoDBErasureStore

        return DynamoDBErasureStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _check_store(self) -> CheckStore:
        from webhooks.adapters.checks import DynamoDBCheckStore

        return DynamoDBCheckStore(
            self._dynamodb,
            self.settings.deliveries_table,
            retention_days=self.settings.retention_days,
        )

    @cached_property
    def _deliverer(self) -> Deliverer:
        from webhooks.services.deliverer import Deliverer

        return Deliverer(
            sender=self._sender,
            destinations=self._destinations,
            health=self._health,
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
    def _scheduler(self) -> RetryScheduler:
        from webhooks.adapters.stepfunctions import StepFunctionsRetryScheduler

        return StepFunctionsRetryScheduler(
            self._client("stepfunctions"), self.settings.retry_state_machine_arn
        )

    @property
    def _cursor_key(self) -> bytes:
        if not self.settings.cursor_key:
            msg = "CURSOR_KEY must be set: it seals the lists' cursors"
            raise ValueError(msg)
        return self.settings.cursor_key

    @cached_property
    def _destinations(self) -> DestinationStore:
        from webhooks.adapters.destinations import DynamoDBDestinationStore

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


def _new_id() -> str:
    return str(uuid.uuid4())


@cache
def services(function: str) -> Services:
    """Return the services of a deployed function, built from its environment, once a process."""
    return Services(function, Settings.from_environment(os.environ))
