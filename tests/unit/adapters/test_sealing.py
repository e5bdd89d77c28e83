"""Sealed texts: only the secret's holder reads them, for their purpose and in their place only."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from webhooks.adapters.sealing import AesGcmSealer
from webhooks.domain import seed as seeds
from webhooks.domain.api_key import compose, key_hash

SECRET = compose(bytes(range(40)))
TEXT = json.dumps({"data": {"url": "https://hooks.acme.com/ü", "secret": samples.SECRET}})
PURPOSE = "test"
PLACE = ("acc_1", "POST")
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

FORMER = (
    "AAECAwQFBgcICQoL"
    "DA0OD1C34Zq3J3xx"
    "jkTKYjAco7dZdgd4"
    "khqRGfV3zaNbfq2g"
    "uf9mxJES1GJSMxuN"
    "EcGgOPaxjU87Zx4="
)
"""`FORMER_TEXT`, sealed by the version before AES-GCM."""
FORMER_SECRET = "sc_live_" + "0f" * 44
FORMER_TEXT = '{"data": "wü"}'

sealer = AesGcmSealer()


def seal(text: str = TEXT) -> str:
    return sealer.seal(SECRET, PURPOSE, PLACE, text)


def unseal(sealed: str, secret: str = SECRET) -> str:
    return sealer.unseal(secret, PURPOSE, PLACE, sealed)


def raw(sealed: str) -> bytes:
    return base64.b64decode(sealed.partition(".")[2])


@given(st.text(st.characters(max_codepoint=127)), _TEXTS, st.lists(_TEXTS))
def test_a_text_is_opened_with_its_secret(secret: str, text: str, place: list[str]) -> None:
    sealed = sealer.seal(secret, PURPOSE, place, text)
    assert sealed.isascii()
    assert sealer.unseal(secret, PURPOSE, place, sealed) == text


def test_nothing_of_a_text_is_seen_and_the_same_one_looks_another_each_time() -> None:
    one, other = raw(seal()), raw(seal())
    assert samples.SECRET.encode()[:8] not in one
    assert sum(a == b for a, b in zip(one, other, strict=True)) < len(one) // 4


def test_each_text_has_a_nonce_of_96_bits_of_its_own() -> None:
    assert len({raw(seal())[:12] for _ in range(100)}) == 100
    # Opened here by the standards, not by our code: the layout is nonce, text, tag.
    info = f"webhooks sealed: {PURPOSE}".encode()
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(SECRET.encode())
    bound = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in (PURPOSE, *PLACE))
    sealed = raw(seal())
    assert AESGCM(key).decrypt(sealed[:12], sealed[12:], bound)


@pytest.mark.parametrize("secret", ["", key_hash(SECRET), SECRET[:-1], SECRET.upper()])
def test_another_secret_opens_nothing_and_what_is_stored_of_a_key_does_not(secret: str) -> None:
    with pytest.raises(ValueError, match="another secret"):
        unseal(seal(), secret)


@pytest.mark.parametrize(
    ("purpose", "place"),
    [
        ("another", PLACE),
        (PURPOSE, ("acc_2", "POST")),
        (PURPOSE, ("acc_1",)),
        (PURPOSE, ("acc_1P", "OST")),
        (PURPOSE, ("acc_1", "POST", "")),
    ],
)
def test_a_text_opens_for_no_other_purpose_and_in_no_other_place(
    purpose: str, place: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="another secret"):
        sealer.unseal(SECRET, purpose, place, seal())


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    changed = bytearray(raw(seal()))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="another secret"):
        unseal("aes256gcm." + base64.b64encode(changed).decode())


@given(st.data())
def test_a_text_that_is_cut_short_is_refused(data: st.DataObject) -> None:
    whole = raw(seal())
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(ValueError, match="sealed"):
        unseal("aes256gcm." + base64.b64encode(part).decode())


@pytest.mark.parametrize(
    "text", ["", "AAAA", "no base64!", "é", "aes256gcm.", "aes256gcm.!", "aes256gcm.é"]
)
def test_an_unsealed_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sealed"):
        unseal(text)


def test_what_the_version_before_sealed_is_opened_for_the_day_that_it_is_kept() -> None:
    assert unseal(FORMER, FORMER_SECRET) == FORMER_TEXT
    with pytest.raises(ValueError, match="another secret"):
        unseal(FORMER)
    changed = bytearray(base64.b64decode(FORMER))
    changed[-1] ^= 1
    with pytest.raises(ValueError, match="another secret"):
        unseal(base64.b64encode(changed).decode(), FORMER_SECRET)


def test_derived_bytes_follow_from_the_key_and_the_purpose_alone() -> None:
    key = bytes(range(32))
    derived = sealer.derive(key, "webhook id", 32)
    assert derived == sealer.derive(key, "webhook id", 32)
    assert derived != sealer.derive(key, "webhook secret", 32)
    assert derived != sealer.derive(bytes(32), "webhook id", 32)
    assert len(sealer.derive(key, "webhook id", 8)) == 8


def test_a_seed_comes_back_from_its_text() -> None:
    text = seeds.new_text(1_766_313_000_123_456_789, bytes(range(32)))
    first = seeds.of_text(text, sealer.derive, repeated=False)
    again = seeds.of_text(text, sealer.derive, repeated=True)
    assert (first.now_ns, first.now_ms) == (1_766_313_000_123_456_789, 1_766_313_000_123)
    assert again.draw("API key", 34) == first.draw("API key", 34)
    assert (first.repeated, again.repeated) == (False, True)
