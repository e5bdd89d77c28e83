"""The signatures, checked with the libraries that receivers use and with the contract's HMAC."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.signing import (
    delivery_headers,
    secret_warnings,
    sendcomms_signature,
    standard_key,
    standard_signature,
)

GENERATED = "whsec_" + "21be983f359112f9e07658ed2bddcee3" * 2
OLD = "whsec_" + "0f" * 32
BODY = '{"event":"email.opened","data":{"to":"é😀@example.com"}}'.encode()
LIBRARIES = [standardwebhooks.Webhook, svix.webhooks.Webhook]

DELIVERY = Delivery(
    account_id="acc_1",
    webhook_id="e406c83c-50bc-4783-b5fc-4beafe6bf5eb",
    id="019b4067-0b40-7b07-b12c-18ae47ea4cdb",
    event_id="evt_1",
    event_type="email.opened",
    body=BODY,
    status=Status.PENDING,
    created_at_ms=0,
)


def headers(*secrets: str, sendcomms_secret: str = OLD) -> dict[str, str]:
    return delivery_headers(
        DELIVERY,
        attempt_number=3,
        unix_seconds=int(time.time()),
        secrets=secrets,
        sendcomms_secret=sendcomms_secret,
    )


def test_an_attempt_carries_every_header_of_the_contract() -> None:
    made = delivery_headers(
        DELIVERY,
        attempt_number=3,
        unix_seconds=1766313000,
        secrets=[GENERATED],
        sendcomms_secret=GENERATED,
    )
    assert made == {
        "Content-Type": "application/json",
        "User-Agent": "SendComms-Webhooks/1.0",
        "Accept": "*/*",
        "X-SendComms-Signature": sendcomms_signature(GENERATED, BODY),
        "X-SendComms-Event": "email.opened",
        "X-SendComms-Delivery": "019b4067-0b40-7b07-b12c-18ae47ea4cdb",
        "X-SendComms-Attempt": "3",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1766313000",
        "webhook-signature": standard_signature(GENERATED, "evt_1", 1766313000, BODY),
    }


@pytest.mark.parametrize("secret", [GENERATED, "your_webhook_secret", "clé très secrète"])
def test_the_sendcomms_signature_is_keyed_with_the_whole_text(secret: str) -> None:
    digest = hmac.new(secret.encode("utf-8"), BODY, hashlib.sha256).hexdigest()
    assert sendcomms_signature(secret, BODY) == "sha256=" + digest


def test_the_contracts_receiver_computes_the_same_signature() -> None:
    # The output of part 1's Node.js code for this secret and body.
    assert sendcomms_signature("whsec_your_secret_here", b'{"a":1}') == (
        "sha256=b6560b4f032f85b8f75c1ba8ec9e404fc7cde24a1ce1c40a0cfb16e5368573e5"
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "secret",
    [
        GENERATED,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + base64.b64encode(b"sixteen bytes ok").decode(),
        "whsec_" + base64.b64encode(b"sixteen bytes ok").decode().rstrip("="),
        "eighteenCharacters",
    ],
)
def test_the_libraries_verify_with_the_secrets_text_unchanged(
    library: type[standardwebhooks.Webhook], secret: str
) -> None:
    library(secret).verify(BODY, headers(secret))


@pytest.mark.parametrize(
    "secret",
    [
        "your_webhook_secret",
        "whsec_your_secret_here",
        "seventeenLetters1",
        "with spaces in the middle",
        "abcdefgh-ijklmnop",
        "abcd=efghijklmnop",
        "abcdefghijklmnop===",
        "mot de passe à accents",
    ],
)
def test_a_secret_that_is_no_base64_is_verified_when_given_as_bytes(secret: str) -> None:
    assert standard_key(secret) == secret.encode()
    standardwebhooks.Webhook(secret.encode()).verify(BODY, headers(secret))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_changed_body_is_refused(library: type[standardwebhooks.Webhook]) -> None:
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        library(GENERATED).verify(BODY + b" ", headers(GENERATED))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("secret", [GENERATED, OLD])
def test_during_an_overlap_either_secret_verifies(
    library: type[standardwebhooks.Webhook], secret: str
) -> None:
    made = headers(GENERATED, OLD)
    library(secret).verify(BODY, made)
    first, second = made["webhook-signature"].split(" ")
    seconds = int(made["webhook-timestamp"])
    assert first == standard_signature(GENERATED, "evt_1", seconds, BODY)
    assert second == standard_signature(OLD, "evt_1", seconds, BODY)


@pytest.mark.parametrize("secret", [GENERATED, OLD])
def test_the_caller_says_which_secret_the_sendcomms_header_uses(secret: str) -> None:
    made = headers(GENERATED, OLD, sendcomms_secret=secret)
    assert made["X-SendComms-Signature"] == sendcomms_signature(secret, BODY)


@pytest.mark.parametrize(("secrets", "sendcomms_secret"), [((), OLD), ((OLD,), "")])
def test_nothing_is_ever_sent_unsigned(secrets: tuple[str, ...], sendcomms_secret: str) -> None:
    with pytest.raises(ValueError, match="unsigned"):
        headers(*secrets, sendcomms_secret=sendcomms_secret)


def test_a_generated_secret_is_decoded_to_48_bytes() -> None:
    assert standard_key(GENERATED) == base64.b64decode(GENERATED.removeprefix("whsec_"))
    assert len(standard_key(GENERATED)) == 48


@given(st.binary(min_size=12, max_size=64), st.booleans(), st.booleans())
def test_any_base64_secret_is_read_as_the_libraries_read_it(
    key: bytes, prefixed: bool, padded: bool
) -> None:
    text = base64.b64encode(key).decode()
    secret = ("whsec_" if prefixed else "") + (text if padded else text.rstrip("="))
    assert standard_key(secret) == key


@pytest.mark.parametrize(
    ("secret", "warned_of"),
    [
        (GENERATED, None),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=", None),
        ("abcdefgh12345678", None),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo", "not written in full"),
        ("abcdefgh1234567890", "not written in full"),
        # Rust's library refuses bits that no encoder leaves at the end, the others an odd `=`.
        ("abcdefgh1234567890==", "not written in full"),
        ("abcdefgh12345678=", "not written in full"),
        ("abcdefgh123456789", "not base64"),
        ("your_webhook_secret", "not base64"),
        ("whsec_your_secret_here", "not base64"),
        ("correct horse battery staple", "not base64"),
        ("clé très secrète", "not base64"),
        ("whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64"),
    ],
)
def test_a_secret_that_libraries_read_in_different_ways_is_warned_of(
    secret: str, warned_of: str | None
) -> None:
    warnings = secret_warnings(secret)
    if warned_of is None:
        assert warnings == []
    else:
        [warning] = warnings
        assert warned_of in warning
        assert secret not in warning


def test_the_signed_content_is_id_timestamp_and_body() -> None:
    content = b"evt_1.1766313000." + BODY
    digest = hmac.new(standard_key(OLD), content, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    assert standard_signature(OLD, "evt_1", 1766313000, BODY) == expected
