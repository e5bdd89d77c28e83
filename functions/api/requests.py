"""What happens to every request before its route: found, authenticated, read, validated.

Powertools validates before it runs any middleware when its own switch is on, and would tell
strangers what is wrong with their input before asking for a key. So the switch stays off and its
validation is the last of these middlewares; the OpenAPI document comes from the same signatures
either way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from aws_lambda_powertools.event_handler.middlewares.openapi_validation import (
    OpenAPIRequestValidationMiddleware,
)

from api import errors

if TYPE_CHECKING:
    from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
    from aws_lambda_powertools.event_handler.api_gateway import Route
    from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
    from aws_lambda_powertools.event_handler.types import EventHandlerInstance

    from webhooks.domain.api_key import ApiKey
    from webhooks.ports import Observer
    from webhooks.services.keyring import Keyring
    from webhooks.services.registry import Registry

MAX_BODY_BYTES = 16 * 1024
MAX_DEPTH = 32
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Services(Protocol):
    """All that the API works with; `wiring.Services` is one, which builds each when first asked."""

    @property
    def registry(self) -> Registry:
        """The webhooks, as their owners manage them."""

    @property
    def keyring(self) -> Keyring:
        """The API keys."""

    @property
    def observer(self) -> Observer:
        """Where the function's log goes."""


@dataclass(slots=True)
class Call:
    """One request on its way through: what its middlewares found out, for routes and the log."""

    services: Services
    request_id: str
    route: str | None = None
    key: ApiKey | None = None
    error_code: str | None = None


def current_call(app: EventHandlerInstance) -> Call:
    """Return the request that is being answered."""
    return cast("Call", app.context["call"])


def refuse_unknown_routes(
    app: APIGatewayHttpResolver, next_middleware: NextMiddleware
) -> Response[Any]:
    """Answer 404 where no route has the path, 405 where one has it for other methods."""
    # Powertools has no public list of routes, and no 405.
    routes = app._static_routes + app._dynamic_routes
    here = [route for route in routes if route.rule.match(app.current_event.path)]
    allowed = {route.method for route in here}
    if not allowed:
        raise errors.not_found()
    current_call(app).route = here[0].openapi_path
    if app.current_event.http_method.upper() not in allowed:
        raise errors.method_not_allowed(allowed)
    return next_middleware(app)


def authenticate(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Find out whose request it is; from here on the account is that of the key."""
    call = current_call(app)
    authorization = app.current_event.headers.get("authorization")
    call.key = call.services.keyring.authenticate(authorization) if authorization else None
    if call.key is None:
        raise errors.unauthorized()
    return next_middleware(app)


def refuse_unknown_parameters(
    app: APIGatewayHttpResolver, next_middleware: NextMiddleware
) -> Response[Any]:
    """Refuse query parameters that the route does not have, by name."""
    route: Route = app.context["_route"]
    known = {parameter.alias for parameter in route.dependant.query_params}
    unknown = [name for name in app.current_event.query_string_parameters if name not in known]
    if unknown:
        raise errors.validation_failed(
            errors.problem(name, "Remove this query parameter: it is not known here.")
            for name in unknown
        )
    return next_middleware(app)


class RequestValidation(OpenAPIRequestValidationMiddleware):
    """Powertools' validation against the route's signature, of a body that is read strictly."""

    def __init__(self) -> None:
        """Take nothing: everything is in the route and the request."""
        super().__init__()  # type: ignore[no-untyped-call]

    def _get_body(self, app: EventHandlerInstance) -> dict[str, Any]:
        # Powertools reads form data too, keeps the last of a field that comes twice, and takes
        # the first element of a list for the object.
        return read_object(app)


def read_object(app: EventHandlerInstance) -> dict[str, Any]:
    """Return the JSON object in the request's body; ApiError 400, 413 or 415 where there is none.

    A missing Content-Type counts as JSON.
    """
    media_type = app.current_event.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() not in {"", "application/json"}:
        raise errors.unsupported_media_type()
    try:
        text = app.current_event.decoded_body or ""
        body_bytes = len(text.encode())
    except ValueError:
        raise errors.malformed_json("Send the body as JSON in UTF-8.") from None
    if body_bytes > MAX_BODY_BYTES:
        raise errors.body_too_large(MAX_BODY_BYTES)
    value = parse_json(text)
    if not isinstance(value, dict):
        raise errors.malformed_json("Send a JSON object as the body.")
    return value


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ApiError 400 for anything that two parsers read differently.

    That is: NaN and infinities, a field that comes twice, nesting deeper than 32 levels.
    """
    if _depth(text) > MAX_DEPTH:
        raise errors.malformed_json(f"Nest the body no deeper than {MAX_DEPTH} levels.")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except ValueError:
        raise errors.malformed_json("Send a body that is valid JSON.") from None


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
        raise errors.malformed_json("Give each field only once.")
    return fields


def _refuse_constant(name: str) -> Any:
    msg = f"{name} is not JSON"
    raise ValueError(msg)
