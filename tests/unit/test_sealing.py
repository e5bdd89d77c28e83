"""Sealed texts: who brings the secret reads them, and nobody else."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.domain.api_key import compose, key_hash
from webhooks.domain.sealing import NONCE_BYTES, seal, unseal

SECRET = compose(bytes(range(40)))
NONCE = b"n" * NONCE_BYTES
TEXT = json.dumps({"data": {"url": "https://hooks.acme.com/ü", "secret": samples.SECRET}})
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.text(st.characters(max_codepoint=127)), _TEXTS, st.binary(min_size=16, max_size=16))
def test_a_text_is_opened_with_its_secret(secret: str, text: str, nonce: bytes) -> None:
    sealed = seal(secret, text, nonce)
    assert sealed.isascii()
    assert unseal(secret, sealed) == text


def test_nothing_of_a_text_is_seen_and_the_same_one_looks_another_each_time() -> None:
    sealed = seal(SECRET, TEXT, NONCE)
    hidden = base64.b64decode(sealed)[NONCE_BYTES:]
    assert samples.SECRET.encode()[:8] not in hidden
    other = base64.b64decode(seal(SECRET, TEXT, b"m" * NONCE_BYTES))[NONCE_BYTES:]
    assert sum(one == two for one, two in zip(hidden, other, strict=True)) < len(hidden) // 4


@pytest.mark.parametrize("secret", ["", key_hash(SECRET), SECRET[:-1], SECRET.upper()])
def test_another_secret_opens_nothing_and_what_is_stored_of_a_key_does_not(secret: str) -> None:
    with pytest.raises(ValueError, match="another secret"):
        unseal(secret, seal(SECRET, TEXT, NONCE))


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(seal(SECRET, TEXT, NONCE)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="another secret"):
        unseal(SECRET, base64.b64encode(raw).decode())


@pytest.mark.parametrize("text", ["", "AAAA", "no base64!", "é"])
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sealed"):
        unseal(SECRET, text)
