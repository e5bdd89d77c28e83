"""The characters allowed in a line of an owner's own words."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.texts import escaped, is_blank, is_line

LINES = {
    "Persian": "\u0646\u0627\u0645\u0647\u200c\u0647\u0627\u06cc \u0645\u0646",
    "Hindi": "\u0915\u094d\u200d\u0937 \u0930\u094d\u200d\u092f",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Khmer, with its break of words": "\u1781\u17d2\u1789\u17bb\u17c6\u200b\u1791\u17c5",
    "Hebrew, with a mark of direction": "\u05e9\u05dc\u05d5\u05dd (2)\u200f",
    "Japanese, with its wide space": "\u8acb\u6c42\u3000\u90e8\u9580 \u845b\U000e0100",
    "French, with its fixed space": "Rebonds\u00a0: \u00ab\u00a0oui\u00a0\u00bb",
    "German, with a soft hyphen": "Zustell\u00adfehler",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "a script of Unicode 16": "\U00010d4a\U00010d4b",
    "Arabic, with a sign over numbers": "\u0600\u0661\u0662",
    "Mongolian": "\u182d\u180b\u180e\u1820",
    "Hebrew, with an isolated Latin name": "\u05e9\u05dc\u05d5\u05dd \u2068Acme (2)\u2069!",
    "isolates in isolates": "\u2066a\u2067\u05d0\u2069\u2068b\u2069\u2069",
    "flags of Scotland and England": (
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    ),
    "nothing": "",
}

REFUSED = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))),
    *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u206a\u206f",
    *"\ufeff\ufff9\ufffb\ufdd0\ufffe\uffff\ue000\uf8ff\U000e0001\U000e0041\U000e01f0\U0001ffff",
    *("\ud800", "\udfff", "\U000f0000", "\U0010ffff"),
]


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_a_line_may_be_in_any_script(text: str) -> None:
    assert is_line(text)
    assert escaped(text) == text


@pytest.mark.parametrize("character", REFUSED, ids=ascii)
def test_what_is_no_part_of_a_line_is_refused_and_escaped(character: str) -> None:
    assert not is_line(f"a{character}b")
    assert escaped(f"a{character}b").isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u2067a\u2068b\u2069", "\\u2067a\u2068b\u2069"),
        ("\u2069\u2066", "\\u2069\\u2066"),
        ("\u2066\u202ea\u2069", "\u2066\\u202ea\u2069"),
        # A flag's tags hide no text: without the flag, without their end, or more of them.
        ("\U000e0067\U000e007f", "\\U000e0067\\U000e007f"),
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e0073",
            "\U0001f3f4" + "\\U000e0067\\U000e0062\\U000e0073",
        ),
        (
            "\U0001f3f4" + "\U000e0061" * 7 + "\U000e007f",
            "\U0001f3f4" + "\\U000e0061" * 7 + "\\U000e007f",
        ),
    ],
)
def test_an_isolate_that_does_not_end_and_tags_of_no_flag_are_refused(
    text: str, shown: str
) -> None:
    assert not is_line(text)
    assert escaped(text) == shown


def test_every_character_that_python_prints_is_taken() -> None:
    """The rule was `isprintable`: texts registered under it stay valid."""
    printable = (chr(code) for code in range(sys.maxunicode + 1) if chr(code).isprintable())
    assert is_line("".join(printable))


_PARTS = st.text() | st.text("a\u05d0\u2066\u2067\u2068\u2069\u202e\U0001f3f4\U000e0061\U000e007f")


@given(_PARTS)
def test_escaped_text_is_a_line(text: str) -> None:
    assert is_line(escaped(text))
    assert is_line(text) == (escaped(text) == text)


@given(st.text(st.characters(categories=["Cc"])))
def test_a_control_character_is_in_no_line(text: str) -> None:
    assert is_line(text) == (not text)


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        ("", True),
        (" \u3000\u00a0", True),
        ("\u200d\u200b", True),
        ("\u200da", False),
        ("\u0378", False),
    ],
)
def test_a_text_without_anything_to_see_is_blank(text: str, blank: bool) -> None:
    assert is_blank(text) == blank
    assert unicodedata.category("\u0378") == "Cn"
