"""The rules of an external id and of metadata."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.webhook_rules import (
    MAX_METADATA_BYTES,
    external_id_problems,
    metadata_problems,
)

UUID = "0199a5b0-0000-7000-8000-000000000000"


def broken(metadata: dict[str, str]) -> list[str]:
    return [problem.field for problem in metadata_problems(metadata)]


@pytest.mark.parametrize("external_id", ["a", "7", "x" * 128, "A-b_c.d:e@f", "-.a", UUID[1:]])
def test_an_external_id_is_letters_digits_and_five_characters(external_id: str) -> None:
    assert [*external_id_problems(external_id)] == []


@pytest.mark.parametrize(
    "external_id",
    ["", "x" * 129, "a b", "ä", "a/b", "a#b", "a\n", ".", "..", "-_:@", "a%41", "\ud800", "٣"],
)
def test_any_other_text_is_no_external_id(external_id: str) -> None:
    [problem] = external_id_problems(external_id)
    assert problem.field == "external_id"


@pytest.mark.parametrize("external_id", [UUID, UUID.upper()])
def test_a_uuid_is_no_external_id(external_id: str) -> None:
    [problem] = external_id_problems(external_id)
    assert "UUID" in problem.message


@given(st.text(max_size=130))
def test_what_is_taken_as_an_external_id_is_one_part_of_a_path(external_id: str) -> None:
    if not [*external_id_problems(external_id)]:
        assert re.fullmatch(r"[A-Za-z0-9_.:@-]{1,128}", external_id)
        assert external_id.strip(".")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"team": "billing"},
        {"k" * 40: "v" * 256},
        {"empty": ""},
        {"Ä ✉": "ä ✉"},
        {f"key-{number}": "x" for number in range(20)},
    ],
)
def test_metadata_is_texts_by_keys(metadata: dict[str, str]) -> None:
    assert broken(metadata) == []


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({"": "x"}, ["metadata."]),
        ({"k" * 41: "x"}, [f"metadata.{'k' * 41}"]),
        ({"a": "v" * 257, "b": "x", "c": "two\nlines"}, ["metadata.a", "metadata.c"]),
        ({"a\t": "x"}, ["metadata.a\t"]),
        ({"a": "\ud800"}, ["metadata.a"]),
        ({f"key-{number}": "x" for number in range(21)}, ["metadata"]),
    ],
)
def test_each_broken_rule_of_metadata_names_its_pair(
    metadata: dict[str, str], fields: list[str]
) -> None:
    assert broken(metadata) == fields


def test_metadata_is_measured_in_bytes_all_together() -> None:
    # 16 pairs of a key of one byte and a value of 255: 4,096 bytes, and then one more.
    full = {chr(97 + number): "v" * 255 for number in range(16)}
    assert sum(len(key) + len(value) for key, value in full.items()) == MAX_METADATA_BYTES
    assert broken(full) == []
    assert broken(full | {"a": "v" * 256}) == ["metadata"]
    assert broken(full | {"a": "v" * 254 + "ä"}) == ["metadata"]


def test_no_message_repeats_a_value() -> None:
    long = {"a": "canary" * 50, "b": "canary\n"}
    assert all("canary" not in problem.message for problem in metadata_problems(long))
