"""The OpenAPI 3.1 document, generated from the routes' signatures and from the errors themselves.

Powertools writes parameters, bodies and successes. This module adds the parts that all responses
share: the errors in the API's own words, the headers, the key and its scope. Generating takes a
tenth of a second and therefore waits for the first request for the document.
"""

from __future__ import annotations

import inspect
import json
from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from api import errors
from api.api_error import ApiError
from api.errors import as_api_error
from api.idempotency import HEADER, METHODS, REPLAYED_HEADER
from api.operations import (
    SCOPE_EXTENSION,
    missing,
    refusals,
    required_scope,
    routes,
    sample,
)
from api.requests import MAX_BODY_BYTES
from api.schemas.base import Failure
from webhooks import VERSION
from webhooks.domain.errors import (
    IdempotencyConflictError,
    IdempotencyInProgressError,
    TooManyCallsError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
    from aws_lambda_powertools.event_handler.api_gateway import Route

    from api.api_error import ApiError

TITLE = "SendComms Webhooks"
LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
DESCRIPTION = """\
Webhooks for email events. Apart from this document and its page, every response is JSON in one \
envelope: `{"success": true, "data": ...}` or \
`{"success": false, "error": {"code", "message"}}`. Programs read `code`, people `message`; a 422 \
lists the faults in `details`. A path that is not listed returns 404 `not_found`, a method that is \
not listed 405 `method_not_allowed` with `Allow`.

An account that calls too often, or exceeds another rate limit, gets 429 with `Retry-After`. \
The gateway in front of the API refuses calls above the whole stack's rate itself, with 429 and \
`{"message": "Too Many Requests"}`: try those again later.
"""

_SCHEME = "apiKey"
_POWERTOOLS_OWN = ("HTTPValidationError", "ValidationError", "ResponseValidationError")
_COMPONENT = "#/components/{}/{}"

_TAGS = {
    "Webhooks": "Where events are sent.",
    "Deliveries": "Events on their way to a webhook, with every attempt.",
    "Checks": "Tests whether a receiver accepts genuine requests and refuses forged ones.",
    "Replays": "Send many of a webhook's deliveries again.",
    "Recipients": "The people to whom the emails were sent.",
    "Events": "Reports about emails: publish them, list their types.",
    "API keys": "Credentials of the API and their scopes.",
    "Documentation": "This document and pages for a browser; no key needed.",
}
_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": ("The id of the call, for questions to support.", {"type": "string"}),
    "Cache-Control": (
        "Responses must not be cached; pages and documents may be, after a check of their ETag.",
        {"enum": ["no-store", "no-cache"]},
    ),
    "X-Content-Type-Options": ("Content-Type is authoritative.", {"const": "nosniff"}),
    REPLAYED_HEADER: (
        "Present if the response is a stored one, of an earlier call with this Idempotency-Key.",
        {"const": "true"},
    ),
    "WWW-Authenticate": ("How to authenticate (RFC 6750).", {"type": "string"}),
    "Allow": ("The path's methods.", {"type": "string"}),
    "Retry-After": (
        "Seconds to wait before the next try.",
        {"type": "string", "pattern": r"^\d+$"},
    ),
    "Content-Security-Policy": ("The page loads its own files only.", {"type": "string"}),
    "ETag": ("The version of the file, for If-None-Match.", {"type": "string"}),
    "Referrer-Policy": ("The page's address is not sent to other sites.", {"const": "no-referrer"}),
}
_EVERYWHERE = ("X-Request-Id", "Cache-Control", "X-Content-Type-Options")
_IDEMPOTENCY_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "Makes the call safe to repeat: within 24 hours the same key and body give the same "
        "response."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "9b2f0c52-order-1001",
}


def document(app: APIGatewayHttpResolver) -> dict[str, Any]:
    """Return the OpenAPI document of an API's routes, in the order in which they were added."""
    raw = app.get_openapi_json_schema(title=TITLE, version=VERSION, openapi_version="3.1.0")
    made: dict[str, Any] = json.loads(raw)
    components = made["components"]
    schemas = components["schemas"]
    for name in _POWERTOOLS_OWN:
        schemas.pop(name, None)
    for name, schema in schemas.items():
        if not name.endswith("In"):
            _describe_response(schema)
    failure = Failure.model_json_schema(
        mode="serialization", ref_template=_COMPONENT.format("schemas", "{model}")
    )
    schemas |= failure.pop("$defs")
    schemas["Failure"] = failure
    for name in ("Failure", "ErrorOut", "ProblemOut"):
        _describe_response(schemas[name])
    components["responses"] = responses = {
        "NotFound": _failure([errors.not_found()]),
        "MethodNotAllowed": _failure([errors.method_not_allowed(["GET", "POST"])]),
    }
    paths: dict[str, dict[str, Any]] = {}
    for route in routes(app):
        operation = made["paths"][route.openapi_path][route.method.lower()]
        _complete(route, operation, responses)
        paths.setdefault(route.openapi_path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "description": DESCRIPTION,
            "license": LICENSE,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": dict(sorted(responses.items())),
            "headers": {
                name: {"description": text, "schema": schema}
                for name, (text, schema) in _HEADERS.items()
            },
            "securitySchemes": {
                _SCHEME: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key. Its scopes are "
                    "read (every GET), write (every change), publish (events).",
                }
            },
        },
    }


def text(made: Mapping[str, Any]) -> str:
    """Return the document's text, as it is committed and served."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _complete(route: Route, operation: dict[str, Any], responses: dict[str, Any]) -> None:
    scope = required_scope(route)
    operation["operationId"] = route.func.__name__
    operation["description"] = inspect.getdoc(route.func)
    operation["security"] = [{_SCHEME: [scope.value]}] if scope else []
    operation.pop(SCOPE_EXTENSION, None)
    _complete_input(route, operation)
    idempotent = (REPLAYED_HEADER,) if route.method in METHODS else ()
    statuses = sorted({str(route.status_code), *_more_successes(route)})
    successes = {status: operation["responses"][status] for status in statuses}
    is_page = "text/html" in successes[str(route.status_code)]["content"]
    page = ("Content-Security-Policy", "Referrer-Policy") if is_page else ()
    unchanged = operation["responses"].get("304")
    version = ("ETag",) if unchanged else ()
    headers = _header_refs((*_EVERYWHERE, *idempotent, *page, *version))
    operation["responses"] = successes
    for status, success in successes.items():
        success["description"] = HTTPStatus(int(status)).phrase
        success["headers"] = headers
    if unchanged:
        # Powertools describes a body here, but a 304 has none.
        operation["responses"]["304"] = {
            "description": unchanged["description"],
            "headers": headers,
        }
    refusals = sorted(_errors(route, operation), key=lambda error: error.status)
    for status, group in groupby(refusals, key=lambda error: error.status):
        alike = list({error.code: error for error in group}.values())
        component = "Or".join(error.code.title().replace("_", "") for error in alike)
        responses.setdefault(component, _failure(alike))
        operation["responses"][str(status)] = {"$ref": _COMPONENT.format("responses", component)}


def _more_successes(route: Route) -> set[str]:
    return {str(status) for status in route.responses or {} if status in {200, 201, 202}}


def _complete_input(route: Route, operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        _without_null(parameter["schema"])
        if parameter["in"] == "path":
            parameter["schema"]["minLength"] = 1
    if route.method in METHODS:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        operation["parameters"] = parameters
    body = sample(route)
    if body is not None:
        content = operation["requestBody"]["content"]["application/json"]
        content["example"] = dict(body)
        content["schema"].pop("default", None)


def _errors(route: Route, operation: Mapping[str, Any]) -> Iterator[ApiError]:
    yield errors.validation_failed([errors.problem("limit", "Use at most 100.")])
    yield as_api_error(Exception())
    scope = required_scope(route)
    if scope is not None:
        yield errors.unauthorized()
        yield errors.insufficient_scope(scope)
        yield as_api_error(TooManyCallsError())
        yield as_api_error(UnavailableError())
    if "requestBody" in operation:
        yield errors.malformed_json("The body is not valid JSON. Correct it.")
        yield errors.body_too_large(MAX_BODY_BYTES)
        yield errors.unsupported_media_type()
    if route.method in METHODS:
        yield as_api_error(IdempotencyConflictError())
        yield as_api_error(IdempotencyInProgressError())
    absent = missing(route)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            if parameter["name"] in absent:
                yield absent[parameter["name"]]
            # An id with characters that no path segment may have matches no route.
            yield errors.not_found()
    yield from map(as_api_error, refusals(route))


def _failure(alike: Sequence[ApiError]) -> dict[str, Any]:
    names = sorted({name for error in alike for name in error.headers})
    return {
        "description": " ".join(error.message for error in alike),
        "headers": _header_refs((*_EVERYWHERE, *names)),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [{"$ref": _COMPONENT.format("schemas", "Failure")}],
                    "properties": {
                        "error": {"properties": {"code": {"enum": [e.code for e in alike]}}}
                    },
                },
                "examples": {
                    error.code: {
                        "value": to_jsonable_python(error.response().body, exclude_none=True)
                    }
                    for error in alike
                },
            }
        },
    }


def _header_refs(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": _COMPONENT.format("headers", name)} for name in names}


def _describe_response(schema: dict[str, Any]) -> None:
    """Correct a response's schema where pydantic errs: None is left out, constants are required."""
    fields = schema.get("properties", {})
    for field in fields.values():
        _without_null(field)
    always = [name for name, field in fields.items() if "const" in field]
    required = {*schema.get("required", ()), *always}
    if required:
        schema["required"] = [name for name in fields if name in required]


def _without_null(schema: dict[str, Any]) -> None:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema |= kinds[0]
    elif kinds:
        schema["anyOf"] = kinds
    if schema.get("default", ...) is None:
        del schema["default"]
