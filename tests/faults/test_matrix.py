"""The matrix itself: no row without a test, and no test that the page does not name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = range(1, 105)
_TEST = re.compile(r"test_row_([0-9]{2,3})_(\w+)")
_LINE = re.compile(r"\| ([0-9]+) \|.*\| (.*) \|")


def rows_with_tests() -> dict[int, set[str]]:
    """Return the names of the test functions in this directory, by the row that they name."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            match = _TEST.fullmatch(node.name) if isinstance(node, ast.FunctionDef) else None
            if match:
                found[int(match[1])].add(match[2])
    return dict(found)


def test_every_row_has_a_test_or_the_reason_why_not() -> None:
    unverified = (ROOT / "docs/unverified.md").read_text()
    reasons = {int(number) for number in re.findall(r"\brow ([0-9]+)\b", unverified)}
    assert sorted(set(ROWS) - {*rows_with_tests(), *reasons}) == []


def test_no_test_names_a_row_that_there_is_not() -> None:
    assert set(rows_with_tests()) <= set(ROWS)


def test_the_page_names_each_rows_tests() -> None:
    lines = (ROOT / "docs/faults.md").read_text().splitlines()
    matches = [match for match in map(_LINE.fullmatch, lines) if match]
    assert [int(match[1]) for match in matches] == list(ROWS)
    named = {int(match[1]): set(re.findall(r"`(\w+)`", match[2])) for match in matches}
    assert {row: names for row, names in named.items() if names} == rows_with_tests()
