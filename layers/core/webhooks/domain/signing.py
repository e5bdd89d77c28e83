"""Signatures of a delivery, and all the headers that it carries (contract 2.3)."""

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
"""The prefix of generated secrets; the Standard Webhooks libraries remove it."""

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
    """Return the key that the Standard Webhooks libraries derive from a secret's text.

    They remove `whsec_` and decode the rest as base64 of the standard alphabet, padded or not; a
    user's secret without the prefix is read the same way. If PyPI's and npm's library cannot both
    decode it (another character, or a length that no base64 has), the key is the whole text in
    UTF-8, prefix included, which the receiver then passes to its library as bytes.
    """
    text = secret.removeprefix(GENERATED_PREFIX)
    match = _BASE64.fullmatch(text)
    if match is None or len(text) < 4 or len(match["digits"]) % 4 == 1:
        return secret.encode()
    return base64.b64decode(match["digits"] + "==")


def secret_warnings(secret: str) -> list[str]:
    """Return advice on a secret that Standard Webhooks libraries read in different ways.

    The list is empty if all read it alike, which they do for base64 with its padding. No sentence
    repeats any of the secret.
    """
    key = standard_key(secret)
    if key == secret.encode():
        return [_NOT_BASE64]
    if base64.b64encode(key).decode() != secret.removeprefix(GENERATED_PREFIX):
        return [_NOT_IN_FULL]
    return []


_NOT_BASE64 = (
    "This secret is not base64, which Standard Webhooks libraries expect: some refuse it and some "
    "read another key from it. Pass it to the library as bytes, as the page on verifying shows, or "
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
    """Return every header of one attempt (the table in contract 2.3).

    `secrets` are the live ones, new first: each signs `webhook-signature`. `sendcomms_secret` signs
    `X-SendComms-Signature`, which has room for one signature: the old secret's during a rotation's
    overlap, until the receiver has moved. Raises ValueError without a secret: nothing is sent
    unsigned.
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
        # Web application firewalls count a missing Accept against a request.
        "Accept": "*/*",
        "X-SendComms-Signature": sendcomms_signature(sendcomms_secret, delivery.body),
        "X-SendComms-Event": delivery.event_type,
        "X-SendComms-Delivery": delivery.id,
        "X-SendComms-Attempt": str(attempt_number),
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(unix_seconds),
        "webhook-signature": " ".join(signatures),
    }
