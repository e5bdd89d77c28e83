"""The list of an account's webhooks: its order, its pages and its cursors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.api.registering import register, registered_id

if TYPE_CHECKING:
    from support.http_api import AccountClient, ApiOnFakes


def test_the_list_is_newest_first_and_ends_without_a_cursor(acme: AccountClient) -> None:
    ids = [registered_id(acme) for _ in range(3)]
    answer = acme.call("GET")
    assert answer.status == 200
    assert [webhook["id"] for webhook in answer.data] == ids[::-1]
    assert answer.json["pagination"] == {}


def test_an_account_without_webhooks_has_an_empty_list(acme: AccountClient) -> None:
    assert acme.call("GET").json == {"success": True, "data": [], "pagination": {}}


def test_pages_follow_each_other_without_gap_or_repeat(acme: AccountClient) -> None:
    ids = [registered_id(acme) for _ in range(5)]
    seen: list[str] = []
    query = {"limit": "2"}
    sizes = []
    while True:
        answer = acme.call("GET", query=query)
        seen += [webhook["id"] for webhook in answer.data]
        sizes.append(len(answer.data))
        if "next_cursor" not in answer.json["pagination"]:
            break
        query["cursor"] = answer.json["pagination"]["next_cursor"]
    assert seen == ids[::-1]
    assert sizes == [2, 2, 1]


def test_a_page_is_of_20_unless_asked_otherwise(acme: AccountClient) -> None:
    for _ in range(21):
        register(acme)
    assert len(acme.call("GET").data) == 20
    assert len(acme.call("GET", query="limit=100").data) == 21


@pytest.mark.parametrize(
    "limit",
    [
        *("0", "101", "-1", "x", "", "1.5", "1&limit=2", "1e1", "9" * 5000, "0x1", "1%00", "true"),
        # pydantic reads all of these as a number.
        *("%2B1", "+1", "%201", "1%20", "1%0A", "1_0", "1.0", "%EF%BC%91", "%D9%A1", "-0"),
    ],
)
def test_a_limit_is_a_whole_number_from_1_to_100(acme: AccountClient, limit: str) -> None:
    answer = acme.call("GET", query=f"limit={limit}")
    assert answer.status == 422
    assert answer.fields == ["limit"]


def test_a_cursor_is_of_no_use_to_another_account(on_fakes: ApiOnFakes) -> None:
    for client in (on_fakes.acme, on_fakes.globex):
        for _ in range(2):
            registered_id(client)
    cursor = on_fakes.acme.call("GET", query="limit=1").json["pagination"]["next_cursor"]
    answer = on_fakes.globex.call("GET", query={"cursor": cursor})
    assert answer.status == 422
    assert answer.fields == ["cursor"]
    assert on_fakes.acme.call("GET", query={"cursor": cursor}).status == 200


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "A" * 4000, "é", "../", "A" * 43, "null"])
def test_a_made_up_cursor_is_refused(acme: AccountClient, cursor: str) -> None:
    answer = acme.call("GET", query={"cursor": cursor})
    assert answer.status == 422
    assert answer.fields == ["cursor"]


def test_lists_hold_the_accounts_own_webhooks_only(on_fakes: ApiOnFakes) -> None:
    own = registered_id(on_fakes.acme)
    registered_id(on_fakes.globex)
    assert [webhook["id"] for webhook in on_fakes.acme.call("GET").data] == [own]
