"""API keys: their format, their scopes, and the stored record of a key."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from webhooks.domain.errors import InvalidInputError

PREFIX = "sc_live_"
_KEY_ID_DIGITS = 16
_SECRET_DIGITS = 64
_CHECKSUM_DIGITS = 8
_SHAPE = re.compile(
    rf"{PREFIX}[0-9a-f]{{{_KEY_ID_DIGITS + _SECRET_DIGITS + _CHECKSUM_DIGITS}}}", re.ASCII
)


class Scope(StrEnum):
    """The calls that a key may make."""

    READ = "read"
    """Every call that changes nothing."""

    WRITE = "write"
    """Every call that changes something, except publishing events."""

    PUBLISH = "publish"
    """Publishing events."""


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored record of a key: its SHA-256 and the fields that its owner can see.

    `last_used_at_ms` is at most about an hour behind, and None for a key that was never used.
    """

    key_hash: str
    id: str
    account_id: str
    name: str
    last_four: str
    created_at_ms: int
    scopes: frozenset[Scope] = ALL_SCOPES
    revoked_at_ms: int | None = None
    last_used_at_ms: int | None = None

    def may_all_of(self, other: ApiKey) -> bool:
        """Whether the key is valid and its scopes include all scopes of `other`."""
        return self.revoked_at_ms is None and self.scopes >= other.scopes

    @property
    def manages(self) -> bool:
        """Whether the key is valid and may write: an account without such a key is locked out."""
        return self.revoked_at_ms is None and Scope.WRITE in self.scopes


def compose(random_bytes: bytes) -> str:
    """Make a key's text of 40 random bytes: `sc_live_`, its id, its secret, a checksum.

    With the checksum, clients and secret scanners can distinguish a typing error from a revoked
    key; it adds no strength. Raises ValueError unless there are 40 bytes.
    """
    if len(random_bytes) * 2 != _KEY_ID_DIGITS + _SECRET_DIGITS:
        msg = "a key is made of exactly 40 random bytes"
        raise ValueError(msg)
    digits = random_bytes.hex()
    return f"{PREFIX}{digits}{zlib.crc32(digits.encode()):08x}"


def is_well_formed(text: str) -> bool:
    """Check a text's shape and checksum. A well-formed key may still be unknown or revoked."""
    if not _SHAPE.fullmatch(text):
        return False
    digits = text[len(PREFIX) : -_CHECKSUM_DIGITS]
    return f"{zlib.crc32(digits.encode()):08x}" == text[-_CHECKSUM_DIGITS:]


def key_hash(text: str) -> str:
    """Return the SHA-256 of a key's text in hex: keys are stored and looked up by it.

    A key holds 256 random bits, so a slow password hash would add nothing but latency.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def key_id(text: str) -> str:
    """Return the public part of a well-formed key: `key_` and its first 16 digits."""
    return f"key_{text[len(PREFIX) : len(PREFIX) + _KEY_ID_DIGITS]}"


def parse_scopes(names: Sequence[str]) -> frozenset[Scope]:
    """Return the scopes of these names; InvalidInputError for none, unknown or repeated names."""
    if not names:
        raise InvalidInputError("scopes", f"Name at least one of {', '.join(Scope)}.")
    for index, name in enumerate(names):
        if name not in ALL_SCOPES:
            raise InvalidInputError(f"scopes[{index}]", f"Use one of {', '.join(Scope)}.")
        if name in names[:index]:
            raise InvalidInputError(f"scopes[{index}]", "Name each scope only once.")
    return frozenset(Scope(name) for name in names)
