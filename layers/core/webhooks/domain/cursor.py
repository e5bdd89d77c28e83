"""Cursors: positions in lists, sealed so that only this API can make them.

A cursor is the position, in clear, behind a MAC over the position and a scope. The scope names the
account and everything of the query that the position depends on; therefore a cursor is of no use to
another account or with another filter. A position is always looked up inside the caller's own
partition: the seal is the second lock, not the only one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, overload

from webhooks.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAC_BYTES = 16
_MAX_CURSOR_LENGTH = 512


@overload
def seal(key: bytes, scope: Sequence[str], position: str) -> str: ...


@overload
def seal(key: bytes, scope: Sequence[str], position: str | None) -> str | None: ...


def seal(key: bytes, scope: Sequence[str], position: str | None) -> str | None:
    """Return the cursor for a position: url-safe text that clients treat as opaque.

    At the end of a list the position is None, and the cursor is None.
    """
    if position is None:
        return None
    return _encode(_mac(key, scope, position) + position.encode())


def unseal(key: bytes, scope: Sequence[str], cursor: str | None) -> str | None:
    """Return the position in a cursor, None without one: the beginning of the list.

    Raises InvalidInputError unless the cursor was sealed for this scope.
    """
    if cursor is None:
        return None
    problem = InvalidInputError(
        "cursor", "Use the next_cursor of the same list unchanged, or start again without one."
    )
    if len(cursor) > _MAX_CURSOR_LENGTH:
        raise problem
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        mac, position = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise problem from None
    # base64 has several spellings of some bytes; only the spelling that `seal` made is valid.
    genuine = hmac.compare_digest(mac, _mac(key, scope, position))
    if not (genuine and hmac.compare_digest(_encode(sealed).encode(), cursor.encode())):
        raise problem
    return position


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _mac(key: bytes, scope: Sequence[str], position: str) -> bytes:
    # Each part goes in with its length, so that no two scopes read the same.
    message = b"".join(
        len(part).to_bytes(4) + part for part in (text.encode() for text in (*scope, position))
    )
    return hmac.digest(key, message, hashlib.sha256)[:_MAC_BYTES]
