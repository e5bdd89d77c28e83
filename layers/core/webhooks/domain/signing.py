"""How a delivery is signed, and all the headers that it carries (contract 2.3)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.delivery import Delivery

USER_AGENT = "SendComms-Webhooks/1.0"
GENERATED_PREFIX = "whsec_"
"""What a generated secret begins with; the Standard Webhooks libraries take it off."""

_BASE64 = re.compile(r"(?P<digits>[A-Za-z0-9+/]{2,})={0,2}")


def sendcomms_signature(secret: str, body: bytes) -> str:
    """Return `sha256=` and the hex HMAC-SHA256 of the body, keyed with the secret's whole text."""
    return f"sha256={hmac.digest(secret.encode(), body, hashlib.sha256).hex()}"


def standard_signature(secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """Return the Standard Webhooks `v1,` signature of one attempt; `timestamp` is Unix seconds.

    See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    content = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    digest = hmac.digest(standard_key(secret), content, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def standard_key(secret: str) -> bytes:
    """Return the key that the Standard Webhooks libraries make of a secret's text.

    They take `whsec_` off and read the rest as base64 of the standard alphabet, padded or not; a
    user's secret without the prefix is read the same way. Where PyPI's and npm's library do not
    both read it (another character, or a length that no base64 has) the key is the whole text in
    UTF-8, prefix included, which the receiver then hands to its library as bytes.
    """
    text = secret.removeprefix(GENERATED_PREFIX)
    match = _BASE64.fullmatch(text)
    if match is None or len(text) < 4 or len(match["digits"]) % 4 == 1:
        return secret.encode()
    return base64.b64decode(match["digits"] + "==")


def secret_warnings(secret: str) -> list[str]:
    """Return what to do about a secret that Standard Webhooks libraries read in different ways.

    Nothing where all read it alike, which is base64 written in full. No sentence repeats any of
    the secret.
    """
    key = standard_key(secret)
    if key == secret.encode():
        return [_NOT_BASE64]
    if base64.b64encode(key).decode() != secret.removeprefix(GENERATED_PREFIX):
        return [_NOT_IN_FULL]
    return []


_NOT_BASE64 = (
    "This secret is not base64, which Standard Webhooks libraries expect: some refuse it and some "
    "read another key from it. Hand it to the library as bytes, as the page on verifying shows, or "
    "leave the secret out to have one generated. X-SendComms-Signature is not affected."
)
_NOT_IN_FULL = (
    "This secret is base64 that is not written in full, which the Standard Webhooks libraries of "
    "Go, Rust and .NET refuse. Hand it over with its padding, as the page on verifying shows, or "
    "leave the secret out to have one generated. X-SendComms-Signature is not affected."
)


def delivery_headers(
    delivery: Delivery,
    *,
    attempt_number: int,
    unix_seconds: int,
    secrets: Sequence[str],
    sendcomms_secret: str,
) -> dict[str, str]:
    """Return every header of one attempt, as the contract's table has them.

    `secrets` are the live ones, new first: each signs `webhook-signature`. `sendcomms_secret` is
    the one that `X-SendComms-Signature` has room for: the old one during a rotation's overlap,
    until the receiver has moved. Raises ValueError without a secret: nothing is sent unsigned.
    """
    if not secrets or not sendcomms_secret:
        msg = "a delivery is never sent unsigned"
        raise ValueError(msg)
    signatures = (
        standard_signature(secret, delivery.event_id, unix_seconds, delivery.body)
        for secret in secrets
    )
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        # Rule sets of firewalls count its absence against a request.
        "Accept": "*/*",
        "X-SendComms-Signature": sendcomms_signature(sendcomms_secret, delivery.body),
        "X-SendComms-Event": delivery.event_type,
        "X-SendComms-Delivery": delivery.id,
        "X-SendComms-Attempt": str(attempt_number),
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(unix_seconds),
        "webhook-signature": " ".join(signatures),
    }
