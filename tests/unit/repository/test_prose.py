"""Plain English in docstrings, comments and pages: how often turns that slow a reader down occur.

Rates are for 1,000 words. A page or a module may have one where it is the plainest wording.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

import pytest

from support.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CODE = ("layers", "functions", "local", "ops", "cli", "benchmarks", "tests")
PAGES = ("docs", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")

TURNS = {
    # A clause in place of a noun: "what was sent" for "the request".
    "free relative": (re.compile(r"(?:^|[.,;:] |\()what \w+", re.IGNORECASE | re.MULTILINE), 1.0),
    "one that": (re.compile(r"\b(?:one|ones|those) (?:that|which|who)\b", re.IGNORECASE), 0.3),
    "told": (re.compile(r"\b(?:(?:is|are|be|was) told|tells?)\b", re.IGNORECASE), 0.3),
}
WORD = re.compile(r"[A-Za-z']+")
DIRECTIVE = re.compile(r"#\s*(?:noqa|type|pragma)")
QUOTED = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def prose_of(text: str) -> Iterator[str]:
    """Yield a module's docstrings, the strings under its constants, and its comments."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(prose))):
                yield re.sub(r"^ +", "", prose, flags=re.MULTILINE)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not DIRECTIVE.match(token.string):
            yield token.string.lstrip("# ") + "."


def read_prose(paths: tuple[str, ...], suffix: str) -> str:
    texts: list[str] = []
    for name in paths:
        base = ROOT / name
        files: list[Path] = sorted(base.rglob(f"*{suffix}")) if base.is_dir() else [base]
        for path in files:
            if "node_modules" in path.parts or not path.exists():
                continue
            text = path.read_text(encoding="utf-8")
            texts += prose_of(text) if suffix == ".py" else [text]
    return QUOTED.sub("X", "\n".join(texts))


def rates(text: str) -> dict[str, float]:
    words = len(WORD.findall(text))
    return {name: len(turn.findall(text)) * 1000 / words for name, (turn, _) in TURNS.items()}


@pytest.mark.parametrize(("paths", "suffix"), [(CODE, ".py"), (PAGES, ".md")])
def test_the_project_speaks_plainly(paths: tuple[str, ...], suffix: str) -> None:
    text = read_prose(paths, suffix)
    assert len(WORD.findall(text)) > 10_000
    found = rates(text)
    above = {name: round(found[name], 2) for name, (_, most) in TURNS.items() if found[name] > most}
    assert above == {}, "reword: subject first, a noun in place of the clause"


def test_the_turns_are_counted() -> None:
    text = "\n".join(prose_of('"""What was sent."""\nx = 1  # one that is told\n'))
    assert rates(text) == {"free relative": 1000 / 7, "one that": 1000 / 7, "told": 1000 / 7}
