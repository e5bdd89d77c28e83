"""What a route asks for in its signature besides the request's own values."""

from typing import Annotated, cast

from aws_lambda_powertools.event_handler import Request
from aws_lambda_powertools.event_handler.depends import Depends

from api.requests import Call
from webhooks.services.registry import Registry


def _call(request: Request) -> Call:
    return cast("Call", request.context["call"])


def _account_id(request: Request) -> str:
    key = _call(request).key
    assert key is not None  # noqa: S101  authenticate() lets nobody past without one
    return key.account_id


def _registry(request: Request) -> Registry:
    return _call(request).services.registry


AccountId = Annotated[str, Depends(_account_id)]
"""The account of the request's key; the only place that an account ever comes from."""

WebhookRegistry = Annotated[Registry, Depends(_registry)]
