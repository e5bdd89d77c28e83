"""Values that a route's signature can ask for: services, the calling key, its account."""

from typing import Annotated, cast

from aws_lambda_powertools.event_handler import Request
from aws_lambda_powertools.event_handler.depends import Depends

from api.requests import Call, read_documents
from webhooks.domain.api_key import ApiKey
from webhooks.wiring.api import ApiServices


def _call(request: Request) -> Call:
    return cast("Call", request.context["call"])


def _calling_key(request: Request) -> ApiKey:
    key = _call(request).key
    assert key is not None  # noqa: S101  authenticate() lets nobody past without one
    return key


def _account_id(request: Request) -> str:
    return _calling_key(request).account_id


def _services(request: Request) -> ApiServices:
    return _call(request).services


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

Services = Annotated[ApiServices, Depends(_services)]
"""All services of the api; a route takes the one that it needs, as `services.publisher`."""

IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]
"""The file versions that the caller has already; None without If-None-Match."""

PublishedDocuments = Annotated[dict[str, object] | list[object], Depends(_documents)]
"""The request's body, one event or a list. The domain validates it."""
