"""The middlewares before every route: find it, authenticate, authorize, validate the request.

With Powertools' own setting for validation on, Powertools validates before any middleware runs, and
its errors would describe the input to callers without a key. The setting therefore stays off, and
Powertools' validation is the last of these middlewares. The OpenAPI document comes from the same
signatures either way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from aws_lambda_powertools.event_handler.middlewares.openapi_validation import (
    OpenAPIRequestValidationMiddleware,
)

from api import errors
from api.operations import required_scope, route_key, routes
from webhooks.domain import payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
    from aws_lambda_powertools.event_handler.api_gateway import Route
    from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
    from aws_lambda_powertools.event_handler.types import EventHandlerInstance
    from aws_lambda_powertools.utilities.data_classes.common import BaseProxyEvent

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.seed import Seed
    from webhooks.wiring.api import ApiServices

MAX_BODY_BYTES = 16 * 1024
MAX_EVENTS_BODY_BYTES = 1024 * 1024
"""The largest body of a publication: the size of one SQS batch. Lambda takes up to 6 MB from API
Gateway (escapes and headers included), so a 413 always comes from the API itself.
"""

MAX_DEPTH = 32

_PARAMETER = re.compile(r';([^=;]*)(?:=([ \t]*"(?:[^"\\]|\\.)*"[^;]*|[^;]*))?')
"""A parameter of a media type (RFC 9110, section 5.6.6); a quoted value may hold a semicolon."""

_UTF_8 = frozenset({"utf-8", "utf8"})
"""IANA's registered name, and the spelling of many clients (WHATWG's Encoding Standard)."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(slots=True)
class Call:
    """One request and the facts that its middlewares found, for routes and for the log.

    `route` is the route's own path, for example `GET /api/v1/webhooks/{webhook_id}`. The request's
    path has ids and addresses in it and is never logged. A route sets `final` to false if the same
    request, sent again, may do more, and adds further ids for the log line to `noted`.
    """

    services: ApiServices
    request_id: str
    remaining_ms: Callable[[], int]
    route: str | None = None
    key: ApiKey | None = None
    error_code: str | None = None
    final: bool = True
    seed: Seed | None = None
    noted: dict[str, str] = field(default_factory=dict)


def current_call(app: EventHandlerInstance) -> Call:
    """Return the state of the request that is being served."""
    return cast("Call", app.context["call"])


def refuse_unknown_routes(
    app: APIGatewayHttpResolver, next_middleware: NextMiddleware
) -> Response[Any]:
    """Respond 404 to an unknown path, 405 to a path that lacks the method."""
    # Powertools has no 405, and accepts a path that ends in a line break.
    path, method = app.current_event.path, app.current_event.http_method.upper()
    here = [route for route in routes(app) if route.rule.fullmatch(path)]
    allowed = {route.method for route in here}
    if not allowed:
        raise errors.not_found()
    current_call(app).route = route_key(method, here[0])
    if method not in allowed:
        raise errors.method_not_allowed(allowed)
    return next_middleware(app)


def authenticate(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Find the request's API key; from here on the account is the key's."""
    if required_scope(app.context["_route"]) is None:
        return next_middleware(app)
    call = current_call(app)
    authorization = app.current_event.headers.get("authorization")
    call.key = call.services.api_key_service.authenticate(authorization) if authorization else None
    if call.key is None:
        raise errors.unauthorized()
    return next_middleware(app)


def count_calls(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Refuse a call above the account's limit of calls per minute."""
    call = current_call(app)
    if call.key is not None:
        call.services.rate_limits.call(call.key.account_id)
    return next_middleware(app)


def authorize(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Refuse a key without the route's scope, before the request's content is looked at."""
    key = current_call(app).key
    scope = required_scope(app.context["_route"])
    if key is not None and scope is not None and scope not in key.scopes:
        raise errors.insufficient_scope(scope)
    return next_middleware(app)


def refuse_unknown_parameters(
    app: APIGatewayHttpResolver, next_middleware: NextMiddleware
) -> Response[Any]:
    """Refuse query parameters that the route does not declare, by name."""
    route: Route = app.context["_route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    unknown = [name for name in app.current_event.query_string_parameters if name not in known]
    if unknown:
        raise errors.validation_failed(
            errors.problem(name, "This query parameter is unknown. Remove it.") for name in unknown
        )
    return next_middleware(app)


class RequestValidation(OpenAPIRequestValidationMiddleware):
    """Powertools' validation against the route's signature, with stricter reading of the body."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def _get_body(self, app: EventHandlerInstance) -> dict[str, Any]:
        # Powertools also accepts form data, keeps the last of duplicate fields, and takes the first
        # element of a list as the object.
        route: Route = app.context["_route"]
        if not (app.current_event.body or any(f.required for f in route.dependant.body_params)):
            return {}
        return read_object(app)


def read_object(app: EventHandlerInstance) -> dict[str, Any]:
    """Return the JSON object in the request's body; ApiError 400, 413 or 415 if there is none.

    A missing Content-Type counts as JSON.
    """
    value = parse_json(read_text(app.current_event, MAX_BODY_BYTES))
    if not isinstance(value, dict):
        raise errors.malformed_json("The body is not a JSON object. Send one.")
    return value


def read_documents(event: BaseProxyEvent) -> dict[str, object] | list[object]:
    """Return the event or the list of events in the body; ApiError 400, 413 or 415.

    The body is read like a message of the events queue, so an event has the same id and the same
    bytes on both ways.
    """
    try:
        value = payload.parse(read_text(event, MAX_EVENTS_BODY_BYTES))
    except payload.TooDeepError:
        message = f"The body is nested too deeply. Use at most {payload.MAX_DEPTH} levels."
        raise errors.malformed_json(message) from None
    except ValueError:
        raise errors.malformed_json("The body is not valid JSON. Correct it.") from None
    if not isinstance(value, dict | list):
        raise errors.malformed_json(
            "The body is not an event. Send a JSON object, or a list of them."
        )
    return value


def read_text(event: BaseProxyEvent, max_body_bytes: int) -> str:
    """Return the request's body as text; ApiError 400, 413 or 415 unless it is JSON in UTF-8."""
    if not _is_json(event.headers.get("content-type", "")):
        raise errors.unsupported_media_type()
    try:
        text = event.decoded_body or ""
        body_bytes = len(text.encode())
    except ValueError:
        raise errors.malformed_json("The body is not valid UTF-8. Send JSON in UTF-8.") from None
    if body_bytes > max_body_bytes:
        raise errors.body_too_large(max_body_bytes)
    return text


def _is_json(content_type: str) -> bool:
    """Return whether a Content-Type means JSON in UTF-8; a missing type or charset counts as both.

    JSON between systems is UTF-8 (RFC 8259, section 8.1). JSON defines no charset parameter, so one
    that names another encoding means that the body is not JSON in UTF-8. Duplicates all count.
    """
    media_type, semicolon, parameters = content_type.partition(";")
    charsets = [
        value.strip(' \t"').lower()
        for name, value in _PARAMETER.findall(semicolon + parameters)
        if name.strip(" \t").lower() == "charset"
    ]
    return media_type.strip(" \t").lower() in {"", "application/json"} and _UTF_8.issuperset(
        charsets
    )


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ApiError 400 for anything that parsers may read differently.

    Refused are NaN and infinities, duplicate fields, and nesting deeper than 32 levels.
    """
    if _depth(text) > MAX_DEPTH:
        raise errors.malformed_json(
            f"The body is nested too deeply. Use at most {MAX_DEPTH} levels."
        )
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ValueError:
        raise errors.malformed_json("The body is not valid JSON. Correct it.") from None


def _depth(text: str) -> int:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for part in _STRING_OR_BRACKET.findall(text):
        if part in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif part in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise errors.malformed_json("A field is given twice. Give each field once.")
    return fields


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is not JSON"
    raise ValueError(msg)
