"""The HTTP API from outside: the contract's own calls, every error's envelope, two accounts."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid4

import pytest

from support.stack import ROOT, run_module

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.stack import Account, Answer, AnyStack, Stack

WEBHOOKS = "/api/v1/webhooks"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Call(NamedTuple):
    """A call as the documentation writes it for curl."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str | None


def documented_calls(heading: str, **replacements: str) -> list[Call]:
    """Read the calls under a heading of the contract, with their placeholders replaced."""
    contract = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    block = contract.partition(f"#### {heading}\n")[2].split("```")[1]
    for placeholder, value in replacements.items():
        block = block.replace(placeholder, value)
    words = shlex.split(block.replace("\\\n", " "))
    starts = [at for at, word in enumerate(words) if word == "curl"] + [len(words)]
    return [read_curl(words[at:end]) for at, end in itertools.pairwise(starts)]


def read_curl(words: list[str]) -> Call:
    options: dict[str, list[str]] = {"-X": [], "-H": [], "-d": []}
    urls = []
    rest = iter(words[1:])
    for word in rest:
        if word in options:
            options[word].append(next(rest))
        else:
            urls.append(urlsplit(word))
    [url] = urls
    assert url.netloc == "api.sendcomms.com"
    headers = dict(header.split(": ", 1) for header in options["-H"])
    target = url._replace(scheme="", netloc="").geturl()
    return Call(options["-X"][0], target, headers, "".join(options["-d"]) or None)


def make(stack: AnyStack, documented: Call) -> Answer:
    return stack.call(
        documented.method, documented.target, headers=documented.headers, body=documented.body
    )


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """Check the envelope of an error (contract 2.2)."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert set(answer.json) == {"success", "error"}
    assert answer.json["success"] is False
    assert answer.error["code"] == code
    assert answer.error["message"].endswith(".")


@pytest.mark.any_stack
class TestTheDocumentedCalls:
    def test_register(self, stack: AnyStack, account: Account, url: str) -> None:
        [call] = documented_calls(
            "Register a webhook endpoint",
            **{"YOUR_API_KEY": account.key, "https://your-server.com/webhooks/email": url},
        )
        assert (call.method, call.target) == ("POST", WEBHOOKS)
        answer = make(stack, call)
        asked = json.loads(call.body or "")
        assert answer.status == 201
        assert answer.headers["X-Request-Id"]
        assert answer.json["success"] is True
        assert list(answer.data) == ["id", "url", "events", "secret", "active", "created_at"]
        assert UUID(answer.data["id"])
        assert {name: answer.data[name] for name in asked} == asked
        assert answer.data["active"] is True
        assert TIME.fullmatch(answer.data["created_at"])

    def test_list_and_delete(self, stack: AnyStack, account: Account, url: str) -> None:
        kept, deleted = account.register(url), account.register(url)
        listing, deleting = documented_calls(
            "Managing webhooks", YOUR_API_KEY=account.key, WEBHOOK_ID=deleted["id"]
        )
        listed = make(stack, listing)
        assert listed.status == 200
        assert [webhook["id"] for webhook in listed.data] == [deleted["id"], kept["id"]]
        answer = make(stack, deleting)
        assert answer.status == 200
        assert answer.json == {"success": True, "data": {"id": deleted["id"], "deleted": True}}
        assert [webhook["id"] for webhook in make(stack, listing).data] == [kept["id"]]


class TestAWebhook:
    @pytest.mark.any_stack
    def test_a_generated_secret_is_shown_only_once(self, account: Account, url: str) -> None:
        registered = account.register(url, ["email.sent"])
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", registered["secret"])
        shown = account.call("GET", f"{WEBHOOKS}/{registered['id']}")
        listed = account.call("GET")
        assert shown.data["events"] == ["email.sent"]
        for answer in (shown, listed):
            assert answer.status == 200
            assert "secret" not in answer.text
            assert registered["secret"] not in answer.text

    @pytest.mark.any_stack
    def test_it_is_deleted_by_its_path_too_and_then_gone(self, account: Account, url: str) -> None:
        path = f"{WEBHOOKS}/{account.register(url)['id']}"
        assert account.call("DELETE", path).data["deleted"] is True
        assert_refused(account.call("DELETE", path), 404, "webhook_not_found")
        assert_refused(account.call("GET", path), 404, "webhook_not_found")

    @pytest.mark.any_stack
    def test_the_list_goes_on_page_by_page_newest_first(self, account: Account, url: str) -> None:
        registered = [account.register(url)["id"] for _ in range(5)]
        pages = []
        query = {"limit": "2"}
        while True:
            answer = account.call("GET", f"{WEBHOOKS}?{urlencode(query)}")
            pages.append([webhook["id"] for webhook in answer.data])
            cursor = answer.json.get("pagination", {}).get("next_cursor")
            if cursor is None:
                break
            query["cursor"] = cursor
        assert [len(page) for page in pages] == [2, 2, 1]
        assert list(itertools.chain(*pages)) == registered[::-1]

    def test_an_account_has_at_most_twenty_at_a_host(self, account: Account, url: str) -> None:
        for _ in range(20):
            webhook = account.register(url)
        refused = account.call("POST", json={"url": url, "events": ["*"]})
        assert_refused(refused, 409, "host_limit_reached")
        account.register(url.replace("127.0.0.1", "localhost"))
        account.call("DELETE", f"{WEBHOOKS}/{webhook['id']}")
        account.register(url)


class TestTwoAccounts:
    @pytest.mark.any_stack
    def test_neither_sees_or_deletes_the_others_webhooks(
        self, account: Account, other_account: Account, url: str
    ) -> None:
        webhook = account.register(url)
        foreign = f"{WEBHOOKS}/{webhook['id']}"
        absent = f"{WEBHOOKS}/{uuid4()}"
        by_query = f"{WEBHOOKS}?id={webhook['id']}"
        assert other_account.call("GET").data == []
        for method, target in (("GET", foreign), ("DELETE", foreign), ("DELETE", by_query)):
            refused = other_account.call(method, target)
            assert_refused(refused, 404, "webhook_not_found")
            assert refused.text == other_account.call("GET", absent).text
        assert account.show(webhook["id"])["active"] is True

    @pytest.mark.any_stack
    def test_a_cursor_is_of_no_use_to_the_other(
        self, account: Account, other_account: Account, url: str
    ) -> None:
        for _ in range(2):
            account.register(url)
        cursor = account.call("GET", f"{WEBHOOKS}?limit=1").json["pagination"]["next_cursor"]
        query = urlencode({"limit": "1", "cursor": cursor})
        assert_refused(other_account.call("GET", f"{WEBHOOKS}?{query}"), 422, "validation_failed")

    def test_a_key_is_made_for_an_account_on_the_command_line(self, stack: Stack) -> None:
        checkout = stack.outputs_file.parents[1]
        with run_module(
            "ops.api_key", "--account", f"acc_{uuid4().hex}", directory=checkout
        ) as command:
            assert command.wait() == 0, command.errors
            [key] = command.lines
        account = ["--account", f"acc_{uuid4().hex}", "--json"]
        with run_module("ops.api_key", *account, directory=checkout) as command:
            assert command.wait() == 0, command.errors
            made = json.loads(command.output)
        assert (made["account_id"], made["key"][:8]) == (account[1], "sc_live_")
        answer = stack.call("GET", WEBHOOKS, headers={"Authorization": f"Bearer {key}"})
        assert (answer.status, answer.data) == (200, [])


class TestErrors:
    @pytest.mark.any_stack
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer YOUR_API_KEY"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer sc_live_{'0' * 88}"},
            {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_without_a_key_or_with_a_wrong_one(
        self, method: str, headers: dict[str, str], stack: AnyStack
    ) -> None:
        answer = stack.call(method, WEBHOOKS, headers=headers)
        assert_refused(answer, 401, "unauthorized")

    @pytest.mark.any_stack
    @pytest.mark.parametrize("body", ["", "{", "[]", '"text"', '{"url": NaN}', b"\xff\xfe", "null"])
    def test_malformed_json(self, body: str | bytes, account: Account) -> None:
        headers = {"Content-Type": "application/json"}
        answer = account.call("POST", headers=headers, body=body)
        assert_refused(answer, 400, "malformed_json")

    @pytest.mark.any_stack
    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"url": "http://example.com/hook"}, "url"),
            ({"url": "https://10.0.0.1/hook"}, "url"),
            ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
            ({"url": "https://user@example.com/hook"}, "url"),
            ({"url": 7}, "url"),
            ({"url": None}, "url"),
            ({"events": ["email.sent", "email.lost"]}, "events[1]"),
            ({"events": ["email.sent", "email.sent"]}, "events[1]"),
            ({"events": []}, "events"),
            ({"events": "*"}, "events"),
            ({"events": [1]}, "events[0]"),
            ({"secret": "too short"}, "secret"),
            ({"secret": "with a line\nbreak in it"}, "secret"),
            ({"active": False}, "active"),
            ({"surprise": 1}, "surprise"),
        ],
    )
    def test_a_registration_that_breaks_a_rule(
        self, changes: dict[str, Any], field: str, account: Account, url: str
    ) -> None:
        answer = account.call("POST", json={"url": url, "events": ["*"], **changes})
        assert_refused(answer, 422, "validation_failed")
        assert [detail["field"] for detail in answer.error["details"]] == [field]
        assert answer.error["details"][0]["message"]
        assert account.call("GET").data == []

    @pytest.mark.any_stack
    def test_an_oversized_body(self, account: Account, url: str) -> None:
        answer = account.call("POST", json={"url": url, "events": ["*"], "pad": "x" * 20_000})
        assert_refused(answer, 413, "body_too_large")

    @pytest.mark.any_stack
    def test_another_media_type(self, account: Account) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = account.call("POST", headers=headers, body="url=https%3A%2F%2Fexample.com")
        assert_refused(answer, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "path", ["/", "/api/v1/nothing", f"{WEBHOOKS}/a/b", "/%2e%2e/webhooks"]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_an_unknown_route(self, method: str, path: str, account: Account) -> None:
        assert_refused(account.call(method, path), 404, "not_found")

    @pytest.mark.any_stack
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", WEBHOOKS),
            ("PATCH", WEBHOOKS),
            ("POST", f"{WEBHOOKS}/0199a5b0-0000-7000-8000-000000000000"),
        ],
    )
    def test_a_wrong_method(self, method: str, path: str, account: Account) -> None:
        answer = account.call(method, path)
        assert_refused(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["Allow"]

    @pytest.mark.any_stack
    @pytest.mark.parametrize(
        ("field", "value"),
        [("limit", "0"), ("limit", "101"), ("limit", "x"), ("cursor", "x"), ("color", "red")],
    )
    def test_a_query_that_is_not_understood(self, field: str, value: str, account: Account) -> None:
        answer = account.call("GET", f"{WEBHOOKS}?{field}={value}")
        assert_refused(answer, 422, "validation_failed")
        assert [detail["field"] for detail in answer.error["details"]] == [field]

    @pytest.mark.any_stack
    @pytest.mark.parametrize("webhook_id", ["x", "00000000-0000-0000-0000-000000000000", "a%20b"])
    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_an_id_that_nothing_has(self, method: str, webhook_id: str, account: Account) -> None:
        answer = account.call(method, f"{WEBHOOKS}/{webhook_id}")
        assert_refused(answer, 404, "webhook_not_found")

    @pytest.mark.any_stack
    def test_deleting_without_an_id_deletes_nothing(self, account: Account, url: str) -> None:
        webhook = account.register(url)
        assert_refused(account.call("DELETE"), 422, "validation_failed")
        assert account.show(webhook["id"])["id"] == webhook["id"]
