"""The addresses that a text mentions, and the texts that are an address."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain import recipient
from webhooks.domain.errors import InvalidInputError
from webhooks.domain.recipient import (
    MAX_ADDRESS_CHARACTERS,
    _composed,
    addresses_in,
    addresses_of,
    parse_address,
)

SOUGHT = "anna@example.com"


@pytest.mark.parametrize(
    "text",
    [
        SOUGHT,
        "Anna@Example.COM",
        "Anna B. <anna@example.com>",
        '"Anna" <anna@example.com>, bob@example.com',
        "mailto:anna@example.com?subject=x",
        "https://shop.example/unsubscribe?to=anna@example.com&list=1",
        "https://shop.example/unsubscribe?to=anna%40example.com&list=1",
        "https://shop.example/anna@example.com/edit",
        "550 5.1.1 'anna@example.com'... user unknown",
        "We wrote to anna@example.com.",
        "(anna@example.com)",
        "&lt;anna@example.com&gt;",
        "`anna@example.com`",
        "宛先anna@example.comです",
        "anna@example.com\ud800",
    ],
)
def test_a_text_that_mentions_an_address_is_recognised(text: str) -> None:
    assert SOUGHT in addresses_of({"data": [{"x": text}]})


@pytest.mark.parametrize(
    "text",
    [
        "joanna@example.com",
        "xanna@example.com",
        "jo.anna@example.com",
        "jo+anna@example.com",
        "jo-anna@example.com",
        "jo'anna@example.com",
        "joanna%40example.com",
        "anna@example.com.au",
        "anna@example.community",
        "anna@mail.example.com",
        "anna+news@example.com",
        "éanna@example.com",
        "anna @example.com",
        "anna at example.com",
        "example.com",
        "anna",
        "@",
    ],
)
def test_another_address_and_a_part_of_one_are_not_mistaken_for_it(text: str) -> None:
    assert SOUGHT not in addresses_of([text])


@pytest.mark.parametrize(
    "text",
    [
        "anna%2Bnews@example.com",
        "https://a.example/r?u=https%3A%2F%2Fb.example%2Fc%3Fto%3Danna%252Bnews%2540example.com",
        "https://a.example/r?u=b%253Fto%253Danna%25252Bnews%252540example.com",
    ],
)
def test_an_address_that_is_encoded_in_part_or_more_than_once_is_found(text: str) -> None:
    assert "anna+news@example.com" in addresses_of(text)


def test_the_keys_of_an_object_count_and_what_is_no_text_does_not() -> None:
    assert addresses_of({SOUGHT: [None, True, 1.5, {"a": [[]]}]}) == {SOUGHT}


def test_a_host_is_the_same_in_letters_and_in_ascii() -> None:
    assert parse_address("anna@bücher.example") == "anna@xn--bcher-kva.example"
    for text in ("Anna <anna@BÜCHER.example>", "anna@xn--bcher-kva.example"):
        assert "anna@xn--bcher-kva.example" in addresses_of(text)


def test_letters_are_the_same_however_they_are_composed() -> None:
    assert parse_address("zoe\u0308@example.com") == parse_address("ZO\u00cb@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "@",
        "anna@",
        "@example.com",
        "anna@b@c",
        "anna@example.com ",
        " anna@example.com",
        "anna@example.com.",
        "Anna <anna@example.com>",
        "anna@exam ple.com",
        "anna@example.com\n",
        "anna@[192.0.2.1]",
        "a" * (MAX_ADDRESS_CHARACTERS - len("@example.com") + 1) + "@example.com",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_address(text)
    assert refused.value.field == "address"
    assert refused.value.message == "Use one email address, such as recipient@example.com."


def test_the_longest_address_is_found_in_a_longer_text() -> None:
    longest = "a" * (MAX_ADDRESS_CHARACTERS - len("@example.com")) + "@example.com"
    assert parse_address(longest) in set(addresses_in(f"to={longest};"))


_LOCALS = st.text("abcXYZ019.!#$%&'*+/=?^_`{|}~-é宛", min_size=1, max_size=20)
_HOSTS = st.from_regex(r"[a-zA-Z0-9é](?:[a-zA-Z0-9.-]{0,10}[a-zA-Z0-9])?", fullmatch=True)


@given(
    _LOCALS, _HOSTS, st.sampled_from(["{}", "Name <{}>", '"{}"', "mailto:{}", "x, {}; y", "({}"])
)
def test_every_address_that_is_taken_is_found_wherever_it_stands(
    local: str, host: str, around: str
) -> None:
    address = f"{local}@{host}"
    wanted = parse_address(address)
    assert wanted in addresses_of({"text": around.format(address.upper())})


@given(st.text(alphabet="a.=/@%40 é宛\ud800", max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert all("@" in address for address in addresses_of(text))


LONG_RUNS = [
    "a@b\u0301\u0327" + "\u0301" * 100 + "\u0327\u0f73\u0345" * 40 + "@c",
    "e\u0301\u0327" * 50 + "\u0323\u0307" * 60 + "anna@e\u0323\u0307" + "\u0301" * 64 + ".example",
]


@pytest.mark.parametrize("text", LONG_RUNS)
def test_a_long_run_of_marks_is_composed_as_unicode_says(text: str) -> None:
    assert _composed(text) == unicodedata.normalize("NFC", text)


@given(
    st.text(alphabet="ae\u0301\u0327\u0323\u0345\u0f73\u0344\u0338<=\u1100\u1161 ", max_size=200)
)
def test_any_text_is_composed_as_unicode_says(text: str) -> None:
    assert _composed(text) == unicodedata.normalize("NFC", text)


def test_the_time_grows_with_the_length_and_not_with_its_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Normalisation sorts by insertion: it gets no long run of unsorted marks."""
    normalised: list[str] = []

    def normalize(form: str, text: str) -> str:
        normalised.append(text)
        return unicodedata.normalize(form, text)  # type: ignore[arg-type]

    watched = SimpleNamespace(
        normalize=normalize, combining=unicodedata.combining, category=unicodedata.category
    )
    monkeypatch.setattr(recipient, "unicodedata", watched)
    found = addresses_of("anna@example.com" + "\u0315\u0316" * 20_000 + "@x")
    assert found == {SOUGHT}
    for text in normalised:
        classes = [unicodedata.combining(each) for each in text]
        # At most the few marks before a run are out of order.
        assert sum(left > right > 0 for left, right in pairwise(classes)) < 32


def test_a_host_longer_than_any_address_is_none_and_its_beginning_neither() -> None:
    dots = "." * 3000
    assert SOUGHT not in addresses_of(f"{SOUGHT}{dots}x")
    assert addresses_of("a@" + "b" * 5000) == set()
    assert SOUGHT in addresses_of(f"{SOUGHT}日本{'b' * 5000}")


def test_percent_encoding_is_decoded_across_windows() -> None:
    for before in range(20):
        padding = "%41é" * 1000 + "x" * before
        assert "zoë@example.com" in addresses_of(f"to={padding};zo%C3%AB%40example.com")
        long = "%C3%A9" * 2000 + "%41" * before
        assert any(
            each.endswith("é@example.com") for each in addresses_of(f"{long}%C3%A9@example.com")
        )


def test_the_longest_ascii_form_of_a_host_is_found() -> None:
    host = "ü." * 124 + "de"
    wanted = parse_address(f"a@{host}")
    assert len(wanted) > 4 * len(host) // 2
    assert wanted in addresses_of(f"<{wanted}>")
    assert wanted in addresses_of(f"<a@{host}>".upper())
