"""The bytes against Node.js itself, with any number of cases: `make fuzz CASES=1000000`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuzz.fuzzing import SEED, batches
from fuzz.node import Node
from support.json_texts import JsonTexts
from webhooks.domain.payload import parse, serialize

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with Node() as process:
        yield process


def ours(text: str) -> str | None:
    try:
        return serialize(parse(text)).decode()
    except ValueError:
        return None


def test_any_text_becomes_what_node_makes_of_it_and_then_stays(node: Node) -> None:
    source = JsonTexts(SEED)
    accepted = refused = 0
    for size in batches("serialize"):
        texts = [source.one() for _ in range(size)]
        bodies = [ours(text) for text in texts]
        expected = node.ask("restringify", texts)
        wrong = [case for case in zip(texts, bodies, expected, strict=True) if case[1] != case[2]]
        assert wrong == []
        kept = [body for body in bodies if body is not None]
        assert node.ask("restringify", kept) == kept
        accepted += len(kept)
        refused += size - len(kept)
    assert accepted > refused > 0


def test_the_texts_reach_every_rule_in_which_python_differs() -> None:
    source = JsonTexts(SEED)
    texts = "\n".join(source.one() for _ in range(1000))
    for piece in ("e+", "1.0", "-0", "\\ud83d", "4294967294", "__proto__", "\u2028", "\x7f"):
        assert piece in texts, piece


def test_node_detects_a_wrong_byte(node: Node) -> None:
    assert node.ask("restringify", ['{"1":1.0}', "[1e-7]", "nonsense"]) == [
        '{"1":1}',
        "[1e-7]",
        None,
    ]
