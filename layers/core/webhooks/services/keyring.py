"""API keys: making them, and telling whose a request is."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from webhooks.domain import api_key
from webhooks.domain.account import ACCOUNT_ID_RULE, is_account_id
from webhooks.domain.api_key import ApiKey
from webhooks.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.ports import ApiKeyStore

_MAX_HEADER_LENGTH = 256
_MAX_NAME_LENGTH = 64


class IssuedKey(NamedTuple):
    """A new key: its text, which is shown this once, and what is kept of it."""

    text: str
    key: ApiKey


class Keyring:
    """Makes API keys and recognises them."""

    def __init__(
        self,
        keys: ApiKeyStore,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Take the store of keys, and the sources of time and randomness."""
        self._keys = keys
        self._now_ns = now_ns
        self._random_bytes = random_bytes

    def issue(self, account_id: str, name: str = "") -> IssuedKey:
        """Make and store a key; InvalidInput says what is wrong with the account or the name."""
        if not is_account_id(account_id):
            raise InvalidInput("account_id", ACCOUNT_ID_RULE)
        if len(name) > _MAX_NAME_LENGTH or not name.isprintable():
            raise InvalidInput("name", f"Use at most {_MAX_NAME_LENGTH} printable characters.")
        text = api_key.compose(self._random_bytes(40))
        key = ApiKey(
            key_hash=api_key.key_hash(text),
            id=api_key.key_id(text),
            account_id=account_id,
            name=name,
            last_four=text[-4:],
            created_at_ms=self._now_ns() // 1_000_000,
        )
        self._keys.create(key)
        return IssuedKey(text, key)

    def authenticate(self, authorization: str) -> ApiKey | None:
        """Return the key that an `Authorization` header carries, None unless it is valid now.

        Whatever the header holds, the same is done: one hash over a bounded text and one look-up,
        so that nothing can be learned from how a refusal is made.
        """
        text = _bearer_token(authorization)
        key_hash = api_key.key_hash(text)
        key = self._keys.get(key_hash)
        if key is None or not hmac.compare_digest(key.key_hash, key_hash):
            return None
        return key if key.revoked_at_ms is None else None


def _bearer_token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    plausible = len(authorization) <= _MAX_HEADER_LENGTH and authorization.isascii()
    return token.strip() if plausible and scheme.lower() == "bearer" else ""
