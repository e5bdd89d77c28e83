"""The Lambda function behind the HTTP API."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from api.app import Api
from webhooks import wiring

if TYPE_CHECKING:
    from collections.abc import Mapping


def lambda_handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP API event, payload version 2.0."""
    return _api()(event, context)


@cache
def _api() -> Api:
    return Api(wiring.services("api"))
