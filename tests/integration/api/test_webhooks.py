"""The webhook routes, from event to answer."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from integration.api.registering import URL, WEBHOOKS, register, registered_id
from support.fakes import FakeHealthStore
from support.http_api import OWN_DOMAIN, AccountClient, ApiOnFakes
from webhooks.domain.event import EventType
from webhooks.domain.signing import secret_warnings

ABSENT = "0199a5b0-0000-7000-8000-000000000000"


def test_a_registration_answers_what_the_documentation_shows(acme: AccountClient) -> None:
    answer = acme.call(
        "POST",
        json={
            "url": "https://your-server.com/webhooks/email",
            "events": ["email.sent", "email.delivered", "email.bounced", "email.complained"],
            "secret": "your_webhook_secret",
        },
    )
    assert answer.status == 201
    # The last is not in the documentation: libraries read its secret in different ways.
    assert list(answer.json) == ["success", "data", "warnings"]
    assert answer.json["success"] is True
    data = answer.data
    assert list(data) == ["id", "url", "events", "secret", "active", "created_at"]
    assert data["url"] == "https://your-server.com/webhooks/email"
    assert data["events"] == ["email.sent", "email.delivered", "email.bounced", "email.complained"]
    assert data["secret"] == "your_webhook_secret"
    assert data["active"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["created_at"])
    created_at = datetime.fromisoformat(data["created_at"])
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 60
    assert str(UUID(data["id"])) == data["id"]


def test_a_secret_is_generated_where_none_is_given(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    secrets = {register(acme).data["secret"] for _ in range(3)}
    assert len(secrets) == 3
    assert all(re.fullmatch(r"whsec_[0-9a-f]{64}", secret) for secret in secrets)
    assert {kept.current for _, kept in on_fakes.webhooks.webhooks.values()} == secrets


def test_null_is_the_same_as_leaving_an_optional_field_out(acme: AccountClient) -> None:
    data = register(acme, secret=None, description=None).data
    assert data["secret"].startswith("whsec_")
    assert "description" not in data


def test_a_description_is_answered_where_one_is_given(acme: AccountClient) -> None:
    answer = register(acme, description="Bounces für das Büro ✉")
    assert answer.data["description"] == "Bounces für das Büro ✉"
    shown = acme.call("GET", f"{WEBHOOKS}/{answer.data['id']}")
    assert shown.data["description"] == "Bounces für das Büro ✉"


@pytest.mark.parametrize("events", [["*"], [*EventType], ["email.clicked"]])
def test_every_subscription_of_the_contract_is_accepted(
    acme: AccountClient, events: list[str]
) -> None:
    assert register(acme, events=events).data["events"] == events


@pytest.mark.parametrize(
    ("secret", "warned_of"),
    [
        (None, None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo", "not written in full"),
        ("your_webhook_secret", "not base64"),
    ],
)
def test_a_secret_that_libraries_read_in_different_ways_is_warned_of(
    acme: AccountClient, secret: str | None, warned_of: str | None
) -> None:
    body = {"url": "https://example.com/hook", "events": ["*"], "secret": secret}
    created = acme.call("POST", json=body)
    path = f"/api/v1/webhooks/{created.data['id']}/rotate-secret"
    rotated = acme.call("POST", path, json={"secret": secret and secret + "A" * 4})
    assert (created.status, rotated.status) == (201, 200)
    if warned_of is None:
        assert list(created.json) == ["success", "data"]
    else:
        [warning] = created.json["warnings"]
        assert warning["field"] == "secret"
        assert warned_of in warning["message"]
    expected = secret_warnings(rotated.data["secret"])
    assert [each["message"] for each in rotated.json.get("warnings", [])] == expected


@pytest.mark.parametrize(
    "secret", ["x" * 16, "x" * 256, "with a space and ~!", "Schlüssel mit Umlaut äöü"]
)
def test_a_secret_of_printable_characters_is_kept_as_it_is(
    acme: AccountClient, secret: str
) -> None:
    assert register(acme, secret=secret).data["secret"] == secret


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"url": "http://hooks.acme.com/"}, ["url"]),
        ({"url": "https://127.0.0.1/"}, ["url"]),
        ({"url": "https://localhost/"}, ["url"]),
        ({"url": "https://user:password@hooks.acme.com/"}, ["url"]),
        ({"url": "https://hooks.acme.com/#fragment"}, ["url"]),
        ({"url": f"https://hooks.acme.com/{'x' * 2048}"}, ["url"]),
        ({"url": ""}, ["url"]),
        ({"url": 7}, ["url"]),
        ({"url": None}, ["url"]),
        ({"events": []}, ["events"]),
        ({"events": "email.sent"}, ["events"]),
        ({"events": {"email.sent": True}}, ["events"]),
        ({"events": None}, ["events"]),
        ({"events": ["email.sent", 7]}, ["events[1]"]),
        ({"events": ["email.sent", "email.sent"]}, ["events[1]"]),
        ({"events": ["email.sent", "email.eaten"]}, ["events[1]"]),
        ({"events": ["Email.Sent"]}, ["events[0]"]),
        ({"events": ["email.sent", "*"]}, ["events[1]"]),
        ({"events": ["*", "*"]}, ["events[0]", "events[1]"]),
        ({"events": ["no", "email.sent", "nor this"]}, ["events[0]", "events[2]"]),
        ({"secret": "x" * 15}, ["secret"]),
        ({"secret": "x" * 257}, ["secret"]),
        ({"secret": ""}, ["secret"]),
        ({"secret": "a line\nand another"}, ["secret"]),
        ({"secret": "0123456789abcdef\u0000"}, ["secret"]),
        ({"secret": 1234567890123456}, ["secret"]),
        ({"description": "x" * 257}, ["description"]),
        ({"description": "two\nlines"}, ["description"]),
        ({"description": "\ud800"}, ["description"]),
        ({"description": ["x"]}, ["description"]),
        ({"url": "ftp://x", "events": ["no"], "secret": "short"}, ["url", "events[0]", "secret"]),
    ],
)
def test_a_broken_rule_names_its_field(
    on_fakes: ApiOnFakes, acme: AccountClient, changes: dict[str, Any], fields: list[str]
) -> None:
    answer = register(acme, **changes)
    assert answer.status == 422
    assert answer.json["success"] is False
    assert answer.error["code"] == "validation_failed"
    assert answer.fields == fields
    assert all(detail["message"] for detail in answer.error["details"])
    assert not on_fakes.webhooks.webhooks


@pytest.mark.parametrize("field", ["url", "events"])
def test_a_required_field_is_asked_for(acme: AccountClient, field: str) -> None:
    body = {"url": URL, "events": ["email.sent"]}
    del body[field]
    answer = acme.call("POST", json=body)
    assert answer.status == 422
    assert answer.error["details"] == [
        {"field": field, "message": "This field is required. Add it."}
    ]


@pytest.mark.parametrize(
    "field",
    ["id", "account_id", "active", "created_at", "updated_at", "headers", "disabled_reason", "URL"],
)
def test_a_field_that_is_not_the_callers_to_set_is_refused_by_name(
    on_fakes: ApiOnFakes, acme: AccountClient, field: str
) -> None:
    answer = register(acme, **{field: "x"})
    assert answer.status == 422
    assert answer.fields == [field]
    assert not on_fakes.webhooks.webhooks


def test_refused_values_are_not_repeated(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    answer = register(acme, secret="canary\nsecret-value", url="https://canary@acme.com/canary")
    assert answer.status == 422
    assert "canary" not in answer.text
    assert "canary" not in repr(on_fakes.telemetry.lines)


def test_many_unknown_fields_do_not_make_a_long_answer(acme: AccountClient) -> None:
    answer = register(acme, **{f"{'x' * 200}{number}": 1 for number in range(60)})
    assert answer.status == 422
    assert len(answer.error["details"]) == 20
    assert len(answer.text) < 5000


def test_a_field_named_with_half_a_character_is_refused_like_any_other(acme: AccountClient) -> None:
    answer = register(acme, **{"\ud83d": 1})
    assert answer.status == 422
    assert answer.fields == ["body"]


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
def test_a_host_that_resolves_to_a_private_address_is_refused(address: str) -> None:
    on_fakes = ApiOnFakes(addresses={"hooks.acme.com": ["93.184.216.34", address]})
    answer = register(on_fakes.acme)
    assert answer.status == 422
    assert answer.fields == ["url"]
    assert address not in answer.text
    assert on_fakes.looked_up == ["hooks.acme.com"]


def test_a_host_that_resolves_to_public_addresses_is_looked_up_once() -> None:
    on_fakes = ApiOnFakes(addresses={"hooks.acme.com": ["93.184.216.34"]})
    assert register(on_fakes.acme).status == 201
    assert on_fakes.looked_up == ["hooks.acme.com"]


@pytest.mark.parametrize(
    "host",
    [
        # The domain of the test's calls, other domains of the same API, and the API's own domain.
        "api-id.execute-api.eu-central-1.amazonaws.com",
        "API-ID.execute-api.eu-central-1.amazonaws.com",
        "api-id.execute-api.eu-central-1.api.aws",
        OWN_DOMAIN,
    ],
)
def test_no_webhook_leads_to_the_service_itself(acme: AccountClient, host: str) -> None:
    own = f"https://{host}/api/v1/events"
    created = acme.call("POST", json={"url": f"https://other.{OWN_DOMAIN}/", "events": ["*"]})
    assert created.status == 201
    for answer in (
        acme.call("POST", json={"url": own, "events": ["*"]}),
        acme.call("PATCH", f"/api/v1/webhooks/{created.data['id']}", json={"url": own}),
    ):
        assert answer.status == 422
        assert answer.fields == ["url"]
        assert "this API itself" in answer.text


def test_anybody_elses_api_on_api_gateway_is_a_receiver(acme: AccountClient) -> None:
    url = "https://abc123.execute-api.eu-central-1.amazonaws.com/Prod/hooks"
    assert acme.call("POST", json={"url": url, "events": ["*"]}).status == 201


def test_a_host_without_an_address_yet_is_accepted(on_fakes: ApiOnFakes) -> None:
    assert register(on_fakes.acme).status == 201
    assert on_fakes.looked_up == ["hooks.acme.com"]


def test_nothing_is_looked_up_for_a_registration_that_is_refused_anyway(
    on_fakes: ApiOnFakes,
) -> None:
    assert register(on_fakes.acme, events=[]).status == 422
    assert on_fakes.looked_up == []


def test_an_account_has_only_so_many_webhooks() -> None:
    on_fakes = ApiOnFakes(max_webhooks=2)
    first = registered_id(on_fakes.acme)
    registered_id(on_fakes.acme)
    refused = register(on_fakes.acme)
    assert (refused.status, refused.error["code"]) == (409, "webhook_limit_reached")
    assert register(on_fakes.globex).status == 201
    on_fakes.acme.call("DELETE", f"{WEBHOOKS}/{first}")
    assert register(on_fakes.acme).status == 201


def test_a_webhook_is_shown_without_its_secret(acme: AccountClient) -> None:
    registered = register(acme, secret="your_webhook_secret").data
    answer = acme.call("GET", f"{WEBHOOKS}/{registered['id']}")
    assert answer.status == 200
    assert answer.data == {
        "id": registered["id"],
        "url": URL,
        "events": ["email.sent"],
        "active": True,
        "created_at": registered["created_at"],
        "updated_at": registered["created_at"],
        "health": {"state": "healthy", "consecutive_failures": 0},
    }
    assert "your_webhook_secret" not in answer.text + acme.call("GET").text


def test_a_disabled_webhook_says_why(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    webhook_id = registered_id(acme)
    FakeHealthStore(on_fakes.webhooks).disable("acme", webhook_id, "gone", 1766359512006)
    data = acme.call("GET", f"{WEBHOOKS}/{webhook_id}").data
    assert data["active"] is False
    assert data["disabled_reason"] == "gone"
    assert data["updated_at"] == "2025-12-21T23:25:12.006Z"


@pytest.mark.parametrize("form", ["query", "path"])
def test_a_webhook_is_deleted_in_both_forms(
    on_fakes: ApiOnFakes, acme: AccountClient, form: str
) -> None:
    webhook_id = registered_id(acme)
    other_id = registered_id(acme)
    if form == "query":
        answer = acme.call("DELETE", query={"id": webhook_id})
    else:
        answer = acme.call("DELETE", f"{WEBHOOKS}/{webhook_id}")
    assert answer.status == 200
    assert answer.json == {"success": True, "data": {"id": webhook_id, "deleted": True}}
    assert [stored for _, stored in on_fakes.webhooks.webhooks] == [other_id]
    assert acme.call("GET", f"{WEBHOOKS}/{webhook_id}").status == 404


@pytest.mark.parametrize("query", ["id={0}&id={1}", "id={0},{1}", "id={0}&id={0}", "id={0}&ID={1}"])
def test_an_id_that_is_given_twice_deletes_nothing(
    on_fakes: ApiOnFakes, acme: AccountClient, query: str
) -> None:
    ids = [registered_id(acme) for _ in range(2)]
    assert acme.call("DELETE", query=query.format(*ids)).status in {404, 422}
    assert len(on_fakes.webhooks.webhooks) == 2


def test_deleting_by_query_needs_the_id(acme: AccountClient) -> None:
    answer = acme.call("DELETE")
    assert answer.status == 422
    assert answer.fields == ["id"]


@pytest.mark.parametrize(
    ("method", "form"), [("GET", "path"), ("DELETE", "path"), ("DELETE", "query")]
)
def test_foreign_absent_and_malformed_ids_are_answered_alike(
    on_fakes: ApiOnFakes, method: str, form: str
) -> None:
    foreign = registered_id(on_fakes.globex)
    before = dict(on_fakes.webhooks.webhooks)
    answers = set()
    for webhook_id in (foreign, ABSENT, "quota", "x", foreign.upper(), "x" * 3000):
        if form == "path":
            answer = on_fakes.acme.call(method, f"{WEBHOOKS}/{webhook_id}")
        else:
            answer = on_fakes.acme.call(method, query={"id": webhook_id})
        answers.add((answer.status, answer.text, json.dumps(answer.headers)))
    assert len(answers) == 1
    [(status, text, _)] = answers
    assert status == 404
    assert json.loads(text)["error"]["code"] == "webhook_not_found"
    assert on_fakes.webhooks.webhooks == before
