"""API keys: issuing, listing and revoking them, and authenticating requests."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import api_key
from webhooks.domain import cursor as cursors
from webhooks.domain.account import ACCOUNT_ID_RULE, is_account_id
from webhooks.domain.api_key import ALL_SCOPES, ApiKey, Scope
from webhooks.domain.errors import (
    InvalidInputError,
    LastApiKeyError,
    ScopeExceededError,
    UnavailableError,
)
from webhooks.domain.seed import Seed, fresh
from webhooks.domain.texts import is_blank, is_line
from webhooks.domain.timestamps import MILLISECONDS, ns_to_ms
from webhooks.domain.webhook_rules import NO_LINE
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from webhooks.ports import ApiKeyStore

MAX_NAME_LENGTH = 64
_MAX_HEADER_LENGTH = 256
_TIME_BYTES = 6
_RANDOM_BYTES = 34
_LAST_USE_GRAIN_MS = 60 * 60 * MILLISECONDS
_WITNESSES_AT_ONCE = 100
_MOST_WITNESS_PAGES = 30
"""3,000 keys, so that a call stays within its read units: 12.5 for a page of keys of 1 KB."""


class IssuedKey(NamedTuple):
    """A new key: its text, which is shown only once, and its record."""

    text: str
    key: ApiKey


class ApiKeyService:
    """Issues, lists and revokes API keys, and authenticates requests.

    `cursor_key` seals the list's cursors; a caller that only issues keys needs none. `now_ns` gives
    Unix nanoseconds.
    """

    def __init__(
        self,
        keys: ApiKeyStore,
        *,
        cursor_key: bytes = b"",
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._keys = keys
        self._cursor_key = cursor_key
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def issue(
        self,
        account_id: str,
        name: str = "",
        scopes: AbstractSet[Scope] = ALL_SCOPES,
        *,
        seed: Seed | None = None,
    ) -> IssuedKey:
        """Issue a key. Raises InvalidInputError for a wrong account id or name.

        A repeated `seed` returns the key that its first call made, revoked or not.
        """
        if not is_account_id(account_id):
            raise InvalidInputError("account_id", ACCOUNT_ID_RULE)
        if len(name) > MAX_NAME_LENGTH:
            raise InvalidInputError("name", f"Use at most {MAX_NAME_LENGTH} characters.")
        if not is_line(name):
            raise InvalidInputError("name", NO_LINE)
        seed = seed or fresh(self._now_ns, self._random_bytes)
        # The id begins with the time, so that the index by account lists the newest first.
        random = seed.now_ms.to_bytes(_TIME_BYTES) + seed.draw("API key", _RANDOM_BYTES)
        text = api_key.compose(random)
        key = ApiKey(
            key_hash=api_key.key_hash(text),
            id=api_key.key_id(text),
            account_id=account_id,
            name=name,
            last_four=text[-4:],
            created_at_ms=seed.now_ms,
            scopes=frozenset(scopes),
        )
        self._keys.create(key)
        return IssuedKey(text, key)

    def create(
        self,
        by: ApiKey,
        name: str,
        scopes: Sequence[str] | None = None,
        *,
        seed: Seed | None = None,
    ) -> IssuedKey:
        """Issue another key for the account of the key `by`, by default with the scopes of `by`.

        Raises InvalidInputError, and ScopeExceededError for a scope that `by` lacks.
        """
        if is_blank(name):
            raise InvalidInputError("name", "Give the key a name.")
        asked = by.scopes if scopes is None else api_key.parse_scopes(scopes)
        if not asked <= by.scopes:
            raise ScopeExceededError
        return self.issue(by.account_id, name, asked, seed=seed)

    def page(self, account_id: str, limit: int, cursor: str | None = None) -> Page[ApiKey]:
        """Return up to `limit` keys of an account, newest first, revoked ones too.

        `cursor` is the `next` of the page before. Raises InvalidInputError for a cursor of another
        list.
        """
        scope = ("api-keys", account_id)
        before = cursors.unseal(self._cursor_key, scope, cursor)
        found = self._keys.page(account_id, limit, before)
        return Page(found.items, cursors.seal(self._cursor_key, scope, found.next))

    def revoke(self, key_id: str, *, by: ApiKey) -> ApiKey | None:
        """Revoke a key of the account of `by`; it stops working at once, and stays in the list.

        Returns the stored key, even if it was revoked before; None if the account has no key of
        that id. Raises LastApiKeyError if a key that may write is the last with its scopes: the
        account could never get these again. Simultaneous calls cannot get around this: each
        revocation is one transaction with the check that another such key is valid.
        """
        key = self._keys.find(by.account_id, key_id)
        if key is None or key.revoked_at_ms is not None:
            return key
        now_ms = ns_to_ms(self._now_ns())
        witnesses: Iterator[str | None] = self._others(key, by) if key.manages else iter([None])
        for witness in witnesses:
            if self._keys.revoke(key.key_hash, now_ms, while_active=witness):
                break
            stored = self._keys.get(key.key_hash)
            if stored is None or stored.revoked_at_ms is not None:
                return stored
        else:
            raise LastApiKeyError
        return self._keys.get(key.key_hash)

    def _others(self, key: ApiKey, by: ApiKey) -> Iterator[str]:
        """Yield the hashes of the account's other keys that may do all that this key may.

        Only such a key can give those scopes to a new key. The caller's own comes first, and only
        the newest keys are searched.
        """
        if by.key_hash != key.key_hash and by.may_all_of(key):
            yield by.key_hash
        before = None
        for _ in range(_MOST_WITNESS_PAGES):
            keys, before, *_rest = self._keys.page(key.account_id, _WITNESSES_AT_ONCE, before)
            for other in keys:
                if other.may_all_of(key) and other.key_hash not in {key.key_hash, by.key_hash}:
                    yield other.key_hash
            if before is None:
                return

    def authenticate(self, authorization: str) -> ApiKey | None:
        """Return the key in an `Authorization` header, None unless it is valid now.

        Every header takes the same steps, one hash over a bounded text and one look-up, so that a
        refusal reveals nothing.
        """
        text = bearer_token(authorization)
        key_hash = api_key.key_hash(text)
        key = self._keys.get(key_hash)
        if key is None or not hmac.compare_digest(key.key_hash, key_hash):
            return None
        if key.revoked_at_ms is not None:
            return None
        self._note_use(key)
        return key

    def _note_use(self, key: ApiKey) -> None:
        """Record the use of a key, at most once an hour, since each record costs a write."""
        now_ms = ns_to_ms(self._now_ns())
        if now_ms - (key.last_used_at_ms or 0) < _LAST_USE_GRAIN_MS:
            return
        try:
            self._keys.touch(key.key_hash, now_ms)
        except UnavailableError:
            # The time of use only informs the owner, so no request fails without it.
            return


def bearer_token(authorization: str) -> str:
    """Return the token of an `Authorization` header; an empty text if there is none."""
    scheme, _, token = authorization.partition(" ")
    plausible = len(authorization) <= _MAX_HEADER_LENGTH and authorization.isascii()
    return token.strip() if plausible and scheme.lower() == "bearer" else ""
