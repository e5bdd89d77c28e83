"""The HTTP API on this machine: requests become payload v2 events, results become responses."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from local.constants import ACCOUNT
from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from wsgiref.types import StartResponse, WSGIEnvironment

    from local.functions import LocalFunction

MAX_BODY_BYTES = 10 * 1024 * 1024
"""The largest request that an HTTP API accepts (API Gateway's quotas page)."""

ANY = "ANY"
DEFAULT_PATH = "$default"

_TEXT = re.compile(r"text/|application/(json|javascript|xml)\b|application/[\w.-]+\+(json|xml)\b")


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """A route of the API: `method` may be `ANY`, `path` may have `{name}` and `{name+}` parts."""

    method: str
    path: str
    function: LocalFunction

    @property
    def key(self) -> str:
        """The route's key, as API Gateway writes it."""
        return self.path if self.path == DEFAULT_PATH else f"{self.method} {self.path}"

    @property
    def rank(self) -> tuple[int, int, int]:
        """The route's place in the order of matching: exact, variables, `{name+}`, $default."""
        if self.path == DEFAULT_PATH:
            return (3, 0, 0)
        kind = 2 if "+}" in self.path else int("{" in self.path)
        return (kind, -len(self.path.split("/")), int(self.method == ANY))

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the path's parameters; None if the route is not for this request."""
        if self.method not in {ANY, method} and self.path != DEFAULT_PATH:
            return None
        if self.path == DEFAULT_PATH:
            return {}
        parts = re.split(r"(\{\w+\+?\})", self.path)
        pattern = "".join(
            re.escape(part) if not part.startswith("{") else _part_pattern(part) for part in parts
        )
        # Paths are decoded and may therefore contain line ends.
        found = re.fullmatch(pattern, path, re.DOTALL)
        return None if found is None else found.groupdict()


def _part_pattern(part: str) -> str:
    name = part.strip("{+}")
    return f"(?P<{name}>.+)" if part.endswith("+}") else f"(?P<{name}>[^/]+)"


class Gateway:
    """An HTTP API with a `$default` stage, as a WSGI application."""

    def __init__(self, routes: Iterable[GatewayRoute]) -> None:
        self._routes: Sequence[GatewayRoute] = sorted(routes, key=lambda route: route.rank)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to one request."""
        request = Request(environ)
        request.max_content_length = MAX_BODY_BYTES
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> Response:
        try:
            body = request.get_data()
        except RequestEntityTooLarge:
            return _own_answer(413, "Request Entity Too Large")
        for route in self._routes:
            parameters = route.match(request.method, request.path)
            if parameters is not None:
                event = to_event(request, body, route.key, parameters)
                result = route.function.invoke(event)
                request_id = str(event["requestContext"]["requestId"])
                response = (
                    _own_answer(500, "Internal Server Error")
                    if result.failed
                    else to_response(result.payload)
                )
                response.headers["Apigw-Requestid"] = request_id
                return response
        return _own_answer(404, "Not Found")


def to_event(
    request: Request, body: bytes, route_key: str, parameters: dict[str, str]
) -> dict[str, Any]:
    """Return the event of payload format 2.0 for a request (API Gateway's developer guide)."""
    now = time.time()
    host = request.host
    is_text = bool(_TEXT.match(request.headers.get("Content-Type", "")))
    text = _decoded(body) if is_text else None
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.query_string.decode("latin-1"),
        "headers": _headers(request),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split(".", maxsplit=1)[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": request.environ["SERVER_PROTOCOL"],
                "sourceIp": request.remote_addr,
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": uuid.uuid4().hex[:16],
            "routeKey": route_key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": to_ms(now),
        },
        "isBase64Encoded": bool(body) and text is None,
    }
    if request.args:
        event["queryStringParameters"] = {
            name: ",".join(values) for name, values in request.args.lists()
        }
    if parameters:
        event["pathParameters"] = parameters
    if "Cookie" in request.headers:
        event["cookies"] = request.headers["Cookie"].split("; ")
    if body:
        event["body"] = base64.b64encode(body).decode() if text is None else text
    return event


def to_response(payload: Any) -> Response:
    """Return the response for a function's result.

    A result without `statusCode` is sent as JSON with status 200. A result with a wrong format
    becomes API Gateway's own 500.
    """
    if not isinstance(payload, dict) or "statusCode" not in payload:
        return Response(json.dumps(payload), 200, content_type="application/json")
    try:
        body = payload.get("body") or ""
        response = Response(
            base64.b64decode(body) if payload.get("isBase64Encoded") else str(body),
            int(payload["statusCode"]),
        )
        headers = {str(name): str(value) for name, value in (payload.get("headers") or {}).items()}
        cookies = [str(cookie) for cookie in payload.get("cookies") or []]
    except (AttributeError, TypeError, ValueError):
        return _own_answer(500, "Internal Server Error")
    response.headers["Content-Type"] = "text/plain; charset=utf-8"
    for name, value in headers.items():
        response.headers[name] = value
    for cookie in cookies:
        response.headers.add("Set-Cookie", cookie)
    return response


def _headers(request: Request) -> dict[str, str]:
    forwarded = {
        "x-forwarded-for": request.remote_addr or "",
        "x-forwarded-port": str(request.environ["SERVER_PORT"]),
        "x-forwarded-proto": "http",
    }
    received = {name.lower(): value for name, value in request.headers.items()}
    received.pop("cookie", None)
    return forwarded | received


def _decoded(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _own_answer(status: int, message: str) -> Response:
    return Response(json.dumps({"message": message}), status, content_type="application/json")
