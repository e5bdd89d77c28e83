"""Sealed texts and derived bytes, by `cryptography`: AES-256-GCM and HKDF-SHA256.

Only `wiring/api.py` imports this module, when a call first seals something. `cryptography` is
in a layer that no other function has.
"""

from __future__ import annotations

import base64
import secrets
import zlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from webhooks.adapters import former_sealing

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORM = "aes256gcm."
"""The prefix of a sealed text. Base64 has no full stop, so no former text begins with it."""

_KEY_BYTES = 32
_NONCE_BYTES = 12
"""96 bits, random for each text. That is safe for 2**32 texts of one key (NIST SP 800-38D, section
8.3)."""

_TAG_BYTES = 16


class AesGcmSealer:
    """Seals texts with a key for each secret and purpose; the nonce comes before the text."""

    def seal(self, secret: str, purpose: str, about: Sequence[str], text: str) -> str:
        """Return a text as ASCII that only `unseal` with the same arguments can read."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        packed = zlib.compress(text.encode())
        hidden = _cipher(secret, purpose).encrypt(nonce, packed, _bound(purpose, about))
        return _FORM + base64.b64encode(nonce + hidden).decode()

    def unseal(self, secret: str, purpose: str, about: Sequence[str], sealed: str) -> str:
        """Return the text of a sealed one; ValueError if any argument differs from `seal`."""
        if not sealed.startswith(_FORM):
            return former_sealing.unseal(secret, sealed)
        try:
            raw = base64.b64decode(sealed.removeprefix(_FORM), validate=True)
        except ValueError as error:
            raise ValueError("no sealed text") from error
        if len(raw) < _NONCE_BYTES + _TAG_BYTES:
            raise ValueError("no sealed text")
        nonce, hidden = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
        try:
            packed = _cipher(secret, purpose).decrypt(nonce, hidden, _bound(purpose, about))
        except InvalidTag:
            raise ValueError("sealed with another secret") from None
        return zlib.decompress(packed).decode()

    def derive(self, key: bytes, purpose: str, length: int) -> bytes:
        """Return bytes that depend only on a key of high entropy and a purpose."""
        return _hkdf(key, f"derived: {purpose}", length)


def _cipher(secret: str, purpose: str) -> AESGCM:
    # Not the secret's plain SHA-256, under which an API key is stored.
    return AESGCM(_hkdf(secret.encode(), f"sealed: {purpose}", _KEY_BYTES))


def _hkdf(key: bytes, info: str, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=f"webhooks {info}".encode()).derive(key)


def _bound(purpose: str, about: Sequence[str]) -> bytes:
    """Return the associated data; each part has its length, so that no two lists read the same."""
    parts = [part.encode() for part in (purpose, *about)]
    return b"".join(len(part).to_bytes(4) + part for part in parts)
