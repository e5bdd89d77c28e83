"""The bytes: every vector of the contract's JSON, and the rules one by one."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.payload import MAX_DEPTH, TooDeepError, parse, serialize

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "json_fidelity.json").read_text(encoding="utf-8")
)["vectors"]

REFUSED_THOUGH_NODE_MENDS_THEM = {
    "lone-high-raw-surrogatepass",
    "lone-low-raw-surrogatepass",
    "invalid-utf8",
    "latin1-bytes",
}
"""Bytes that are not UTF-8: Node.js reads U+FFFD there, we refuse such a message."""

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.from_regex(r"\A\d+\Z"), inner),
    max_leaves=20,
)


def expanded(form: dict[str, Any]) -> bytes:
    if "b64" in form:
        return base64.b64decode(form["b64"])
    if "text" in form:
        return str(form["text"]).encode()
    template = form["template"]
    count = template["count"]
    if "fill" in template:
        text = template["prefix"] + template["fill"] * count + template["suffix"]
    else:
        text = template["open"] * count + template["middle"] + template["close"] * count
    return str(text).encode()


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_every_vector_becomes_what_node_makes_of_it(vector: dict[str, Any]) -> None:
    text = expanded(vector["in"])
    if vector["id"] == "nested-obj-5000":
        with pytest.raises(TooDeepError):
            parse(text)
    elif vector["node"] is None or vector["id"] in REFUSED_THOUGH_NODE_MENDS_THEM:
        with pytest.raises(ValueError, match=r"."):
            parse(text)
    else:
        expected = text if vector["node"] == "same" else expanded(vector["node"])
        assert serialize(parse(text)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-0.0, b"0"),
        (100.0, b"100"),
        (1e15, b"1000000000000000"),
        (1e16, b"10000000000000000"),
        (1.2345678901234567e20, b"123456789012345670000"),
        (1e21, b"1e+21"),
        (1.5e300, b"1.5e+300"),
        (1e-6, b"0.000001"),
        (-1.5e-6, b"-0.0000015"),
        (1e-7, b"1e-7"),
        (-1.25e-9, b"-1.25e-9"),
        (5e-324, b"5e-324"),
        (2**53 + 1, b"9007199254740992"),
        (-(10**21), b"-1e+21"),
        (10**400, b"null"),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_a_number_is_written_as_javascript_writes_it(value: object, expected: bytes) -> None:
    assert serialize(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [1, math.nan]}])
def test_nan_and_infinities_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        serialize(value)


@pytest.mark.parametrize("value", [b"bytes", {1: "a"}, {"a": {1, 2}}, object()])
def test_a_value_that_is_not_json_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        serialize(value)


def test_array_indices_come_first_and_ascending_at_every_depth() -> None:
    value = {"b": {"10": 1, "x": 2, "9": 3}, "4294967295": 0, "4294967294": 1, "01": 2, "0": 3}
    assert serialize(value) == (
        b'{"0":3,"4294967294":1,"b":{"9":3,"10":1,"x":2},"4294967295":0,"01":2}'
    )


def test_surrogates_are_joined_where_they_pair_and_escaped_where_they_are_alone() -> None:
    assert serialize(["\ud83d\ude00", "\ud83d", "\ude00\ud83d"]) == (
        b'["\xf0\x9f\x98\x80","\\ud83d","\\ude00\\ud83d"]'
    )


def test_a_tuple_is_an_array() -> None:
    assert serialize({"a": (1, "b")}) == b'{"a":[1,"b"]}'


def test_a_value_of_any_depth_is_written() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    assert serialize(value) == b"[" * 100_000 + b"1" + b"]" * 100_000


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_the_depth_limit_is_the_same_in_every_interpreter(open_: str, close: str) -> None:
    deepest = open_ * MAX_DEPTH + "1" + close * MAX_DEPTH
    assert serialize(parse(deepest)) == deepest.encode()
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(TooDeepError):
            parse(open_ * depth + "1" + close * depth)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    text = "[" + ",".join(["[]"] * 1000) + ',"' + "[{" * 1000 + '"]'
    assert serialize(parse(text)) == text.encode()


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "-Infinity", "\ufeff{}", "", "01", "'a'", '"\x01"', "{} {}"]
)
def test_texts_that_json_parse_refuses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_number_past_the_largest_double_is_null_and_of_any_length() -> None:
    assert parse("[1e400,-1e400]") == [None, None]
    assert parse("9" * 100_000) is None
    assert serialize(parse("0." + "3" * 100_000)) == b"0.3333333333333333"


def test_one_number_written_in_two_ways_is_one_value() -> None:
    numbers = parse("[1, 1.0, 10e-1, 9007199254740993, 9007199254740992.0, -0]")
    assert repr(numbers) == "[1, 1, 1, 9007199254740992, 9007199254740992, 0]"


def test_of_a_repeated_key_the_last_value_counts_at_the_first_place() -> None:
    assert serialize(parse('{"a":1,"b":2,"a":3}')) == b'{"a":3,"b":2}'


# V8 itself gets no key with a backslash: `support.json_texts` gives the reason.
@given(st.text(st.sampled_from('\\"/una\n\x00\x7fé\ud83d\ude00')))
def test_a_key_is_escaped_as_the_same_text_is_as_a_value(text: str) -> None:
    assert serialize({text: 1}) == b"{%b:1}" % serialize(text)
    assert serialize({"0": 1, text: 1.5}) == b'{"0":1,%b:1.5}' % serialize(text)


@given(JSON_VALUES)
def test_serialised_text_never_changes_again(value: object) -> None:
    if _has_infinity(value):
        with pytest.raises(ValueError, match="not JSON"):
            serialize(value)
    else:
        body = serialize(value)
        assert serialize(parse(body)) == body


def _has_infinity(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, list):
        return any(map(_has_infinity, value))
    return isinstance(value, float) and math.isinf(value)
