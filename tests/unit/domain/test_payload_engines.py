"""The bytes against JavaScript itself: V8 in this process, and one process of Node.js."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_mini_racer import MiniRacer

from support.json_texts import KEY_WITH_A_BACKSLASH
from webhooks.domain.payload import parse, serialize

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTRINGIFY = (
    "text => { try { return JSON.stringify(JSON.parse(text)) } catch { return 'refused' } }"
)

NUMBERS = (
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z")
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.integers().map(str)
)
ESCAPES = st.from_regex(r"\A\\(u[0-9a-fA-F]{4}|ud[89ab][0-9a-f]{2}|[\"\\/bfnrt])\Z")
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
STRINGS = st.lists(ESCAPES | CHARACTERS, max_size=12).map(lambda parts: f'"{"".join(parts)}"')
KEYS = STRINGS.filter(lambda key: not KEY_WITH_A_BACKSLASH.match(f"{key}:")) | st.from_regex(
    r'\A"(0|0?[1-9][0-9]{0,3}|42949672[0-9]{2})"\Z'
)
SPACES = st.sampled_from(["", "", " ", "\n", "\t\r"])


def _texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(KEYS, SPACES, inner).map(lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}")
    return st.lists(inner, max_size=6).map(lambda items: f"[{','.join(items)}]") | st.lists(
        members, max_size=8
    ).map(lambda items: f"{{{' , '.join(items)}}}")


JSON_TEXTS = st.recursive(
    NUMBERS | STRINGS | st.sampled_from(["true", "false", "null"]), _texts, max_leaves=25
)


@pytest.fixture(scope="module")
def v8() -> Iterator[MiniRacer]:
    with MiniRacer() as engine:
        engine.eval(f"const restringify = {RESTRINGIFY}")
        yield engine


def ours(text: str) -> str:
    try:
        return serialize(parse(text)).decode()
    except ValueError:
        return "refused"


@settings(max_examples=400, deadline=None)
@given(JSON_TEXTS)
def test_any_json_becomes_what_v8_makes_of_it(v8: MiniRacer, text: str) -> None:
    assert ours(text) == v8.call("restringify", text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:0123456789.-+eE\\untrefalsNI \n', max_size=30))
def test_what_is_not_json_is_refused_when_v8_refuses_it(v8: MiniRacer, text: str) -> None:
    assert ours(text) == v8.call("restringify", text)


@pytest.mark.node
def test_thousands_of_numbers_become_what_node_makes_of_them() -> None:
    chance = random.Random(20251221)  # noqa: S311
    doubles = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(4000)]
    doubles += [chance.uniform(1, 10) * 10.0 ** chance.randint(-12, 25) for _ in range(4000)]
    doubles += [sign * 10.0**power for sign in (1, -1) for power in range(-323, 309)]
    texts = [repr(double) for double in doubles if abs(double) <= 1.7976931348623157e308]
    texts += [str(chance.getrandbits(bits)) for bits in range(1, 1100)]
    program = (
        f"const restringify = {RESTRINGIFY};"
        "const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "process.stdout.write(JSON.stringify(texts.map(restringify)))"
    )
    answer = subprocess.run(
        ["node", "-e", program], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    assert [ours(text) for text in texts] == json.loads(answer.stdout)
