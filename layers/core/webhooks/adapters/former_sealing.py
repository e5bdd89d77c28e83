"""Opens texts that the version before AES-GCM sealed; no new ones are made.

Each is kept for at most a day (`adapters.dynamodb.idempotency.KEPT_SECONDS`). Therefore the next
version no longer needs this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib

_NONCE_BYTES = 16
_MAC_BYTES = 32
_PURPOSE = b"webhooks: sealed text"


def unseal(secret: str, sealed: str) -> str:
    """Return the text of a sealed one; ValueError if it was not sealed with this secret."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except ValueError as error:
        raise ValueError("no sealed text") from error
    nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
    mac, hidden = rest[:_MAC_BYTES], rest[_MAC_BYTES:]
    root = hmac.digest(secret.encode(), _PURPOSE, "sha256")
    stream = hashlib.shake_256(root + nonce).digest(_MAC_BYTES + len(hidden))
    if not hmac.compare_digest(mac, hmac.digest(stream[:_MAC_BYTES], hidden, "sha256")):
        raise ValueError("sealed with another secret")
    pad = int.from_bytes(stream[_MAC_BYTES:])
    return zlib.decompress((int.from_bytes(hidden) ^ pad).to_bytes(len(hidden))).decode()
