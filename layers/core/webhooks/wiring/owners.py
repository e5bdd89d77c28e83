"""The services of the api: what owners manage, look through and publish."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from webhooks.wiring.base import Base

if TYPE_CHECKING:
    from webhooks.ports import IdempotencyStore, Sealer
    from webhooks.services.api_keys import ApiKeyService
    from webhooks.services.delivery_log import DeliveryLogService
    from webhooks.services.own_api import OwnApi
    from webhooks.services.publisher import Publisher
    from webhooks.services.rate_limits import RateLimits
    from webhooks.services.webhooks import WebhookService


class OwnersServices(Base):
    """The api's services but for jobs."""

    @property
    def docs_page(self) -> bool:
        """Whether the API has its page of documentation."""
        return self.settings.docs_page

    @cached_property
    def own_api(self) -> OwnApi:
        """What knows the API's own names."""
        from webhooks.services.own_api import OwnApi

        return OwnApi(self.settings.domain_name)

    @cached_property
    def webhook_service(self) -> WebhookService:
        """What manages webhooks. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.dynamodb.webhooks import DynamoDBWebhookStore
        from webhooks.adapters.http.resolver import resolve
        from webhooks.services.webhooks import WebhookService

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
        from webhooks.adapters.http.idna import check_international_name

        target = self._rules.parse_url(url)
        check_international_name(target)
        self.own_api.check(target)

    @cached_property
    def delivery_log_service(self) -> DeliveryLogService:
        """What owners look through. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.dynamodb.delivery_log import DynamoDBDeliveryLog
        from webhooks.services.delivery_log import DeliveryLogService

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
    def rate_limits(self) -> RateLimits:
        """How much may be asked for."""
        from webhooks.adapters.dynamodb.rate_limits import DynamoDBRateLimitStore
        from webhooks.domain.rate_limit import RateLimit
        from webhooks.services.rate_limits import RateLimits

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
        """What makes and recognises API keys. ValueError without a key to seal its cursors with."""
        from webhooks.adapters.dynamodb.api_keys import DynamoDBApiKeyStore
        from webhooks.services.api_keys import ApiKeyService

        return ApiKeyService(
            DynamoDBApiKeyStore(self._dynamodb, self.settings.api_keys_table),
            cursor_key=self._cursor_key,
        )

    @cached_property
    def publisher(self) -> Publisher:
        """What puts events on the queue."""
        from webhooks.adapters.dynamodb.subscriptions import DynamoDBSubscriptions
        from webhooks.services.publisher import Publisher

        return Publisher(
            self._event_queue,
            self.telemetry,
            rate_limits=self.rate_limits,
            subscriptions=DynamoDBSubscriptions(self._dynamodb, self.settings.webhooks_table),
        )

    @cached_property
    def idempotency_store(self) -> IdempotencyStore:
        """The answers to calls with an idempotency key."""
        from webhooks.adapters.dynamodb.idempotency import PowertoolsIdempotencyStore

        return PowertoolsIdempotencyStore(self._dynamodb, self.settings.idempotency_table)

    @cached_property
    def sealer(self) -> Sealer:
        """What seals idempotency records. It loads `cryptography`, so few calls ask for it."""
        from webhooks.adapters.sealing import AesGcmSealer

        return AesGcmSealer()

    @property
    def _cursor_key(self) -> bytes:
        if not self.settings.cursor_key:
            msg = "CURSOR_KEY must be set: it seals the lists' cursors"
            raise ValueError(msg)
        return self.settings.cursor_key
