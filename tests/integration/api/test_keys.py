"""Keys over HTTP: made, listed, revoked; and the calls that each scope allows."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from api.operations import required_scope, routes
from support.http_api import AccountClient, ApiOnFakes
from support.samples import event_document
from webhooks.domain import api_key
from webhooks.domain.api_key import Scope

KEYS = "/api/v1/api-keys"
WEBHOOKS = "/api/v1/webhooks"
EVENTS = "/api/v1/events"
ABSENT = f"{WEBHOOKS}/0199a5b0-0000-7000-8000-000000000000"
BODY = {"url": "https://hooks.acme.com/", "events": ["email.sent"]}


def test_a_key_is_shown_once_and_works(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    answer = acme.call("POST", KEYS, json={"name": "billing"})
    assert answer.status == 201
    made = answer.data
    assert list(made) == ["id", "name", "scopes", "last_four", "created_at", "key"]
    assert (made["name"], made["scopes"]) == ("billing", ["read", "write", "publish"])
    assert made["last_four"] == made["key"][-4:]
    assert AccountClient(on_fakes.api, made["key"]).call("GET").status == 200
    listed = acme.call("GET", KEYS)
    assert made["key"] not in listed.text
    assert "key_hash" not in listed.text
    assert made["key"] not in repr(on_fakes.telemetry.lines)


def test_keys_are_listed_page_by_page_with_their_last_four(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    for number in range(3):
        acme.call("POST", KEYS, json={"name": f"key {number}", "scopes": ["read"]})
    names, query = [], {"limit": "3"}
    while True:
        answer = acme.call("GET", KEYS, query=query)
        assert answer.status == 200
        names += [key["name"] for key in answer.data]
        assert all(len(key["last_four"]) == 4 for key in answer.data)
        if "next_cursor" not in answer.json["pagination"]:
            break
        query["cursor"] = answer.json["pagination"]["next_cursor"]
    assert sorted(names) == ["", "key 0", "key 1", "key 2"]
    [first] = [key for key in answer.data + acme.call("GET", KEYS).data if not key["name"]][:1]
    assert first["last_used_at"].endswith("Z")
    assert on_fakes.globex.call("GET", KEYS, query=query).fields == ["cursor"]
    assert len(on_fakes.globex.call("GET", KEYS).data) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["admin"]}, "scopes[0]"),
        ({"name": "a", "scopes": "read"}, "scopes"),
        ({"name": "a", "account_id": "globex"}, "account_id"),
        ({"name": "a", "key": "sc_live_mine"}, "key"),
    ],
)
def test_a_key_that_breaks_a_rule_is_refused(
    on_fakes: ApiOnFakes, acme: AccountClient, body: dict[str, Any], field: str
) -> None:
    before = len(on_fakes.keys.keys)
    answer = acme.call("POST", KEYS, json=body)
    assert (answer.status, answer.error["code"]) == (422, "validation_failed")
    assert answer.fields == [field]
    assert len(on_fakes.keys.keys) == before


def test_a_revoked_key_stops_at_once_and_is_still_listed(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    made = acme.call("POST", KEYS, json={"name": "lost"}).data
    lost = AccountClient(on_fakes.api, made["key"])
    assert lost.call("GET").status == 200
    answer = acme.call("DELETE", f"{KEYS}/{made['id']}")
    assert answer.status == 200
    assert answer.data["id"] == made["id"]
    assert answer.data["deleted"] is True
    assert lost.call("GET").status == 401
    [listed] = [key for key in acme.call("GET", KEYS).data if key["id"] == made["id"]]
    assert listed["revoked_at"] == answer.data["revoked_at"]
    assert acme.call("DELETE", f"{KEYS}/{made['id']}").data == answer.data


def test_the_last_key_is_protected(acme: AccountClient) -> None:
    answer = acme.call("DELETE", f"{KEYS}/{api_key.key_id(acme.key)}")
    assert (answer.status, answer.error["code"]) == (409, "last_api_key")
    assert acme.call("GET").status == 200


def test_a_foreign_key_answers_as_an_absent_one(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    foreign = acme.call("DELETE", f"{KEYS}/{api_key.key_id(on_fakes.globex.key)}")
    absent = acme.call("DELETE", f"{KEYS}/key_0000000000000000")
    assert (foreign.status, foreign.error["code"]) == (404, "api_key_not_found")
    assert foreign.text == absent.text
    assert on_fakes.globex.call("GET").status == 200


class Call(NamedTuple):
    method: str
    path: str
    needed: Scope
    status: int
    body: Any = None


CALLS = [
    Call("GET", WEBHOOKS, Scope.READ, 200),
    Call("GET", ABSENT, Scope.READ, 404),
    Call("GET", KEYS, Scope.READ, 200),
    Call("POST", WEBHOOKS, Scope.WRITE, 201, BODY),
    Call("DELETE", ABSENT, Scope.WRITE, 404),
    Call("POST", KEYS, Scope.WRITE, 201, {"name": "a"}),
    Call("DELETE", f"{KEYS}/key_0", Scope.WRITE, 404),
    Call("POST", EVENTS, Scope.PUBLISH, 202, event_document(account_id=None)),
    Call("POST", EVENTS, Scope.PUBLISH, 422, {"event": "email.lost"}),
]


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("call", CALLS)
def test_a_key_does_what_its_scope_allows_and_nothing_else(
    on_fakes: ApiOnFakes, scope: Scope, call: Call
) -> None:
    client = on_fakes.client("acme", {scope})
    answer = client.call(call.method, call.path, **({"json": call.body} if call.body else {}))
    if scope is call.needed:
        assert answer.status == call.status, answer.text
    else:
        assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer error="insufficient_scope", scope="{call.needed}"'
        )
        assert not on_fakes.webhooks.webhooks
        assert not on_fakes.events.messages


def test_a_refusal_for_scope_does_not_depend_on_what_exists(on_fakes: ApiOnFakes) -> None:
    webhook = on_fakes.acme.call("POST", json=BODY).data
    publisher = on_fakes.client("acme", {Scope.PUBLISH})
    answers = {
        publisher.call("DELETE", path).text
        for path in (f"{WEBHOOKS}/{webhook['id']}", ABSENT, f"{WEBHOOKS}/x")
    }
    assert len(answers) == 1


def test_a_key_cannot_make_one_that_may_do_more(on_fakes: ApiOnFakes) -> None:
    writer = on_fakes.client("acme", {Scope.WRITE})
    answer = writer.call("POST", KEYS, json={"name": "more", "scopes": ["write", "publish"]})
    assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")
    assert writer.call("POST", KEYS, json={"name": "same"}).data["scopes"] == ["write"]


def test_only_reading_is_free_of_write_and_only_events_need_publish(on_fakes: ApiOnFakes) -> None:
    scopes = {
        (route.method, route.openapi_path): required_scope(route)
        for route in routes(on_fakes.api.resolver)
    }
    assert [call for call, scope in scopes.items() if scope is Scope.PUBLISH] == [("POST", EVENTS)]
    for (method, path), scope in scopes.items():
        if path != EVENTS and scope is not None:
            assert scope is (Scope.READ if method == "GET" else Scope.WRITE), (method, path)


def test_a_keys_text_is_described_where_it_is_shown_only(on_fakes: ApiOnFakes) -> None:
    schemas = json.loads(on_fakes.api.resolver.get_openapi_json_schema())["components"]["schemas"]
    assert [name for name, schema in schemas.items() if "key" in schema.get("properties", {})] == [
        "IssuedApiKeyOut"
    ]


@pytest.mark.parametrize(
    "name", ["\u0646\u0627\u0645\u0647\u200c\u0647\u0627", "\u8acb\u6c42\u3000\u90e8"]
)
def test_a_name_may_be_in_any_script(acme: AccountClient, name: str) -> None:
    assert acme.call("POST", KEYS, json={"name": name}).data["name"] == name
