"""Changing a webhook, its headers and its secret, from event to answer."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from integration.api.registering import WEBHOOKS, register, registered_id
from support.fakes import FakeHealthStore
from webhooks.domain.webhook import Secrets, Webhook

if TYPE_CHECKING:
    from support.http_api import AccountClient, Answer, ApiOnFakes

ABSENT = "0199a5b0-0000-7000-8000-000000000000"
DAY_MS = 86_400_000


def change(client: AccountClient, webhook_id: str, **changes: Any) -> Answer:
    return client.call("PATCH", f"{WEBHOOKS}/{webhook_id}", json=changes)


def rotate(client: AccountClient, webhook_id: str, **request: Any) -> Answer:
    return client.call("POST", f"{WEBHOOKS}/{webhook_id}/rotate-secret", **request)


def stored(on_fakes: ApiOnFakes, webhook_id: str) -> tuple[Webhook, Secrets]:
    return on_fakes.webhooks.webhooks["acme", webhook_id]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://other.acme.com/hook"),
        ("events", ["email.opened", "email.clicked"]),
        ("events", ["*"]),
        ("active", False),
        ("description", "Bounces ✉"),
    ],
)
def test_each_field_is_changed_alone(acme: AccountClient, field: str, value: Any) -> None:
    webhook_id = registered_id(acme, description="before")
    before = acme.call("GET", f"{WEBHOOKS}/{webhook_id}").data
    answer = change(acme, webhook_id, **{field: value})
    assert answer.status == 200
    assert answer.data == before | {field: value, "updated_at": answer.data["updated_at"]}
    assert answer.data["updated_at"] >= before["updated_at"]
    assert acme.call("GET", f"{WEBHOOKS}/{webhook_id}").data == answer.data


def test_several_fields_are_changed_at_once(on_fakes: ApiOnFakes, acme: AccountClient) -> None:
    webhook_id = registered_id(acme, headers={"X-Team": "a"})
    secrets = stored(on_fakes, webhook_id)[1]
    changes = {"events": ["*"], "description": "new", "headers": {"X-Region": "eu"}}
    answer = change(acme, webhook_id, **changes)
    assert answer.data["events"] == ["*"]
    assert answer.data["header_names"] == ["X-Region"]
    webhook, kept = stored(on_fakes, webhook_id)
    assert (webhook.description, webhook.headers) == ("new", {"X-Region": "eu"})
    assert kept == secrets


@pytest.mark.parametrize("field", ["description", "headers"])
@pytest.mark.parametrize("form", ["null", "empty"])
def test_a_description_and_headers_are_cleared(acme: AccountClient, field: str, form: str) -> None:
    webhook_id = registered_id(acme, description="before", headers={"X-Team": "a"})
    empty = {"description": "", "headers": {}}[field]
    answer = change(acme, webhook_id, **{field: None if form == "null" else empty})
    assert answer.status == 200
    shown = {"description": "description", "headers": "header_names"}
    assert shown.pop(field) not in answer.data
    [kept] = shown.values()
    assert kept in answer.data


def test_switching_on_again_forgets_why_it_was_off(
    on_fakes: ApiOnFakes, acme: AccountClient
) -> None:
    webhook_id = registered_id(acme)
    FakeHealthStore(on_fakes.webhooks).disable("acme", webhook_id, "gone", 1)
    answer = change(acme, webhook_id, active=True)
    assert answer.data["active"] is True
    assert "disabled_reason" not in answer.data


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ["body"]),
        ({"url": None}, ["url"]),
        ({"events": None}, ["events"]),
        ({"active": None}, ["active"]),
        ({"active": "true"}, ["active"]),
        ({"active": 1}, ["active"]),
        ({"url": "http://hooks.acme.com/"}, ["url"]),
        ({"url": "https://127.0.0.1/"}, ["url"]),
        ({"events": []}, ["events"]),
        ({"events": ["email.sent", "email.sent"]}, ["events[1]"]),
        ({"description": "two\nlines"}, ["description"]),
        ({"headers": []}, ["headers"]),
        ({"headers": {"X-Team": 1}}, ["headers.X-Team"]),
        ({"headers": {"X-Team": None}}, ["headers.X-Team"]),
        ({"headers": {"Authorization": "Bearer x"}}, ["headers.Authorization"]),
        (
            {"url": "x", "events": ["no"], "headers": {"Host": "x"}},
            ["url", "events[0]", "headers.Host"],
        ),
        ({"secret": "your_webhook_secret"}, ["secret"]),
        ({"id": ABSENT}, ["id"]),
        ({"created_at": "x"}, ["created_at"]),
        ({"disabled_reason": None}, ["disabled_reason"]),
        ({"header_names": ["X-Team"]}, ["header_names"]),
    ],
)
def test_a_change_that_breaks_a_rule_changes_nothing(
    on_fakes: ApiOnFakes, acme: AccountClient, changes: dict[str, Any], fields: list[str]
) -> None:
    webhook_id = registered_id(acme)
    before = stored(on_fakes, webhook_id)
    answer = change(acme, webhook_id, **changes)
    assert answer.status == 422, answer.text
    assert answer.fields == fields
    assert stored(on_fakes, webhook_id) == before


def test_a_new_host_must_not_resolve_to_a_private_address(on_fakes: ApiOnFakes) -> None:
    webhook_id = registered_id(on_fakes.acme)
    on_fakes.addresses["inside.acme.com"] = ["10.0.0.1"]
    answer = change(on_fakes.acme, webhook_id, url="https://inside.acme.com/")
    assert (answer.status, answer.fields) == (422, ["url"])
    on_fakes.looked_up.clear()
    assert change(on_fakes.acme, webhook_id, active=False).status == 200
    assert on_fakes.looked_up == []


class TestHeaders:
    def test_they_are_kept_and_only_their_names_are_shown(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        headers = {"X-Team": "canary-1", "X-Api-Key": "canary 2"}
        answers = [register(acme, headers=headers)]
        webhook_id = answers[0].data["id"]
        answers += [
            acme.call("GET", f"{WEBHOOKS}/{webhook_id}"),
            change(acme, webhook_id, active=False),
        ]
        for answer in answers:
            assert answer.data["header_names"] == ["X-Team", "X-Api-Key"]
        assert acme.call("GET").data[0]["header_names"] == ["X-Team", "X-Api-Key"]
        assert "canary" not in "".join(answer.text for answer in answers) + acme.call("GET").text
        assert "canary" not in repr(on_fakes.telemetry.lines)
        assert stored(on_fakes, webhook_id)[0].headers == headers

    def test_a_webhook_without_any_says_nothing_of_them(self, acme: AccountClient) -> None:
        assert "header_names" not in register(acme, headers={}).data
        assert "header_names" not in register(acme, headers=None).data

    def test_a_refused_value_is_not_repeated(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        answer = register(acme, headers={"X-Team": "canary\r\nX-Evil: 1", "Cookie": "canary"})
        assert answer.fields == ["headers.X-Team", "headers.Cookie"]
        assert "canary" not in answer.text + repr(on_fakes.telemetry.lines)
        assert not on_fakes.webhooks.webhooks

    @pytest.mark.parametrize("name", ["\ud800", "x" * 3000, "\n", ""])
    def test_an_odd_name_is_refused_like_any_other(self, acme: AccountClient, name: str) -> None:
        answer = register(acme, headers={name: "x"})
        assert answer.status == 422
        assert len(answer.text) < 1000


class TestRotation:
    def test_the_new_secret_is_shown_this_once_and_the_old_one_lives_on_for_a_day(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        registered = register(acme).data
        answer = rotate(acme, registered["id"], json={})
        assert answer.status == 200
        assert list(answer.data) == ["id", "secret", "previous_secret_expires_at"]
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", answer.data["secret"])
        webhook, secrets = stored(on_fakes, registered["id"])
        assert (secrets.current, secrets.previous) == (answer.data["secret"], registered["secret"])
        assert secrets.previous_expires_at_ms == webhook.updated_at_ms + DAY_MS
        shown = acme.call("GET", f"{WEBHOOKS}/{registered['id']}").text
        assert "whsec_" not in shown + repr(on_fakes.telemetry.lines)

    def test_a_body_is_not_needed(self, acme: AccountClient) -> None:
        assert rotate(acme, registered_id(acme)).status == 200

    def test_a_secret_of_the_callers_own(self, on_fakes: ApiOnFakes, acme: AccountClient) -> None:
        webhook_id = registered_id(acme)
        answer = rotate(acme, webhook_id, json={"secret": "your_webhook_secret"})
        assert answer.data["secret"] == "your_webhook_secret"
        assert stored(on_fakes, webhook_id)[1].current == "your_webhook_secret"

    @pytest.mark.parametrize("seconds", [1, 604_800])
    def test_an_overlap_of_ones_choice(
        self, on_fakes: ApiOnFakes, acme: AccountClient, seconds: int
    ) -> None:
        webhook_id = registered_id(acme)
        assert rotate(acme, webhook_id, json={"overlap_seconds": seconds}).status == 200
        webhook, secrets = stored(on_fakes, webhook_id)
        assert secrets.previous_expires_at_ms == webhook.updated_at_ms + seconds * 1000

    def test_no_overlap_ends_the_old_secret_at_once(
        self, on_fakes: ApiOnFakes, acme: AccountClient
    ) -> None:
        webhook_id = registered_id(acme)
        answer = rotate(acme, webhook_id, json={"overlap_seconds": 0})
        assert "previous_secret_expires_at" not in answer.data
        assert stored(on_fakes, webhook_id)[1] == Secrets(answer.data["secret"])

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({"overlap_seconds": -1}, ["overlap_seconds"]),
            ({"overlap_seconds": 604_801}, ["overlap_seconds"]),
            ({"overlap_seconds": 1.5}, ["overlap_seconds"]),
            ({"overlap_seconds": "60"}, ["overlap_seconds"]),
            ({"overlap_seconds": True}, ["overlap_seconds"]),
            ({"overlap_seconds": None}, ["overlap_seconds"]),
            ({"secret": "too short"}, ["secret"]),
            ({"secret": "a line\nand another one"}, ["secret"]),
            ({"seconds": 1}, ["seconds"]),
        ],
    )
    def test_a_broken_rule_leaves_the_secret(
        self, on_fakes: ApiOnFakes, acme: AccountClient, body: dict[str, Any], fields: list[str]
    ) -> None:
        webhook_id = registered_id(acme)
        before = stored(on_fakes, webhook_id)
        answer = rotate(acme, webhook_id, json=body)
        assert (answer.status, answer.fields) == (422, fields)
        assert stored(on_fakes, webhook_id) == before

    def test_a_body_that_is_no_object_is_malformed(self, acme: AccountClient) -> None:
        assert rotate(acme, registered_id(acme), body="[]").status == 400


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [("PATCH", "", {"active": False}), ("POST", "/rotate-secret", {})],
)
def test_foreign_absent_and_malformed_ids_are_answered_alike(
    on_fakes: ApiOnFakes, method: str, suffix: str, body: dict[str, Any]
) -> None:
    foreign = registered_id(on_fakes.globex)
    before = dict(on_fakes.webhooks.webhooks)
    answers = set()
    for webhook_id in (foreign, ABSENT, "quota", "x", foreign.upper(), "x" * 3000):
        answer = on_fakes.acme.call(method, f"{WEBHOOKS}/{webhook_id}{suffix}", json=body)
        answers.add((answer.status, answer.text, json.dumps(answer.headers)))
    [(status, text, _)] = answers
    assert status == 404
    assert json.loads(text)["error"]["code"] == "webhook_not_found"
    assert on_fakes.webhooks.webhooks == before
