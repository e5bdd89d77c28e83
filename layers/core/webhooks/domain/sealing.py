"""Texts sealed under a secret that is kept nowhere: only who brings it again can read them.

The secret is one of high entropy, as an API key is. The keys for one text come from it and a nonce
through SHAKE256, an extendable-output function (FIPS 202) that serves as a keyed one where the key
comes first; one part is the key of a MAC, the rest the pad that the text is combined with. ADR 8
says why it is not a library's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib

NONCE_BYTES = 16
_MAC_BYTES = 32
_PURPOSE = b"webhooks: sealed text"


def seal(secret: str, text: str, nonce: bytes) -> str:
    """Return a text as ASCII that only `unseal` with the same secret reads.

    `nonce` is 16 random bytes, never the same twice.
    """
    packed = zlib.compress(text.encode())
    mac_key, pad = _keys(secret, nonce, len(packed))
    hidden = _combined(packed, pad)
    mac = hmac.digest(mac_key, hidden, "sha256")
    return base64.b64encode(nonce + mac + hidden).decode()


def unseal(secret: str, sealed: str) -> str:
    """Return the text of a sealed one; ValueError if it was sealed with another secret, or bent."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except ValueError as error:
        raise ValueError("no sealed text") from error
    nonce, mac, hidden = (
        raw[:NONCE_BYTES],
        raw[NONCE_BYTES : NONCE_BYTES + _MAC_BYTES],
        raw[NONCE_BYTES + _MAC_BYTES :],
    )
    mac_key, pad = _keys(secret, nonce, len(hidden))
    if not hmac.compare_digest(mac, hmac.digest(mac_key, hidden, "sha256")):
        raise ValueError("sealed with another secret")
    return zlib.decompress(_combined(hidden, pad)).decode()


def _keys(secret: str, nonce: bytes, length: int) -> tuple[bytes, bytes]:
    # Not the secret's plain SHA-256: that is what an API key is stored as.
    root = hmac.digest(secret.encode(), _PURPOSE, "sha256")
    stream = hashlib.shake_256(root + nonce).digest(_MAC_BYTES + length)
    return stream[:_MAC_BYTES], stream[_MAC_BYTES:]


def _combined(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))
