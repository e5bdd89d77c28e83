"""Odd paths and methods, from outside: the gateway's one route gives the results of many."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from api.operations import required_scope, routes
from local import template
from local.functions import LocalFunction
from local.gateway import Gateway, GatewayRoute
from local.servers import LOOPBACK, listen, serve
from support.http_api import ApiOnFakes, http_api_event

if TYPE_CHECKING:
    from collections.abc import Iterator

WEBHOOKS = "/api/v1/webhooks"
RECIPIENTS = "/api/v1/recipients"
ID = "019b4069-0000-7000-8000-000000000001"

OK = ""
NOWHERE = "not_found"
NO_WEBHOOK = "webhook_not_found"
REFUSED = "method_not_allowed"
INVALID = "validation_failed"
STATUSES = {NOWHERE: 404, NO_WEBHOOK: 404, "file_not_found": 404, "erasure_not_found": 404}
STATUSES |= {REFUSED: 405, INVALID: 422, "malformed_json": 400}


class Row(NamedTuple):
    """A call in its form on the wire, and the error that answers it.

    API Gateway decodes a path before it hands it on; `encoded` is the answer of a gateway that does
    not.
    """

    method: str
    path: str
    code: str
    status: int = 200
    encoded: str | None = None

    @property
    def expected(self) -> tuple[int, str]:
        return STATUSES.get(self.code, self.status), self.code


TABLE = [
    Row("GET", "/", NOWHERE),
    Row("POST", "/", NOWHERE),
    Row("GET", "/api", NOWHERE),
    Row("GET", "/api/v1", NOWHERE),
    Row("GET", "/api/v1/", NOWHERE),
    Row("GET", "/prod/api/v1/webhooks", NOWHERE),
    Row("GET", "/$default", NOWHERE),
    Row("GET", "/%7Bproxy+%7D", NOWHERE),
    Row("GET", "/favicon.ico", NOWHERE),
    Row("GET", "/API/V1/WEBHOOKS", NOWHERE),
    Row("GET", WEBHOOKS, OK),
    Row("GET", f"{WEBHOOKS}?limit=1", OK),
    Row("GET", f"{WEBHOOKS}?limit=x", INVALID),
    Row("GET", f"{WEBHOOKS}/", NOWHERE),
    Row("GET", f"{WEBHOOKS}//", NOWHERE),
    Row("GET", "/api/v1/web%68ooks", OK, encoded=NOWHERE),
    Row("GET", f"{WEBHOOKS}/{ID}", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/{ID.upper()}", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/{ID}/", NOWHERE),
    Row("GET", f"{WEBHOOKS}/{'x' * 4000}", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%2Fb", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%252Fb", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%20b", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a+b", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a@b", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a;b=c", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/%C3%A9", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/%FF", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/%", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/%zz", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/%00", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%0Ab", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%0A", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%23b", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/a%3Fb", NOWHERE, encoded=NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/..", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/../docs", NOWHERE),
    Row("GET", f"{WEBHOOKS}/{{id}}", NO_WEBHOOK),
    Row("GET", f"{WEBHOOKS}/test", NO_WEBHOOK),
    Row("POST", f"{WEBHOOKS}/{ID}/test", "malformed_json"),
    Row("POST", f"{WEBHOOKS}/{ID}/unknown", NOWHERE),
    Row("GET", f"{WEBHOOKS}/{ID}/deliveries/", NOWHERE),
    Row("GET", f"{WEBHOOKS}//deliveries", NOWHERE),
    Row("GET", f"{WEBHOOKS}/{ID}/deliveries/1/resend", REFUSED),
    Row("DELETE", f"{RECIPIENTS}/a@example.com", OK, 202),
    Row("DELETE", f"{RECIPIENTS}/a%40example.com", OK, 202),
    Row("DELETE", f"{RECIPIENTS}/a%2Bb%40example.com", OK, 202),
    Row("DELETE", f"{RECIPIENTS}/j%C3%B6rg%40example.com", OK, 202),
    # Encoded twice: a slash or a mark gets past a gateway that decodes.
    Row("DELETE", f"{RECIPIENTS}/a%252Bb%2540example.com", OK, 202, encoded=INVALID),
    Row("DELETE", f"{RECIPIENTS}/a%252Fb%2540example.com", OK, 202, encoded=INVALID),
    Row("DELETE", f"{RECIPIENTS}/o%2523b%2540example.com", OK, 202, encoded=INVALID),
    Row("DELETE", f"{RECIPIENTS}/a%2Fb%40example.com", NOWHERE, encoded=OK),
    Row("DELETE", f"{RECIPIENTS}/o%23b%40example.com", NOWHERE, encoded=OK),
    Row("DELETE", f"{RECIPIENTS}/a%40example.com%0A", NOWHERE, encoded=INVALID),
    Row("DELETE", f"{RECIPIENTS}/a%252Bb%40example.com", INVALID, encoded=OK),
    Row("DELETE", f"{RECIPIENTS}/a%20b%40example.com", INVALID),
    Row("DELETE", f"{RECIPIENTS}/a%40ex%25ample.com", INVALID),
    Row("DELETE", f"{RECIPIENTS}/erasures", INVALID),
    Row("DELETE", f"{RECIPIENTS}/", NOWHERE),
    Row("GET", f"{RECIPIENTS}/a%40example.com", REFUSED),
    Row("GET", f"{RECIPIENTS}/erasures/a%40b", "erasure_not_found"),
    Row("PUT", WEBHOOKS, REFUSED),
    Row("HEAD", WEBHOOKS, REFUSED),
    Row("OPTIONS", WEBHOOKS, REFUSED),
    Row("OPTIONS", f"{WEBHOOKS}/{ID}", REFUSED),
    Row("GET", "/docs", OK),
    Row("GET", "/%64ocs", OK, encoded=NOWHERE),
    Row("GET", "/docs?x=1", INVALID),
    Row("GET", "/docs/", NOWHERE),
    Row("GET", "/docs%0A", NOWHERE),
    Row("HEAD", "/docs", REFUSED),
    Row("POST", "/docs", REFUSED),
    Row("GET", "/api/v1/openapi.json", OK),
    Row("POST", "/api/v1/openapi.json", REFUSED),
    Row("GET", "/dashboard", OK),
    Row("GET", "/dashboard/", NOWHERE),
    Row("POST", "/dashboard", REFUSED),
    Row("GET", "/dashboard/index.html", OK),
    Row("GET", "/dashboard/nothing", "file_not_found"),
    Row("GET", "/dashboard/a/b", NOWHERE),
    Row("GET", "/dashboard/..%2Fapp.py", NOWHERE, encoded="file_not_found"),
    Row("DELETE", "/dashboard/index.html", REFUSED),
]


class Answered(NamedTuple):
    status: int
    content_type: str | None
    allow: str | None
    body: str

    @property
    def told(self) -> tuple[int, str]:
        """The status and the code; the omitted body of HEAD is no more than its status."""
        if self.status < 400:
            return self.status, OK
        return self.status, json.loads(self.body)["error"]["code"] if self.body else REFUSED


class Site:
    """The API behind a gateway that listens, with the key of an empty account."""

    def __init__(self, fakes: ApiOnFakes, port: int) -> None:
        self.fakes = fakes
        self._port = port

    def call(self, method: str, path: str, key: str | None) -> Answered:
        connection = HTTPConnection(LOOPBACK, self._port, timeout=10)
        try:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            body = re.sub(r"[\da-f]{8}-[\da-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z", "-", _text(answer))
            return Answered(
                answer.status, answer.headers["Content-Type"], answer.headers["Allow"], body
            )
        finally:
            connection.close()


def _text(answer: Any) -> str:
    return str(answer.read(), "utf-8")


def declared(fakes: ApiOnFakes) -> list[tuple[str, str]]:
    """The template's routes."""
    return [(route.method, route.path) for route in template.routes(template.read())]


def explicit(fakes: ApiOnFakes) -> list[tuple[str, str]]:
    """A route of the gateway for each of the API's, before the catch-all routes."""
    own = [(route.method, route.openapi_path) for route in routes(fakes.api.resolver)]
    return [*own, ("ANY", "/{proxy+}"), ("ANY", "/")]


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Site, Site]]:
    """The API behind the template's routes, and behind a route for each of its own."""
    fakes = ApiOnFakes()
    function = LocalFunction("api", fakes.api)
    first, second = listen(LOOPBACK, 0, "PORT"), listen(LOOPBACK, 0, "PORT")
    gateways = [
        Gateway(GatewayRoute(method, path, function) for method, path in made(fakes))
        for made in (declared, explicit)
    ]
    with serve(first, gateways[0]), serve(second, gateways[1]):
        yield Site(fakes, first.getsockname()[1]), Site(fakes, second.getsockname()[1])


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path[:60]}")
def test_one_route_of_the_gateways_answers_as_many_would(
    sites: tuple[Site, Site], row: Row
) -> None:
    proxied, explicit = sites
    key = proxied.fakes.acme.key
    answer = proxied.call(row.method, row.path, key)
    assert answer.told == row.expected
    assert answer == explicit.call(row.method, row.path, key)
    stranger = proxied.call(row.method, row.path, None)
    assert stranger == explicit.call(row.method, row.path, None)
    keyless = row.path.startswith(("/docs", "/%64ocs", "/dashboard", "/api/v1/openapi.json"))
    if row.code in {NOWHERE, REFUSED} or keyless:
        assert stranger == answer
    else:
        assert stranger.told == (401, "unauthorized")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path[:60]}")
def test_a_path_that_comes_encoded_is_never_taken_for_another(row: Row) -> None:
    api = ApiOnFakes()
    path, _, query = row.path.partition("?")
    answer = api.acme.call(row.method, path, query=query)
    code = row.code if row.encoded is None else row.encoded
    told = OK if answer.status < 400 else answer.error["code"]
    assert told == code


@pytest.mark.parametrize(
    "changes",
    [
        {"routeKey": "$default", "pathParameters": None},
        {"routeKey": "DELETE /api/v1/webhooks/{id}", "pathParameters": {"id": "another"}},
        {"routeKey": "ANY /{proxy+}", "pathParameters": {"proxy": "docs"}},
    ],
)
def test_the_gateways_own_route_means_nothing_to_the_api(changes: dict[str, Any]) -> None:
    api = ApiOnFakes(addresses={"hooks.acme.com": ["93.184.216.34"]})
    body = {"url": "https://hooks.acme.com/", "events": ["email.sent"]}
    webhook_id = api.acme.call("POST", json=body).data["id"]
    headers = {"Authorization": f"Bearer {api.acme.key}"}
    event = http_api_event("GET", f"{WEBHOOKS}/{webhook_id}", headers=headers) | changes
    event["requestContext"]["routeKey"] = changes["routeKey"]
    assert api.acme.send(event).data["id"] == webhook_id


def test_the_gateway_has_a_route_for_each_call_that_needs_no_key_and_one_for_the_rest() -> None:
    api = ApiOnFakes().api
    keyless = {
        (route.method, route.openapi_path)
        for route in routes(api.resolver)
        if required_scope(route) is None
    }
    assert {*declared(ApiOnFakes())} == {*keyless, ("ANY", "/{proxy+}"), ("ANY", "/")}
