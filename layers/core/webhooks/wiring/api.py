"""The api's services: an owner's webhooks, deliveries, jobs, API keys and events."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
from webhooks.adapters.dynamodb.delivery_log import DynamoDBDeliveryLog
from webhooks.adapters.dynamodb.rate_limits import DynamoDBRateLimitStore
from webhooks.adapters.dynamodb.subscriptions import DynamoDBSubscriptions
from webhooks.adapters.dynamodb.webhooks import DynamoDBWebhookStore
from webhooks.adapters.http.idna import check_international_name
from webhooks.adapters.http.resolver import resolve
from webhooks.adapters.sqs import SQSEventQueue
from webhooks.domain.rate_limit import RateLimit
from webhooks.services.api_keys import ApiKeyService
from webhooks.services.delivery_log import DeliveryLogService
from webhooks.services.jobs.check import CheckService
from webhooks.services.jobs.erasure import ErasureService
from webhooks.services.jobs.replay import ReplayService
from webhooks.services.own_api import OwnApi
from webhooks.services.publisher import Publisher
from webhooks.services.rate_limits import RateLimits
from webhooks.services.webhooks import WebhookService
from webhooks.wiring.common import CommonServices
from webhooks.wiring.job_stores import JobStores

if TYPE_CHECKING:
    from webhooks.ports import IdempotencyStore, Sealer


class ApiServices(CommonServices):
    """The services of the HTTP API's function."""

    function = "api"

    @property
    def docs_page(self) -> bool:
        """Whether the API has its page of documentation."""
        return self.settings.docs_page

    @cached_property
    def own_api(self) -> OwnApi:
        """The API's own host names."""
        return OwnApi(self.settings.domain_name)

    @cached_property
    def webhook_service(self) -> WebhookService:
        """The webhooks of an account. ValueError without CURSOR_KEY."""
        return WebhookService(
            DynamoDBWebhookStore(
                self._dynamodb,
                self.settings.webhooks_table,
                deliveries_table=self.settings.deliveries_table,
                retention_days=self.settings.retention_days,
            ),
            recoveries=self._job_scheduler,
            rate_limits=self.rate_limits,
            telemetry=self.telemetry,
            check_url=self._check_url,
            resolve=resolve,
            is_public=self._rules.is_public,
            max_webhooks=self.settings.max_webhooks_per_account,
            max_webhooks_per_host=self.settings.max_webhooks_per_host,
            cursor_key=self._cursor_key,
        )

    def _check_url(self, url: str) -> None:
        target = self._rules.parse_url(url)
        check_international_name(target)
        self.own_api.check(target)

    @cached_property
    def delivery_log_service(self) -> DeliveryLogService:
        """The deliveries of a webhook. ValueError without CURSOR_KEY."""
        log = DynamoDBDeliveryLog(self._dynamodb, self.settings.deliveries_table, self._deliveries)
        return DeliveryLogService(
            log,
            self._deliveries,
            self._scheduler,
            rate_limits=self.rate_limits,
            telemetry=self.telemetry,
            cursor_key=self._cursor_key,
        )

    @cached_property
    def replays(self) -> ReplayService:
        """The replays of a webhook. ValueError without CURSOR_KEY."""
        return ReplayService(
            store=self._job_stores.replays,
            scheduler=self._job_scheduler,
            max_replays_per_day=self.settings.max_replays_per_day,
            cursor_key=self._cursor_key,
        )

    @cached_property
    def checks(self) -> CheckService:
        """The checks of a webhook's receiver."""
        return CheckService(
            store=self._job_stores.checks,
            scheduler=self._job_scheduler,
            rate_limits=self.rate_limits,
        )

    @cached_property
    def erasures(self) -> ErasureService:
        """The erasures of an account."""
        return ErasureService(
            store=self._job_stores.erasures,
            scheduler=self._job_scheduler,
            rate_limits=self.rate_limits,
        )

    @cached_property
    def rate_limits(self) -> RateLimits:
        """The rate limits of an account."""
        settings = self.settings
        return RateLimits(
            DynamoDBRateLimitStore(self._dynamodb, settings.deliveries_table),
            limits={
                RateLimit.CALLS: settings.max_calls_per_minute,
                RateLimit.PUBLISHED: settings.max_events_per_minute,
                RateLimit.TESTS: settings.max_tests_per_hour,
                RateLimit.RESENDS: settings.max_resends_per_hour,
                RateLimit.ENABLES: settings.max_enables_per_hour,
                RateLimit.ERASURES: settings.max_erasures_per_day,
            },
            telemetry=self.telemetry,
            clock=self._clock,
        )

    @cached_property
    def api_key_service(self) -> ApiKeyService:
        """The API keys of an account. ValueError without CURSOR_KEY."""
        return ApiKeyService(
            DynamoDBApiKeyStore(self._dynamodb, self.settings.api_keys_table),
            cursor_key=self._cursor_key,
        )

    @cached_property
    def publisher(self) -> Publisher:
        """The way of an event into the queue."""
        return Publisher(
            SQSEventQueue(self._client("sqs"), self.settings.events_queue_url),
            self.telemetry,
            rate_limits=self.rate_limits,
            subscriptions=DynamoDBSubscriptions(self._dynamodb, self.settings.webhooks_table),
        )

    @cached_property
    def idempotency_store(self) -> IdempotencyStore:
        """The answers to calls with an idempotency key."""
        # Imported here: Powertools' idempotency loads boto3, which would make every cold start
        # slower, and only calls with an idempotency key need it.
        from webhooks.adapters.dynamodb.idempotency import (  # noqa: PLC0415
            PowertoolsIdempotencyStore,
        )

        return PowertoolsIdempotencyStore(self._dynamodb, self.settings.idempotency_table)

    @cached_property
    def sealer(self) -> Sealer:
        """The seal of those answers."""
        # Imported here: `cryptography` would make every cold start slower, and only calls with an
        # idempotency key seal anything.
        from webhooks.adapters.sealing import AesGcmSealer  # noqa: PLC0415

        return AesGcmSealer()

    @cached_property
    def _job_stores(self) -> JobStores:
        return JobStores(self._dynamodb, self.settings)

    @property
    def _cursor_key(self) -> bytes:
        if not self.settings.cursor_key:
            msg = "CURSOR_KEY must be set: it seals the lists' cursors"
            raise ValueError(msg)
        return self.settings.cursor_key
