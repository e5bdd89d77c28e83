"""What happens to every request before its route: found, authenticated, read, validated.

Powertools validates before it runs any middleware when its own setting is on, and would tell
strangers what is wrong with their input before asking for a key. So the setting stays off and its
validation is the last of these middlewares; the OpenAPI document comes from the same signatures
either way.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

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
    from webhooks.ports import IdempotencyStore, Sealer, Telemetry
    from webhooks.services.api_keys import ApiKeyService
    from webhooks.services.delivery_log import DeliveryLogService
    from webhooks.services.jobs.check import CheckService
    from webhooks.services.jobs.erasure import ErasureService
    from webhooks.services.jobs.replay import ReplayService
    from webhooks.services.own_api import OwnApi
    from webhooks.services.publisher import Publisher
    from webhooks.services.rate_limits import RateLimits
    from webhooks.services.webhooks import WebhookService

MAX_BODY_BYTES = 16 * 1024
MAX_EVENTS_BODY_BYTES = 1024 * 1024
"""The largest body of a publication: as much as one SQS batch, and with room to spare what Lambda
takes of API Gateway (6 MB, escapes and headers included), so that 413 is always ours."""

MAX_DEPTH = 32

_PARAMETER = re.compile(r';([^=;]*)(?:=([ \t]*"(?:[^"\\]|\\.)*"[^;]*|[^;]*))?')
"""A parameter of a media type (RFC 9110, section 5.6.6): a quoted value may have a semicolon."""

_UTF_8 = frozenset({"utf-8", "utf8"})
"""The name of IANA's registry and the one that clients write too (WHATWG's Encoding Standard)."""

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Services(Protocol):
    """All that the API works with; `wiring.Services` is one, which builds each when first asked."""

    @property
    def docs_page(self) -> bool:
        """Whether the API has its page of documentation."""

    @property
    def own_api(self) -> OwnApi:
        """What knows the API's own names."""

    @property
    def webhook_service(self) -> WebhookService:
        """The webhooks, as their owners manage them."""

    @property
    def delivery_log_service(self) -> DeliveryLogService:
        """The webhooks' deliveries, as their owners look through them."""

    @property
    def replays(self) -> ReplayService:
        """The webhooks' replays."""

    @property
    def checks(self) -> CheckService:
        """The checks of the webhooks' receivers."""

    @property
    def erasures(self) -> ErasureService:
        """The account's erasures."""

    @property
    def rate_limits(self) -> RateLimits:
        """How much an account may ask for."""

    @property
    def api_key_service(self) -> ApiKeyService:
        """The API keys."""

    @property
    def publisher(self) -> Publisher:
        """What puts events on the queue."""

    @property
    def idempotency_store(self) -> IdempotencyStore:
        """The answers to calls with an idempotency key."""

    @property
    def sealer(self) -> Sealer:
        """What seals those answers."""

    @property
    def telemetry(self) -> Telemetry:
        """Where the function's log goes."""


@dataclass(slots=True)
class Call:
    """One request on its way through: what its middlewares found out, for routes and the log.

    `route` has the route's own path, as `GET /api/v1/webhooks/{webhook_id}`, never the request's,
    in which there are ids and addresses. A route sets `final` to false where the same request, sent
    again, may have more done, and puts ids in `noted` that the log's line should have besides.
    """

    services: Services
    request_id: str
    remaining_ms: Callable[[], int]
    route: str | None = None
    key: ApiKey | None = None
    error_code: str | None = None
    final: bool = True
    seed: Seed | None = None
    noted: dict[str, str] = field(default_factory=dict)


def current_call(app: EventHandlerInstance) -> Call:
    """Return the request that is being answered."""
    return cast("Call", app.context["call"])


def refuse_unknown_routes(
    app: APIGatewayHttpResolver, next_middleware: NextMiddleware
) -> Response[Any]:
    """Answer 404 where no route has the path, 405 where one has it for other methods."""
    # Powertools has no 405, and takes a path with a line's end behind it for the one without.
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
    """Find out whose request it is; from here on the account is that of the key."""
    if required_scope(app.context["_route"]) is None:
        return next_middleware(app)
    call = current_call(app)
    authorization = app.current_event.headers.get("authorization")
    call.key = call.services.api_key_service.authenticate(authorization) if authorization else None
    if call.key is None:
        raise errors.unauthorized()
    return next_middleware(app)


def count_calls(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Refuse a call of an account that has made as many in this minute as it may."""
    call = current_call(app)
    if call.key is not None:
        call.services.rate_limits.call(call.key.account_id)
    return next_middleware(app)


def authorize(app: APIGatewayHttpResolver, next_middleware: NextMiddleware) -> Response[Any]:
    """Refuse a key without the route's scope, whatever the request is about."""
    key = current_call(app).key
    scope = required_scope(app.context["_route"])
    if key is not None and scope is not None and scope not in key.scopes:
        raise errors.insufficient_scope(scope)
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
        route: Route = app.context["_route"]
        if not (app.current_event.body or any(f.required for f in route.dependant.body_params)):
            return {}
        return read_object(app)


def read_object(app: EventHandlerInstance) -> dict[str, Any]:
    """Return the JSON object in the request's body; ApiError 400, 413 or 415 where there is none.

    A missing Content-Type counts as JSON.
    """
    value = parse_json(read_text(app.current_event, MAX_BODY_BYTES))
    if not isinstance(value, dict):
        raise errors.malformed_json("Send a JSON object as the body.")
    return value


def read_documents(event: BaseProxyEvent) -> dict[str, object] | list[object]:
    """Return the event or the list of them in the request's body; ApiError 400, 413 or 415.

    Read as the dispatcher reads a message of the queue, so that an event has the same id and the
    same bytes whichever way it comes.
    """
    try:
        value = payload.parse(read_text(event, MAX_EVENTS_BODY_BYTES))
    except payload.TooDeepError:
        message = f"Nest the body no deeper than {payload.MAX_DEPTH} levels."
        raise errors.malformed_json(message) from None
    except ValueError:
        raise errors.malformed_json("Send a body that is valid JSON.") from None
    if not isinstance(value, dict | list):
        raise errors.malformed_json("Send an event as a JSON object, or a list of them.")
    return value


def read_text(event: BaseProxyEvent, max_body_bytes: int) -> str:
    """Return the request's body as text; ApiError 400, 413 or 415 where it is not JSON in UTF-8."""
    if not _is_json(event.headers.get("content-type", "")):
        raise errors.unsupported_media_type()
    try:
        text = event.decoded_body or ""
        body_bytes = len(text.encode())
    except ValueError:
        raise errors.malformed_json("Send the body as JSON in UTF-8.") from None
    if body_bytes > max_body_bytes:
        raise errors.body_too_large(max_body_bytes)
    return text


def _is_json(content_type: str) -> bool:
    """Tell whether a Content-Type says JSON in UTF-8; one that is absent or says no charset does.

    JSON between systems is UTF-8 (RFC 8259, section 8.1), so that of a charset, which means nothing
    to JSON, any other name says that the body is not. Each one counts where it comes twice.
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
