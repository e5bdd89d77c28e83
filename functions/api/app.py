"""The API as one callable: middlewares, routes and the response to every error."""

from __future__ import annotations

import traceback
from threading import Lock
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from api.errors import as_api_error
from api.idempotency import IdempotencyMiddleware
from api.requests import (
    Call,
    RequestValidation,
    authenticate,
    authorize,
    count_calls,
    current_call,
    refuse_unknown_parameters,
    refuse_unknown_routes,
)
from api.routes import (
    api_keys,
    checks,
    dashboard,
    deliveries,
    documents,
    event_types,
    events,
    recipients,
    replays,
    webhooks,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.payload import serialize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.event_handler import Response

    from webhooks.wiring.api import ApiServices

# Powertools keeps the current event on a class, so a process can serve one request at a time.
# Lambda guarantees that; a server with threads needs the lock.
_ONE_AT_A_TIME = Lock()


class Api:
    """Responds to HTTP API events, payload version 2.0.

    The routes hold no state, so a process may have several instances.
    """

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        # The routers belong to their modules. Joined while another instance serves a request, they
        # would hand that request's context to this one.
        with _ONE_AT_A_TIME:
            self.resolver = APIGatewayHttpResolver(serializer=_serialize)
            self.resolver.use(
                [
                    refuse_unknown_routes,
                    authenticate,
                    count_calls,
                    authorize,
                    refuse_unknown_parameters,
                    RequestValidation(),
                    IdempotencyMiddleware(_serialize),
                ]
            )
            self.resolver.exception_handler(Exception)(self._answer_error)
            self.resolver.include_router(webhooks.router, prefix="/api/v1/webhooks")
            self.resolver.include_router(events.router, prefix="/api/v1/events")
            self.resolver.include_router(api_keys.router, prefix="/api/v1/api-keys")
            self.resolver.include_router(deliveries.router, prefix="/api/v1/webhooks")
            self.resolver.include_router(replays.router, prefix="/api/v1/webhooks")
            self.resolver.include_router(checks.router, prefix="/api/v1/webhooks")
            self.resolver.include_router(recipients.router, prefix="/api/v1/recipients")
            self.resolver.include_router(event_types.router, prefix="/api/v1/event-types")
            self.resolver.include_router(
                documents.make_router(self.resolver, with_page=services.docs_page)
            )
            self.resolver.include_router(dashboard.router, prefix="/dashboard")

    def __call__(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Return the response to one request, errors included, in the envelope."""
        call = Call(
            self._services,
            request_id=_request_id(event, context),
            remaining_ms=lambda: int(context.get_remaining_time_in_millis()),
        )
        called = event["requestContext"]
        self._services.own_api.learn(api_id=called["apiId"], domain_name=called["domainName"])
        with _ONE_AT_A_TIME:
            self.resolver.context["call"] = call
            answer = self.resolver.resolve(event, context)
        answer["headers"] |= {
            "X-Request-Id": call.request_id,
            "Cache-Control": answer["headers"].get("Cache-Control", "no-store"),
            "X-Content-Type-Options": "nosniff",
        }
        self._services.telemetry.log(
            "info",
            "request",
            # The gateway's id, which its access log and X-Request-Id show too; then Lambda's.
            request_id=call.request_id,
            function_request_id=context.aws_request_id,
            method=event["requestContext"]["http"]["method"],
            route=call.route,
            status=answer["statusCode"],
            error_code=call.error_code,
            account_id=call.key.account_id if call.key else None,
            key_id=call.key.id if call.key else None,
            **call.noted,
        )
        self._services.telemetry.flush(request_id=call.request_id)
        return answer

    def _answer_error(self, error: Exception) -> Response[Any]:
        call = current_call(self.resolver)
        api_error = as_api_error(error)
        call.error_code = api_error.code
        if api_error.status >= 500:
            # The place and the type of the error. Its text may quote the input and is not logged.
            self._services.telemetry.log(
                "error",
                "request_failed",
                request_id=call.request_id,
                error=str(error) if isinstance(error, UnavailableError) else type(error).__name__,
                stack=traceback.format_tb(error.__traceback__),
            )
        return api_error.response()


def _serialize(body: Any) -> str:
    try:
        return to_json(body, exclude_none=True).decode()
    except PydanticSerializationError:
        # A payload may hold half a surrogate pair, which has no UTF-8 form: it is written escaped.
        return serialize(to_jsonable_python(body, exclude_none=True)).decode()


def _request_id(event: Mapping[str, Any], context: Any) -> str:
    return str(event["requestContext"].get("requestId") or context.aws_request_id)
