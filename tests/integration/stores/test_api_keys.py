"""The contract of the API key store, held against the fake and against DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support import samples
from webhooks.adapters.dynamodb.api_keys import api_key_item, read_api_key
from webhooks.domain.api_key import ApiKey, Scope
from webhooks.ports import Page

if TYPE_CHECKING:
    from support.stores import Stores


def test_an_api_key_is_found_by_its_hash(stores: Stores) -> None:
    key = ApiKey("h" * 64, "key_1", "acc_1", "first", "90ab", samples.NOW_MS)
    revoked = replace(key, key_hash="r" * 64, id="key_2", revoked_at_ms=samples.NOW_MS)
    stores.api_keys.create(key)
    stores.api_keys.create(revoked)
    assert stores.api_keys.get("h" * 64) == key
    assert stores.api_keys.get("r" * 64) == revoked
    assert stores.api_keys.get("x" * 64) is None


def test_an_api_key_that_is_written_again_stays_as_it_is(stores: Stores) -> None:
    """The SDK repeats a write whose answer was lost, and so does a repeated call."""
    key = _key(1)
    stores.api_keys.create(key)
    stores.api_keys.create(_key(2))
    assert stores.api_keys.revoke(key.key_hash, samples.NOW_MS)
    stores.api_keys.create(key)
    assert stores.api_keys.get(key.key_hash) == replace(key, revoked_at_ms=samples.NOW_MS)


def _key(number: int, **changes: Any) -> ApiKey:
    values: dict[str, Any] = {
        "key_hash": f"{number:064x}",
        "id": f"key_{number:016x}",
        "account_id": "acc_1",
        "name": f"key {number}",
        "last_four": "90ab",
        "created_at_ms": samples.NOW_MS + number,
        **changes,
    }
    return ApiKey(**values)


def test_an_api_keys_scopes_and_last_use_are_kept(stores: Stores) -> None:
    key = _key(1, scopes=frozenset({Scope.READ, Scope.PUBLISH}))
    stores.api_keys.create(key)
    stores.api_keys.touch(key.key_hash, samples.NOW_MS)
    used = replace(key, last_used_at_ms=samples.NOW_MS)
    assert stores.api_keys.get(key.key_hash) == used
    assert stores.api_keys.page("acc_1", 10).items == [used]


def test_an_api_key_is_found_by_its_id_in_its_own_account_only(stores: Stores) -> None:
    key, foreign = _key(1), _key(2, account_id="acc_2")
    stores.api_keys.create(key)
    stores.api_keys.create(foreign)
    assert stores.api_keys.find("acc_1", key.id) == key
    assert stores.api_keys.find("acc_2", key.id) is None
    assert stores.api_keys.find("acc_1", "key_0") is None


def test_api_keys_are_paged_newest_first_without_a_gap(stores: Stores) -> None:
    for number in (3, 1, 5, 2, 4):
        stores.api_keys.create(_key(number))
    stores.api_keys.create(_key(6, account_id="acc_2"))
    first = stores.api_keys.page("acc_1", 2)
    second = stores.api_keys.page("acc_1", 2, first.next)
    third = stores.api_keys.page("acc_1", 2, second.next)
    assert [*first.items, *second.items, *third.items] == [
        _key(number) for number in (5, 4, 3, 2, 1)
    ]
    assert third.next is None
    assert stores.api_keys.page("acc_3", 2) == Page([])


def test_an_api_key_is_revoked_once_and_stays(stores: Stores) -> None:
    key = _key(1)
    stores.api_keys.create(key)
    assert stores.api_keys.revoke(key.key_hash, samples.NOW_MS)
    assert not stores.api_keys.revoke(key.key_hash, samples.NOW_MS + 1)
    assert stores.api_keys.get(key.key_hash) == replace(key, revoked_at_ms=samples.NOW_MS)


def test_an_absent_api_key_is_neither_revoked_nor_made(stores: Stores) -> None:
    assert not stores.api_keys.revoke("0" * 64, samples.NOW_MS)
    assert stores.api_keys.get("0" * 64) is None


def test_an_api_key_is_revoked_only_while_the_other_one_is_active(stores: Stores) -> None:
    key, other = _key(1), _key(2)
    stores.api_keys.create(key)
    stores.api_keys.create(other)
    assert stores.api_keys.revoke(key.key_hash, samples.NOW_MS, while_active=other.key_hash)
    assert not stores.api_keys.revoke(other.key_hash, samples.NOW_MS, while_active=key.key_hash)
    assert not stores.api_keys.revoke(other.key_hash, samples.NOW_MS, while_active="0" * 64)
    assert stores.api_keys.get(other.key_hash) == other


def test_an_api_key_from_before_there_were_scopes_has_them_all() -> None:
    item = api_key_item(_key(1))
    del item["scopes"]
    assert read_api_key(item).scopes == {Scope.READ, Scope.WRITE, Scope.PUBLISH}
