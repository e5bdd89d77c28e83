"""Every answer of the API: the envelope, the key, the headers, the errors."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from support.http_api import AccountClient, ApiOnFakes, http_api_event
from webhooks.domain import api_key

WEBHOOKS = "/api/v1/webhooks"
BODY = {"url": "https://hooks.acme.com/", "events": ["email.sent"]}


def test_every_answer_says_which_request_it_is_and_is_not_cached(acme: AccountClient) -> None:
    answers = [
        acme.call("GET"),
        acme.call("POST", json=BODY),
        acme.call("POST", body="{"),
        acme.call("GET", "/nowhere"),
        acme.call("PUT"),
        acme.call("GET", headers={"Authorization": "Bearer wrong"}),
    ]
    assert [answer.status for answer in answers] == [200, 201, 400, 404, 405, 401]
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Request-Id"] == "JKJaXmPLvHcESHA="
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.json["success"] is (answer.status < 400)


def test_without_a_gateways_request_id_the_functions_own_is_answered(acme: AccountClient) -> None:
    answer = acme.call("GET", request_id=None)
    assert answer.headers["X-Request-Id"] == "lambda-request-id"


@pytest.mark.parametrize(
    "path",
    ["/", "/api/v1", f"{WEBHOOKS}/", "/api/v2/webhooks", f"{WEBHOOKS}/a/b", WEBHOOKS.upper()],
)
@pytest.mark.parametrize("with_key", [True, False])
def test_an_unknown_route_is_not_found(acme: AccountClient, path: str, with_key: bool) -> None:
    answer = acme.call("GET", path, headers={} if with_key else {"Authorization": ""})
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        (WEBHOOKS, "PUT", "DELETE, GET, POST"),
        (WEBHOOKS, "HEAD", "DELETE, GET, POST"),
        (WEBHOOKS, "OPTIONS", "DELETE, GET, POST"),
        (f"{WEBHOOKS}/x", "POST", "DELETE, GET, PATCH"),
    ],
)
def test_a_wrong_method_gets_the_right_ones(
    acme: AccountClient, path: str, method: str, allowed: str
) -> None:
    answer = acme.call(method, path)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_the_scheme_of_a_key_is_written_in_any_case(acme: AccountClient) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert acme.call("GET", headers={"Authorization": f"{scheme} {acme.key}"}).status == 200


def test_all_refused_keys_are_answered_in_the_same_bytes(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    unknown = api_key.compose(bytes(40))
    flipped = acme.key[:-1] + ("0" if acme.key[-1] != "0" else "1")
    headers = [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {unknown}",
        f"Bearer {flipped}",
        f"Bearer {acme.key} x",
        f"Bearer {acme.key}{'x' * 100_000}",
        f"Basic {acme.key}",
        acme.key,
        "Bearer sc_live_ключ",
        "Bearer \ud800",
    ]
    answers = [acme.call("GET", headers={"Authorization": header}) for header in headers]
    answers.append(acme.send(http_api_event("GET", WEBHOOKS)))
    assert {(answer.status, answer.text) for answer in answers} == {(401, answers[0].text)}
    assert answers[0].error["code"] == "unauthorized"
    assert all(answer.headers["WWW-Authenticate"] == "Bearer" for answer in answers)


def test_a_revoked_key_stops_at_once(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    assert acme.call("GET").status == 200
    [key] = [key for key in on_fakes.keys.keys.values() if key.account_id == "acme"]
    on_fakes.keys.keys[key.key_hash] = replace(key, revoked_at_ms=1)
    assert acme.call("GET").status == 401


def test_strangers_do_not_learn_what_is_wrong_with_their_input(acme: AccountClient) -> None:
    requests: list[dict[str, Any]] = [
        {"json": {}},
        {"body": "{"},
        {"json": BODY, "query": "x=1"},
    ]
    for request in requests:
        answer = acme.call("POST", headers={"Authorization": "Bearer wrong"}, **request)
        assert answer.status == 401


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        " ",
        "{",
        "{'url': 1}",
        '{"url": NaN}',
        '{"url": Infinity}',
        "[]",
        json.dumps([BODY]),
        '"text"',
        "null",
        "7",
        '{"events": [], "events": []}',
        '{"x": {"y": 1, "y": 1}}',
        "\ufeff{}",
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"x": ' + "[" * 32 + "]" * 32 + "}",
        '{"x": ' + "[" * 5000,
        b"\xff\xfe",
        b"\xe2\x82",
    ],
    ids=range(21),
)
def test_a_body_that_is_no_json_object_is_malformed(
    acme: AccountClient, body: str | bytes | None
) -> None:
    answer = acme.call("POST", body=body)
    assert (answer.status, answer.error["code"]) == (400, "malformed_json")
    assert "details" not in answer.error


def test_brackets_inside_of_text_are_not_nesting(acme: AccountClient) -> None:
    answer = acme.call("POST", json=BODY | {"description": '[{"' * 40})
    assert answer.status == 201


def test_base64_that_is_none_is_malformed(acme: AccountClient) -> None:
    event = http_api_event(
        "POST", WEBHOOKS, headers={"Authorization": f"Bearer {acme.key}"}, body=b"{}"
    )
    answer = acme.send(event | {"body": "ab"})
    assert (answer.status, answer.error["code"]) == (400, "malformed_json")


def test_a_body_that_came_as_base64_is_read(acme: AccountClient) -> None:
    body = json.dumps(BODY | {"description": "ü"}, ensure_ascii=False).encode()
    answer = acme.call("POST", body=body)
    assert answer.status == 201
    assert answer.data["description"] == "ü"


@pytest.mark.parametrize("as_base64", [True, False])
def test_a_body_over_16_kilobytes_is_too_large(acme: AccountClient, as_base64: bool) -> None:
    def padded(size: int) -> Any:
        text = json.dumps(BODY)
        text += " " * (size - len(text))
        return text.encode() if as_base64 else text

    assert acme.call("POST", body=padded(16 * 1024)).status == 201
    answer = acme.call("POST", body=padded(16 * 1024 + 1))
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


def test_the_limit_of_a_body_counts_bytes(acme: AccountClient) -> None:
    assert acme.call("POST", body='{"x": "' + "é" * 9000 + '"}').status == 413


@pytest.mark.parametrize(
    "media_type",
    [
        *(None, "application/json", "Application/JSON; charset=UTF-8", "application/json;"),
        *('application/json;charset="utf-8"', "application/json; Charset=utf8 ; x=1"),
        'application/json; note="a; charset=latin1"; charset=utf-8',
    ],
)
def test_json_is_accepted_with_and_without_its_name(
    acme: AccountClient, media_type: str | None
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    assert acme.call("POST", body=json.dumps(BODY), headers=headers).status == 201


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/plain", "application/x-www-form-urlencoded", "application/jsonx", "x"),
        *("application/json; charset=iso-8859-1", 'application/json;charset="UTF-16"'),
        *("application/json; charset=utf-8; charset=latin1", "application/json; charset"),
        *("application/json; charset=us-ascii", "application/json; CHARSET=Shift_JIS"),
        "application/json; charset=utf-8, text/plain",
    ],
)
def test_a_body_that_says_it_is_no_json_is_refused(acme: AccountClient, media_type: str) -> None:
    answer = acme.call("POST", body=json.dumps(BODY), headers={"Content-Type": media_type})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", WEBHOOKS), ("POST", WEBHOOKS), ("GET", f"{WEBHOOKS}/x")]
)
def test_an_unknown_query_parameter_is_refused_by_name(
    acme: AccountClient, method: str, path: str
) -> None:
    answer = acme.call(method, path, query="account_id=globex", json=BODY)
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert answer.fields == ["account_id"]


@pytest.mark.parametrize("call", ["create", "get", "page", "delete"])
def test_a_table_that_does_not_answer_is_unavailable(
    on_fakes: ApiOnFakes, acme: AccountClient, call: str
) -> None:
    registered = acme.call("POST", json=BODY).data["id"]
    requests: dict[str, tuple[str, str, dict[str, Any]]] = {
        "create": ("POST", WEBHOOKS, {"json": BODY}),
        "get": ("GET", f"{WEBHOOKS}/0199a5b0-0000-7000-8000-000000000000", {}),
        "page": ("GET", WEBHOOKS, {}),
        "delete": ("DELETE", f"{WEBHOOKS}/{registered}", {}),
    }
    method, path, request = requests[call]
    on_fakes.webhooks.failures.plan(call, True)
    answer = acme.call(method, path, **request)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert "planned" not in answer.text


def test_without_the_table_of_keys_every_call_is_refused(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    on_fakes.keys.failures.plan("get", True)
    answer = acme.call("GET")
    assert (answer.status, answer.error["code"]) == (503, "unavailable")


def test_a_bug_is_answered_in_the_envelope_without_details(
    on_fakes: ApiOnFakes, acme: AccountClient, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def broken(*_: Any) -> Any:
        msg = "canary: the text of an exception may quote anything"
        raise KeyError(msg)

    monkeypatch.setattr(on_fakes.webhook_service, "page", broken)
    answer = acme.call("GET")
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    [line] = on_fakes.telemetry.logged("request_failed")
    assert line["error"] == "KeyError"
    assert "broken" in str(line["stack"])
    captured = capfd.readouterr()
    written = answer.text + repr(on_fakes.telemetry.lines) + captured.out + captured.err
    assert "canary:" not in written.replace(
        '    msg = "canary: the text of an exception may quote anything"', ""
    )


def test_the_log_has_one_line_a_request_without_key_or_url(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    acme.call("POST", json=BODY | {"secret": "a-secret-of-the-caller"})
    acme.call("GET", f"{WEBHOOKS}/x")
    first, second = on_fakes.telemetry.logged("request")
    assert (first["route"], first["status"]) == (f"POST {WEBHOOKS}", 201)
    assert first["account_id"] == "acme"
    assert (second["route"], second["error_code"]) == (
        f"GET {WEBHOOKS}/{{webhook_id}}",
        "webhook_not_found",
    )
    assert first["key_id"] == api_key.key_id(acme.key)
    logged = repr(on_fakes.telemetry.lines)
    for private in (acme.key, "a-secret-of-the-caller", "hooks.acme.com"):
        assert private not in logged


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", WEBHOOKS, f"GET {WEBHOOKS}"),
        ("PUT", f"{WEBHOOKS}/private-id", f"PUT {WEBHOOKS}/{{webhook_id}}"),
        ("DELETE", "/api/v1/recipients/private%40id.com", "DELETE /api/v1/recipients/{address}"),
        ("GET", "/docs", "GET /docs"),
        ("GET", "/private-id", None),
    ],
)
def test_the_log_names_the_route_and_the_ids_of_gateway_and_lambda_never_the_path(
    on_fakes: ApiOnFakes, acme: AccountClient, method: str, path: str, route: str | None
) -> None:
    answer = acme.call(method, path)
    [line] = on_fakes.telemetry.logged("request")
    assert (line["method"], line["route"], line["status"]) == (method, route, answer.status)
    assert line["request_id"] == answer.headers["X-Request-Id"] == "JKJaXmPLvHcESHA="
    assert line["function_request_id"] == "lambda-request-id"
    assert "private" not in repr(on_fakes.telemetry.lines)


def test_requests_at_the_same_time_do_not_mix(on_fakes: ApiOnFakes) -> None:
    ids: dict[str, set[str]] = {"acme": set(), "globex": set()}

    def register_some(account_id: str, client: AccountClient) -> None:
        ids[account_id] = {client.call("POST", json=BODY).data["id"] for _ in range(10)}

    threads = [
        threading.Thread(target=register_some, args=(account_id, client))
        for account_id, client in (("acme", on_fakes.acme), ("globex", on_fakes.globex))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for account_id, answered in ids.items():
        stored = {each for account, each in on_fakes.webhooks.webhooks if account == account_id}
        assert answered == stored
        assert len(stored) == 10


def test_two_apis_in_one_process_keep_to_their_own_services(on_fakes: ApiOnFakes) -> None:
    other = ApiOnFakes()
    on_fakes.acme.call("POST", json=BODY)
    assert on_fakes.acme.call("GET").data
    assert other.acme.call("GET").data == []
    assert (
        other.acme.call("GET", headers={"Authorization": f"Bearer {on_fakes.acme.key}"}).status
        == 401
    )


def test_the_routes_describe_themselves_for_openapi(on_fakes: ApiOnFakes) -> None:
    document = json.loads(on_fakes.api.resolver.get_openapi_json_schema())
    operation = document["paths"][WEBHOOKS]["post"]
    assert "201" in operation["responses"]
    schema = document["components"]["schemas"]["WebhookIn"]
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["url", "events"]
    parameters = document["paths"][WEBHOOKS]["get"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {"limit", "cursor"}
