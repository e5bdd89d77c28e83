"""A registry on fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.fakes import FakeJobScheduler, FakeRateLimitStore, FakeTelemetry
from webhooks.domain import targets
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.webhook import Registration
from webhooks.services.rate_limits import RateLimits
from webhooks.services.webhooks import WebhookService

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fakes import FakeWebhookStore

KEY = b"k" * 32
NOW_NS = 1_766_359_512_006_123_456
REGISTRATION = Registration(url="https://hooks.acme.com/email", events=("email.sent",))


def make_registry(
    store: FakeWebhookStore,
    *addresses: str,
    max_webhooks: int = 50,
    max_webhooks_per_host: int = 50,
    recoveries: FakeJobScheduler | None = None,
    enables: int = 60,
    now_ns: Callable[[], int] = lambda: NOW_NS,
) -> WebhookService:
    return WebhookService(
        store,
        recoveries=recoveries or FakeJobScheduler(),
        rate_limits=RateLimits(
            FakeRateLimitStore(),
            limits={RateLimit.ENABLES: enables},
            telemetry=FakeTelemetry(),
            clock=lambda: now_ns() / 1e9,
        ),
        telemetry=FakeTelemetry(),
        check_url=targets.check_url,
        resolve=lambda _host: addresses,
        is_public=targets.is_public,
        max_webhooks=max_webhooks,
        max_webhooks_per_host=max_webhooks_per_host,
        cursor_key=KEY,
        now_ns=now_ns,
        random_bytes=lambda count: b"\xab" * count,
    )
