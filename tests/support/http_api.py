"""HTTP API events, payload version 2.0, and the API on fakes."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlencode

from api.app import Api
from support.fakes import (
    FakeApiKeyStore,
    FakeDeliveryStore,
    FakeEventQueue,
    FakeIdempotencyStore,
    FakeJobScheduler,
    FakeJobStore,
    FakeRateLimitStore,
    FakeScheduler,
    FakeTelemetry,
    FakeWebhookStore,
)
from webhooks.adapters.sealing import AesGcmSealer
from webhooks.domain import targets
from webhooks.domain.api_key import ALL_SCOPES, Scope
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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from webhooks.domain.jobs.check import Check
    from webhooks.domain.jobs.erasure import Erasure
    from webhooks.domain.jobs.replay import Replay
    from webhooks.wiring.api import ApiServices

PROXY_ROUTE = "ANY /{proxy+}"
"""The template's catch-all route, for every call that needs a key."""

OWN_DOMAIN = "hooks.api.sendcomms.com"
CURSOR_KEY = b"a key for the cursors of tests"
LIMITS = {
    RateLimit.CALLS: 10_000,
    RateLimit.TESTS: 100,
    RateLimit.RESENDS: 100,
    RateLimit.ENABLES: 100,
    RateLimit.ERASURES: 100,
}
"""An account's rate limits on fakes, unless a test sets others: too high to meet."""

LAMBDA_CONTEXT = SimpleNamespace(
    aws_request_id="lambda-request-id", get_remaining_time_in_millis=lambda: 15_000
)


def http_api_event(
    method: str,
    path: str,
    *,
    query: str | Mapping[str, str] = "",
    headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    request_id: str | None = "JKJaXmPLvHcESHA=",
) -> dict[str, Any]:
    """Make API Gateway's event of a request; a body of bytes goes as base64."""
    raw_query = query if isinstance(query, str) else urlencode(query)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": PROXY_ROUTE,
        "rawPath": path,
        "rawQueryString": raw_query,
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "api-id.execute-api.eu-central-1.amazonaws.com",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test",
            },
            "routeKey": PROXY_ROUTE,
            "stage": "$default",
            "timeEpoch": 1766359512006,
        },
        "pathParameters": {"proxy": path.removeprefix("/")},
        "isBase64Encoded": isinstance(body, bytes),
    }
    if request_id is not None:
        event["requestContext"]["requestId"] = request_id
    if raw_query:
        parameters = parse_qs(raw_query, keep_blank_values=True)
        event["queryStringParameters"] = {
            name: ",".join(values) for name, values in parameters.items()
        }
    if body is not None:
        event["body"] = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    return event


@dataclass(frozen=True)
class Answer:
    """An answer of the API, its body read."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def fields(self) -> list[str]:
        """The fields that `details` names."""
        return [detail["field"] for detail in self.error["details"]]


class AccountClient:
    """Calls an API with an account's key."""

    def __init__(self, api: Callable[[Mapping[str, Any], Any], dict[str, Any]], key: str) -> None:
        self.api = api
        self.key = key

    def call(self, method: str, path: str = "/api/v1/webhooks", **request: Any) -> Answer:
        """Send a request with the account's key; `json` is a value to send as the body."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if "json" in request:
            request["body"] = json.dumps(request.pop("json"))
            headers["Content-Type"] = "application/json"
        headers |= request.pop("headers", {})
        return self.send(http_api_event(method, path, headers=headers, **request))

    def send(self, event: Mapping[str, Any]) -> Answer:
        """Send an event unchanged."""
        answer = self.api(event, LAMBDA_CONTEXT)
        assert set(answer) == {"statusCode", "headers", "cookies", "body", "isBase64Encoded"}
        return Answer(answer["statusCode"], answer["headers"], answer["body"])


@dataclass
class ApiOnFakes:
    """The API on fakes, and two accounts' keys."""

    addresses: dict[str, Sequence[str]] = field(default_factory=dict)
    max_webhooks: int = 50
    max_webhooks_per_host: int = 10_000
    docs_page: bool = True
    limits: dict[RateLimit, int] = field(default_factory=LIMITS.copy)
    webhooks: FakeWebhookStore = field(default_factory=FakeWebhookStore)
    deliveries: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    scheduler: FakeScheduler = field(default_factory=FakeScheduler)
    max_replays_per_day: int = 50
    rate_limit_store: FakeRateLimitStore = field(default_factory=FakeRateLimitStore)
    check_store: FakeJobStore[Check] = field(default_factory=FakeJobStore)
    check_scheduler: FakeJobScheduler = field(default_factory=FakeJobScheduler)
    erasure_store: FakeJobStore[Erasure] = field(default_factory=FakeJobStore)
    erasure_scheduler: FakeJobScheduler = field(default_factory=FakeJobScheduler)
    replay_store: FakeJobStore[Replay] = field(
        default_factory=lambda: FakeJobStore(one_at_a_time=True)
    )
    replay_scheduler: FakeJobScheduler = field(default_factory=FakeJobScheduler)
    recovery_scheduler: FakeJobScheduler = field(default_factory=FakeJobScheduler)
    keys: FakeApiKeyStore = field(default_factory=FakeApiKeyStore)
    events: FakeEventQueue = field(default_factory=FakeEventQueue)
    idempotency_store: FakeIdempotencyStore = field(default_factory=FakeIdempotencyStore)
    sealer: AesGcmSealer = field(default_factory=AesGcmSealer)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    looked_up: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own_api = OwnApi(OWN_DOMAIN)
        self.rate_limits = RateLimits(
            self.rate_limit_store, limits=self.limits, telemetry=self.telemetry, clock=time.time
        )
        self.webhook_service = WebhookService(
            self.webhooks,
            recoveries=self.recovery_scheduler,
            rate_limits=self.rate_limits,
            telemetry=self.telemetry,
            check_url=lambda url: self.own_api.check(targets.parse_url(url)),
            resolve=self.resolve,
            is_public=targets.is_public,
            max_webhooks=self.max_webhooks,
            max_webhooks_per_host=self.max_webhooks_per_host,
            cursor_key=CURSOR_KEY,
        )
        self.delivery_log_service = DeliveryLogService(
            self.deliveries,
            self.deliveries,
            self.scheduler,
            rate_limits=self.rate_limits,
            telemetry=self.telemetry,
            cursor_key=CURSOR_KEY,
        )
        self.checks = CheckService(
            store=self.check_store, scheduler=self.check_scheduler, rate_limits=self.rate_limits
        )
        self.erasures = ErasureService(
            store=self.erasure_store, scheduler=self.erasure_scheduler, rate_limits=self.rate_limits
        )
        self.api_key_service = ApiKeyService(self.keys, cursor_key=CURSOR_KEY)
        self.publisher = Publisher(
            self.events,
            self.telemetry,
            rate_limits=self.rate_limits,
            subscriptions=self.webhooks,
        )
        self.replays = ReplayService(
            store=self.replay_store,
            scheduler=self.replay_scheduler,
            max_replays_per_day=self.max_replays_per_day,
            cursor_key=CURSOR_KEY,
        )
        self.api = Api(cast("ApiServices", self))
        self.acme = self.client("acme")
        self.globex = self.client("globex")

    def client(self, account_id: str, scopes: AbstractSet[Scope] = ALL_SCOPES) -> AccountClient:
        """Make a key for an account and return its client."""
        return AccountClient(self.api, self.api_key_service.issue(account_id, scopes=scopes).text)

    def resolve(self, host: str) -> Sequence[str]:
        """Look a name up in `addresses`; absent names have no address."""
        self.looked_up.append(host)
        return self.addresses.get(host, ())
