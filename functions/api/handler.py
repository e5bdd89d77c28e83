"""The Lambda function behind the HTTP API."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from api.app import Api
from webhooks.wiring.api import ApiServices

if TYPE_CHECKING:
    from collections.abc import Mapping


def lambda_handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Respond to one HTTP API event, payload version 2.0."""
    return make_api()(event, context)


@cache
def make_api() -> Api:
    """Return the API of a deployed function, built at its first request."""
    return Api(ApiServices.deployed())
