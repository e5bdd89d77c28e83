"""What a route says of itself besides its signature: its scope, its errors, a sample of its body.

The OpenAPI document and the middlewares read it here, so that a route is described where it is
written, and nowhere else.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from webhooks.domain.api_key import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
    from aws_lambda_powertools.event_handler.api_gateway import Route

    from api.api_error import ApiError

    RouteFunction = TypeVar("RouteFunction", bound=Callable[..., Any])

SCOPE_EXTENSION = "x-required-scope"
"""Where a route says of itself which scope it needs, if not the usual one of its method."""

_REFUSALS = "refusals"
_RETURN = "return"


@dataclass(frozen=True, slots=True)
class Missing:
    """Beside a parameter's description: the error for an id that leads to nothing."""

    error: Callable[[], ApiError]


@dataclass(frozen=True, slots=True)
class Sample:
    """Beside a body's description: a value to try."""

    value: Mapping[str, object]


def refuses(*errors: Exception) -> Callable[[RouteFunction], RouteFunction]:
    """Name the errors of one route that neither its signature nor a rule for all routes gives.

    One with the code of such a rule's error takes its place.
    """

    def name_errors(route: RouteFunction) -> RouteFunction:
        vars(route)[_REFUSALS] = errors
        return route

    return name_errors


def refusals(route: Route) -> Sequence[Exception]:
    """Return the errors that `refuses` named for a route."""
    named: Sequence[Exception] = vars(route.func).get(_REFUSALS, ())
    return named


def missing(route: Route) -> dict[str, ApiError]:
    """Return the errors for ids that lead to nothing, by the name of the parameter."""
    return {name: each.error() for name, each in _beside(route) if isinstance(each, Missing)}


def sample(route: Route) -> Mapping[str, object] | None:
    """Return the sample of a route's body; None where it has none."""
    return next((each.value for _, each in _beside(route) if isinstance(each, Sample)), None)


def required_scope(route: Route) -> Scope | None:
    """Return what a key needs for a route: what it names, else what its method says.

    None: the route needs no key.
    """
    extensions = route.openapi_extensions or {}
    if SCOPE_EXTENSION in extensions:
        named = extensions[SCOPE_EXTENSION]
        return None if named is None else Scope(named)
    return Scope.READ if route.method == "GET" else Scope.WRITE


def routes(app: APIGatewayHttpResolver) -> Sequence[Route]:
    """Return the API's routes; Powertools has no public list of them."""
    return app._static_routes + app._dynamic_routes


def route_key(method: str, route: Route) -> str:
    """Return what a route is called in logs, as `GET /api/v1/webhooks/{webhook_id}`."""
    return f"{method} {route.openapi_path}"


def _beside(route: Route) -> Iterator[tuple[str, object]]:
    """Yield the name of each parameter with what its annotation holds besides the type."""
    for name, hint in typing.get_type_hints(route.func, include_extras=True).items():
        for each in getattr(hint, "__metadata__", ()) if name != _RETURN else ():
            yield name, each
