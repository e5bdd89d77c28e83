"""Commands of pages that have no suite of their own; each of them is run somewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from e2e.documentation import run_commands
from support.stack import ROOT

if TYPE_CHECKING:
    from support.stack import Account, Stack


def test_an_erasure_is_asked_for_and_followed(stack: Stack, account: Account) -> None:
    begun = account.call("DELETE", "/api/v1/recipients/anna%40example.com").data
    # The page's first command requests an erasure of the same address again. The answer is the
    # running erasure, or another if its first pass is over, which in an empty account is soon.
    asked, followed, whole = run_commands("privacy.md", stack, account, ERASURE=begun["id"])
    assert asked["data"].keys() == begun.keys()
    assert whole["data"]["id"] != begun["id"]
    assert followed["data"]["id"] == begun["id"]


def test_a_key_for_the_dashboard_is_made(stack: Stack, account: Account) -> None:
    [made] = run_commands("dashboard.md", stack, account)
    assert (made["data"]["name"], made["data"]["scopes"]) == ("dashboard", ["read", "write"])


def test_every_page_with_commands_is_run_by_some_test() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for page in (ROOT / "docs").rglob("*.md"):
        if re.search(r"^```sh$", page.read_text("utf-8"), re.MULTILINE):
            assert f'"{page.name}"' in tests, page.name
