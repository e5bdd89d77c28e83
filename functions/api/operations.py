"""Facts that a route declares beyond its signature: its scope, its errors, a sample body.

The OpenAPI document and the middlewares read them here, so a route is described only where it is
written.
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
"""The OpenAPI extension in which a route names its scope, if its method's default does not fit."""

_REFUSALS = "refusals"
_RETURN = "return"


@dataclass(frozen=True, slots=True)
class Missing:
    """Annotation of a path parameter: the error for an unknown id."""

    error: Callable[[], ApiError]


@dataclass(frozen=True, slots=True)
class Sample:
    """Annotation of a body: a sample of it."""

    value: Mapping[str, object]


def refuses(*errors: Exception) -> Callable[[RouteFunction], RouteFunction]:
    """Declare errors of one route that follow neither from its signature nor from a general rule.

    If a general rule's error has the same code, the declared error replaces it.
    """

    def name_errors(route: RouteFunction) -> RouteFunction:
        vars(route)[_REFUSALS] = errors
        return route

    return name_errors


def refusals(route: Route) -> Sequence[Exception]:
    """Return the errors that a route declares with `refuses`."""
    named: Sequence[Exception] = vars(route.func).get(_REFUSALS, ())
    return named


def missing(route: Route) -> dict[str, ApiError]:
    """Return the errors for unknown ids, by the name of the parameter."""
    return {name: each.error() for name, each in _beside(route) if isinstance(each, Missing)}


def sample(route: Route) -> Mapping[str, object] | None:
    """Return the sample of a route's body; None if it declares none."""
    return next((each.value for _, each in _beside(route) if isinstance(each, Sample)), None)


def required_scope(route: Route) -> Scope | None:
    """Return the scope that a route needs: its declared one, or the default of its method.

    None means that the route needs no key.
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
    """Return the route's name in logs, for example `GET /api/v1/webhooks/{webhook_id}`."""
    return f"{method} {route.openapi_path}"


def _beside(route: Route) -> Iterator[tuple[str, object]]:
    """Yield the name of each parameter with each annotation that it has beyond its type."""
    for name, hint in typing.get_type_hints(route.func, include_extras=True).items():
        for each in getattr(hint, "__metadata__", ()) if name != _RETURN else ():
            yield name, each
