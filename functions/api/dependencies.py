"""What a route asks for in its signature besides the request's own values."""

from typing import Annotated, cast

from aws_lambda_powertools.event_handler import Request
from aws_lambda_powertools.event_handler.depends import Depends

from api.requests import Call, read_documents
from webhooks.domain.api_key import ApiKey
from webhooks.services.delivery_log import Logbook
from webhooks.services.jobs.check import CheckService
from webhooks.services.jobs.erasure import ErasureService
from webhooks.services.jobs.replay import ReplayService
from webhooks.services.keyring import Keyring
from webhooks.services.publisher import Publisher
from webhooks.services.registry import Registry


def _call(request: Request) -> Call:
    return cast("Call", request.context["call"])


def _calling_key(request: Request) -> ApiKey:
    key = _call(request).key
    assert key is not None  # noqa: S101  authenticate() lets nobody past without one
    return key


def _account_id(request: Request) -> str:
    return _calling_key(request).account_id


def _registry(request: Request) -> Registry:
    return _call(request).services.registry


def _logbook(request: Request) -> Logbook:
    return _call(request).services.logbook


def _replays(request: Request) -> ReplayService:
    return _call(request).services.replays


def _checks(request: Request) -> CheckService:
    return _call(request).services.checks


def _erasures(request: Request) -> ErasureService:
    return _call(request).services.erasures


def _keyring(request: Request) -> Keyring:
    return _call(request).services.keyring


def _publisher(request: Request) -> Publisher:
    return _call(request).services.publisher


def _if_none_match(request: Request) -> str | None:
    return request.resolved_event.headers.get("if-none-match")


def _documents(request: Request) -> dict[str, object] | list[object]:
    return read_documents(request.resolved_event)


CurrentCall = Annotated[Call, Depends(_call)]
"""The request on its way through."""

CallingKey = Annotated[ApiKey, Depends(_calling_key)]
"""The request's key."""

AccountId = Annotated[str, Depends(_account_id)]
"""The account of the request's key; the only place that an account ever comes from."""

WebhookRegistry = Annotated[Registry, Depends(_registry)]

DeliveryLogbook = Annotated[Logbook, Depends(_logbook)]

WebhookReplays = Annotated[ReplayService, Depends(_replays)]

ReceiverChecks = Annotated[CheckService, Depends(_checks)]

RecipientErasures = Annotated[ErasureService, Depends(_erasures)]

ApiKeyring = Annotated[Keyring, Depends(_keyring)]

EventPublisher = Annotated[Publisher, Depends(_publisher)]

IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]
"""The versions of a file that the caller has already; None where it has none."""

PublishedDocuments = Annotated[dict[str, object] | list[object], Depends(_documents)]
"""The request's body as a publication, which the domain checks."""
