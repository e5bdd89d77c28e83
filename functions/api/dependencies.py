"""Values that a route's signature can ask for: services, the calling key, its account."""

from typing import Annotated, cast

from aws_lambda_powertools.event_handler import Request
from aws_lambda_powertools.event_handler.depends import Depends

from api.requests import Call, read_documents
from webhooks.domain.api_key import ApiKey
from webhooks.services.api_keys import ApiKeyService
from webhooks.services.delivery_log import DeliveryLogService
from webhooks.services.jobs.check import CheckService
from webhooks.services.jobs.erasure import ErasureService
from webhooks.services.jobs.replay import ReplayService
from webhooks.services.publisher import Publisher
from webhooks.services.webhooks import WebhookService


def _call(request: Request) -> Call:
    return cast("Call", request.context["call"])


def _calling_key(request: Request) -> ApiKey:
    key = _call(request).key
    assert key is not None  # noqa: S101  authenticate() lets nobody past without one
    return key


def _account_id(request: Request) -> str:
    return _calling_key(request).account_id


def _webhook_service(request: Request) -> WebhookService:
    return _call(request).services.webhook_service


def _delivery_log_service(request: Request) -> DeliveryLogService:
    return _call(request).services.delivery_log_service


def _replays(request: Request) -> ReplayService:
    return _call(request).services.replays


def _checks(request: Request) -> CheckService:
    return _call(request).services.checks


def _erasures(request: Request) -> ErasureService:
    return _call(request).services.erasures


def _api_key_service(request: Request) -> ApiKeyService:
    return _call(request).services.api_key_service


def _publisher(request: Request) -> Publisher:
    return _call(request).services.publisher


def _if_none_match(request: Request) -> str | None:
    return request.resolved_event.headers.get("if-none-match")


def _documents(request: Request) -> dict[str, object] | list[object]:
    return read_documents(request.resolved_event)


CurrentCall = Annotated[Call, Depends(_call)]
"""The current request."""

CallingKey = Annotated[ApiKey, Depends(_calling_key)]
"""The API key of the current request."""

AccountId = Annotated[str, Depends(_account_id)]
"""The account of the request's key. No other part of a request decides the account."""

Webhooks = Annotated[WebhookService, Depends(_webhook_service)]

Deliveries = Annotated[DeliveryLogService, Depends(_delivery_log_service)]

WebhookReplays = Annotated[ReplayService, Depends(_replays)]

ReceiverChecks = Annotated[CheckService, Depends(_checks)]

RecipientErasures = Annotated[ErasureService, Depends(_erasures)]

ApiKeys = Annotated[ApiKeyService, Depends(_api_key_service)]

EventPublisher = Annotated[Publisher, Depends(_publisher)]

IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]
"""The file versions that the caller has already; None without If-None-Match."""

PublishedDocuments = Annotated[dict[str, object] | list[object], Depends(_documents)]
"""The request's body, one event or a list. The domain validates it."""
