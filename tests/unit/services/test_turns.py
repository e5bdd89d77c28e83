"""Owners take turns, even if one of them has far more."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st

from webhooks.services.turns import in_turns

OWNED = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers()))
"""Items of three accounts, each with three webhooks."""


def test_accounts_take_turns_and_within_one_its_webhooks() -> None:
    items = ["ax1", "ax2", "ax3", "ay1", "ay2", "bx1"]
    ordered = in_turns(items, itemgetter(0), itemgetter(1))
    assert ordered == ["ax1", "bx1", "ay1", "ax2", "ay2", "ax3"]


@given(OWNED)
def test_nothing_is_lost_and_what_one_webhook_has_stays_in_its_order(
    items: list[tuple[str, str, int]],
) -> None:
    ordered = in_turns(items, itemgetter(0), itemgetter(1))
    assert Counter(ordered) == Counter(items)
    for account, webhook, _ in items:
        mine = [one for one in items if one[:2] == (account, webhook)]
        assert [one for one in ordered if one[:2] == (account, webhook)] == mine


@given(OWNED)
def test_no_owner_has_a_second_turn_before_every_first(
    items: list[tuple[str, str, int]],
) -> None:
    ordered = in_turns(items, itemgetter(0), itemgetter(1))
    accounts = {account for account, _, _ in items}
    assert {account for account, _, _ in ordered[: len(accounts)]} == accounts
    for account in accounts:
        mine = [webhook for owner, webhook, _ in ordered if owner == account]
        assert set(mine[: len(set(mine))]) == set(mine)
