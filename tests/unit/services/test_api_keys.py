"""API keys: the grants that a key may pass on, its revocation, and the record of its last use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.fakes import FakeApiKeyStore
from webhooks.domain.api_key import ALL_SCOPES, Scope
from webhooks.domain.errors import (
    InvalidInputError,
    LastApiKeyError,
    ScopeExceededError,
    UnavailableError,
)
from webhooks.services.api_keys import ApiKeyService

if TYPE_CHECKING:
    from webhooks.domain.api_key import ApiKey

HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_766_359_512_006_123_456


class Clock:
    def __init__(self) -> None:
        self.now_ns = FIRST_NS

    def __call__(self) -> int:
        """Each look is a millisecond later than the one before."""
        self.now_ns += 1_000_000
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeApiKeyStore:
    return FakeApiKeyStore()


@pytest.fixture
def api_key_service(store: FakeApiKeyStore, clock: Clock) -> ApiKeyService:
    return ApiKeyService(store, cursor_key=b"k" * 32, now_ns=clock)


def active(store: FakeApiKeyStore) -> list[str]:
    return [key.name for key in store.keys.values() if key.revoked_at_ms is None]


def test_a_key_passes_on_its_own_scopes_where_none_are_named(
    api_key_service: ApiKeyService,
) -> None:
    narrow = api_key_service.issue("acme", "ci", {Scope.WRITE, Scope.READ}).key
    made = api_key_service.create(narrow, "another").key
    assert (made.account_id, made.scopes) == ("acme", narrow.scopes)


def test_a_key_passes_on_no_more_than_it_has(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    narrow = api_key_service.issue("acme", "ci", {Scope.WRITE}).key
    with pytest.raises(ScopeExceededError):
        api_key_service.create(narrow, "more", ["write", "publish"])
    assert api_key_service.create(narrow, "as much", ["write"]).key.scopes == {Scope.WRITE}
    assert active(store) == ["ci", "as much"]


@pytest.mark.parametrize(
    ("name", "scopes", "field"),
    [
        ("", None, "name"),
        (" ", None, "name"),
        ("x" * 65, None, "name"),
        ("two\nlines", None, "name"),
        ("a", [], "scopes"),
        ("a", ["read", "admin"], "scopes[1]"),
        ("a", ["read", "write", "read"], "scopes[2]"),
    ],
)
def test_a_key_that_breaks_a_rule_is_not_made(
    store: FakeApiKeyStore,
    api_key_service: ApiKeyService,
    name: str,
    scopes: list[str] | None,
    field: str,
) -> None:
    by = api_key_service.issue("acme", "first").key
    with pytest.raises(InvalidInputError) as caught:
        api_key_service.create(by, name, scopes)
    assert caught.value.field == field
    assert active(store) == ["first"]


def test_the_list_is_newest_first_and_goes_on_where_it_stopped(
    api_key_service: ApiKeyService,
) -> None:
    for name in ("first", "second", "third"):
        api_key_service.issue("acme", name)
    api_key_service.issue("globex", "foreign")
    page = api_key_service.page("acme", 2)
    assert page.next is not None
    rest = api_key_service.page("acme", 2, page.next)
    assert [key.name for key in (*page.items, *rest.items)] == ["third", "second", "first"]
    assert rest.next is None
    with pytest.raises(InvalidInputError):
        api_key_service.page("globex", 2, page.next)


def test_a_revoked_key_stops_and_stays_in_the_list(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    by = api_key_service.issue("acme", "kept").key
    text, key = api_key_service.issue("acme", "lost")
    revoked = api_key_service.revoke(key.id, by=by)
    assert revoked is not None
    assert revoked.revoked_at_ms is not None
    assert api_key_service.authenticate(f"Bearer {text}") is None
    assert revoked in api_key_service.page("acme", 10).items
    assert api_key_service.revoke(key.id, by=by) == revoked


def test_a_foreign_or_absent_key_is_not_revoked(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    by = api_key_service.issue("acme", "mine").key
    foreign = api_key_service.issue("globex", "foreign").key
    assert api_key_service.revoke(foreign.id, by=by) is None
    assert api_key_service.revoke("key_0", by=by) is None
    assert active(store) == ["mine", "foreign"]


def test_the_last_key_that_may_write_is_protected(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    by = api_key_service.issue("acme", "last").key
    api_key_service.issue("acme", "reader", {Scope.READ, Scope.PUBLISH})
    revoked = api_key_service.issue("acme", "revoked").key
    api_key_service.revoke(revoked.id, by=by)
    with pytest.raises(LastApiKeyError):
        api_key_service.revoke(by.id, by=by)
    assert active(store) == ["last", "reader"]


def test_a_key_may_revoke_itself_while_another_may_do_as_much(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    for number in range(150):
        api_key_service.issue("acme", f"reader {number}", {Scope.READ})
    by = api_key_service.issue("acme", "by").key
    api_key_service.issue("acme", "other")
    api_key_service.revoke(by.id, by=by)
    assert "by" not in active(store)


def test_only_the_newest_keys_are_looked_through_for_another_that_may_do_as_much(
    store: FakeApiKeyStore, api_key_service: ApiKeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.services.api_keys._MOST_WITNESS_PAGES", 2)
    old = api_key_service.issue("acme", "old").key
    for number in range(200):
        api_key_service.issue("acme", f"reader {number}", {Scope.READ})
    by = api_key_service.issue("acme", "by").key
    with pytest.raises(LastApiKeyError):
        api_key_service.revoke(by.id, by=by)
    # The caller's own key is checked first.
    api_key_service.revoke(by.id, by=old)
    assert "by" not in active(store)


def test_a_key_with_fewer_scopes_cannot_revoke_the_last_with_more(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    last = api_key_service.issue("acme", "last").key
    writer = api_key_service.issue("acme", "writer", {Scope.WRITE}).key
    with pytest.raises(LastApiKeyError):
        api_key_service.revoke(last.id, by=writer)
    assert "last" in active(store)


def test_a_key_that_may_not_write_is_revoked_without_ado(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    by = api_key_service.issue("acme", "by").key
    reader = api_key_service.issue("acme", "reader", {Scope.READ}).key
    api_key_service.revoke(reader.id, by=by)
    assert active(store) == ["by"]


class Racing(FakeApiKeyStore):
    """Revokes another key just before the first revocation is written."""

    victim: ApiKey | None = None

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        victim, self.victim = self.victim, None
        if victim is not None:
            self.keys[victim.key_hash] = replace(victim, revoked_at_ms=now_ms)
        return super().revoke(key_hash, now_ms, while_active=while_active)


def test_two_keys_that_revoke_each_other_leave_one(clock: Clock) -> None:
    store = Racing()
    api_key_service = ApiKeyService(store, now_ns=clock)
    one = api_key_service.issue("acme", "one").key
    two = api_key_service.issue("acme", "two").key
    store.victim = one
    with pytest.raises(LastApiKeyError):
        api_key_service.revoke(two.id, by=one)
    assert active(store) == ["two"]


def test_a_key_revoked_by_another_call_meanwhile_is_revoked_once(clock: Clock) -> None:
    store = Racing()
    api_key_service = ApiKeyService(store, now_ns=clock)
    by = api_key_service.issue("acme", "by").key
    victim = api_key_service.issue("acme", "victim").key
    store.victim = victim
    revoked = api_key_service.revoke(victim.id, by=by)
    assert revoked == store.keys[victim.key_hash]


def test_another_key_vouches_where_the_callers_own_is_revoked_meanwhile(clock: Clock) -> None:
    store = Racing()
    api_key_service = ApiKeyService(store, now_ns=clock)
    by = api_key_service.issue("acme", "by").key
    key = api_key_service.issue("acme", "key").key
    api_key_service.issue("acme", "third")
    store.victim = by
    assert api_key_service.revoke(key.id, by=by) == store.keys[key.key_hash]
    assert active(store) == ["third"]


def test_a_keys_use_is_noted_at_most_once_an_hour(
    store: FakeApiKeyStore, api_key_service: ApiKeyService, clock: Clock
) -> None:
    text, key = api_key_service.issue("acme")
    noted = []
    for step_ns in (0, HOUR_NS // 2, HOUR_NS // 4, HOUR_NS // 2):
        clock.now_ns += step_ns
        api_key_service.authenticate(f"Bearer {text}")
        noted.append(store.keys[key.key_hash].last_used_at_ms)
    assert noted[0] == noted[1] == noted[2]
    assert noted[3] == clock.now_ns // 1_000_000


def test_a_key_is_recognised_even_where_its_use_cannot_be_noted(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    text, key = api_key_service.issue("acme", scopes=ALL_SCOPES)
    store.failures.plan("touch", True)
    assert api_key_service.authenticate(f"Bearer {text}") == key


def test_a_failed_revocation_is_not_taken_for_done(
    store: FakeApiKeyStore, api_key_service: ApiKeyService
) -> None:
    by = api_key_service.issue("acme", "by").key
    key = api_key_service.issue("acme", "key").key
    store.failures.plan("revoke", True)
    with pytest.raises(UnavailableError):
        api_key_service.revoke(key.id, by=by)
    assert active(store) == ["by", "key"]
