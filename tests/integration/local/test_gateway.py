"""The local stack's HTTP API: requests as payload v2 events, answers as responses."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import Client

from local.functions import LocalFunction
from local.gateway import MAX_BODY_BYTES, Gateway, GatewayRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.functions import Context


def answering(answer: Any) -> LocalFunction:
    return LocalFunction("answering", lambda _event, _context: answer)


def echo(event: Any, _context: Context) -> Any:
    headers = {"content-type": "application/json"}
    return {"statusCode": 200, "headers": headers, "body": json.dumps(event)}


ECHO = LocalFunction("echo", echo)


@pytest.fixture
def client() -> Client:
    routes = [
        ("ANY", "/{proxy+}"),
        ("GET", "/webhooks/{id}"),
        ("ANY", "/webhooks/{id}"),
        ("GET", "/webhooks/mine"),
        ("GET", "/webhooks/{id}/deliveries/{delivery_id}"),
        ("GET", "/docs"),
        ("ANY", "/"),
    ]
    return Client(
        Gateway(GatewayRoute(method, path, ECHO) for method, path in routes), use_cookies=False
    )


def client_of(*routes: tuple[str, str, LocalFunction]) -> Client:
    return Client(Gateway(GatewayRoute(*route) for route in routes))


@pytest.mark.parametrize(
    ("method", "path", "route_key", "parameters"),
    [
        ("GET", "/webhooks/mine", "GET /webhooks/mine", None),
        ("GET", "/webhooks/1", "GET /webhooks/{id}", {"id": "1"}),
        ("DELETE", "/webhooks/1", "ANY /webhooks/{id}", {"id": "1"}),
        ("GET", "/webhooks/a%20b", "GET /webhooks/{id}", {"id": "a b"}),
        (
            "GET",
            "/webhooks/1/deliveries/2",
            "GET /webhooks/{id}/deliveries/{delivery_id}",
            {"id": "1", "delivery_id": "2"},
        ),
        ("POST", "/webhooks/1/x", "ANY /{proxy+}", {"proxy": "webhooks/1/x"}),
        ("GET", "/docs", "GET /docs", None),
        ("POST", "/docs", "ANY /{proxy+}", {"proxy": "docs"}),
        ("GET", "/docs%0A", "ANY /{proxy+}", {"proxy": "docs\n"}),
        ("GET", "/a%2Fb%0Ac", "ANY /{proxy+}", {"proxy": "a/b\nc"}),
        ("GET", "/", "ANY /", None),
    ],
)
def test_the_most_specific_route_gets_the_request(
    client: Client, method: str, path: str, route_key: str, parameters: dict[str, str] | None
) -> None:
    event = client.open(path, method=method).json
    assert event
    assert event["routeKey"] == route_key
    assert event.get("pathParameters") == parameters


def test_a_path_without_a_route_is_a_404_of_the_gateway() -> None:
    client = client_of(("GET", "/here", ECHO))
    answers = [client.get("/elsewhere"), client.post("/here"), client.get("/here/too")]
    assert [(answer.status_code, answer.json) for answer in answers] == [
        (404, {"message": "Not Found"})
    ] * 3


def test_the_default_route_takes_the_rest() -> None:
    client = client_of(("GET", "/here", ECHO), ("ANY", "$default", ECHO))
    answer = client.post("/anywhere")
    assert answer.json
    assert answer.json["routeKey"] == "$default"


def test_the_event_is_that_of_payload_version_2(client: Client) -> None:
    event = client.post(
        "/webhooks/1?tag=a&tag=b&empty=",
        data=b'{"n": 1}',
        headers=[
            ("Content-Type", "application/json"),
            ("X-Several", "one"),
            ("X-Several", "two"),
            ("Cookie", "a=1; b=2"),
            ("User-Agent", "tests"),
        ],
    ).json
    assert event
    assert event["version"] == "2.0"
    assert event["rawPath"] == "/webhooks/1"
    assert event["rawQueryString"] == "tag=a&tag=b&empty="
    assert event["queryStringParameters"] == {"tag": "a,b", "empty": ""}
    assert event["headers"]["x-several"].replace(" ", "") == "one,two"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"n": 1}', False)
    http = event["requestContext"]["http"]
    assert (http["method"], http["path"], http["userAgent"]) == ("POST", "/webhooks/1", "tests")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"\x00\xff"),
        ("application/x-www-form-urlencoded", b"a=b"),
        ("application/json", b'"\xff"'),
        ("", b"text"),
    ],
)
def test_a_body_that_is_no_text_comes_in_base64(
    client: Client, content_type: str, body: bytes
) -> None:
    event = client.post("/x", data=body, headers={"Content-Type": content_type}).json
    assert event
    assert event["isBase64Encoded"]
    assert base64.b64decode(event["body"]) == body


def test_a_request_without_a_body_has_none(client: Client) -> None:
    event = client.get("/x").json
    assert event
    assert "body" not in event
    assert event["isBase64Encoded"] is False


def test_a_body_over_ten_megabytes_never_reaches_the_function(client: Client) -> None:
    answer = client.post("/x", data=b"x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json) == (413, {"message": "Request Entity Too Large"})


def test_an_answer_keeps_its_status_headers_cookies_and_bytes() -> None:
    answer = client_of(
        (
            "GET",
            "/",
            answering(
                {
                    "statusCode": 201,
                    "headers": {"content-type": "image/png", "X-Own": "1"},
                    "cookies": ["a=1", "b=2; Secure"],
                    "body": base64.b64encode(b"\x89PNG\x00").decode(),
                    "isBase64Encoded": True,
                }
            ),
        )
    ).get("/")
    assert answer.status_code == 201
    assert answer.data == b"\x89PNG\x00"
    assert answer.headers.getlist("Content-Type") == ["image/png"]
    assert answer.headers["X-Own"] == "1"
    assert answer.headers.getlist("Set-Cookie") == ["a=1", "b=2; Secure"]
    assert answer.headers["Apigw-Requestid"]


@pytest.mark.parametrize("payload", [{"data": [1]}, [1], "text", None])
def test_an_answer_without_a_status_is_json(payload: Any) -> None:
    answer = client_of(("GET", "/", answering(payload))).get("/")
    assert (answer.status_code, answer.json) == (200, payload)


def raising(error: Exception) -> Callable[[Any, Context], Any]:
    def handler(_event: Any, _context: Context) -> Any:
        raise error

    return handler


@pytest.mark.parametrize(
    "function",
    [
        answering({"statusCode": "soon"}),
        answering({"statusCode": 200, "headers": "none"}),
        LocalFunction("raising", raising(RuntimeError("a secret detail"))),
        LocalFunction("unserialisable", lambda _event, _context: {"body": b"bytes"}),
    ],
    ids=["status", "headers", "error", "not JSON"],
)
def test_a_broken_answer_is_a_500_without_details(function: LocalFunction) -> None:
    answer = client_of(("GET", "/", function)).get("/")
    assert (answer.status_code, answer.json) == (500, {"message": "Internal Server Error"})
