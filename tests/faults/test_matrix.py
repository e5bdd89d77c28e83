"""The matrix itself: no row without a test, and no test that the page does not name."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support import engines, seen, sightings

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


def test_the_page_says_what_each_row_was_seen_on() -> None:
    page, recorded = seen.PAGE.read_text(encoding="utf-8"), seen.recorded()
    assert [int(row) for row in recorded] == list(ROWS)
    # `make engines` writes both.
    assert seen.written(page, recorded) == page


def test_no_engine_is_the_only_proof_of_a_row() -> None:
    """Two engines have answered for each of AWS's services that a row's tests call."""
    alone = [
        (row, service, names)
        for row, kinds in seen.recorded().items()
        for service, names in kinds.items()
        if service != sightings.ELSE and len(names) < 2
    ]
    assert alone == []


def test_the_column_is_written_where_it_is_missing_and_where_it_is_out_of_date() -> None:
    before = "| Row | Fault | What comes of it | Tests |\n|---|---|---|---|\n| 7 | a | b | `c` |\n"
    row = {"sqs": ["elasticmq", "moto"], "else": ["process", "loopback"]}
    after = seen.written(before, {"7": row})
    assert after.splitlines()[2] == (
        "| 7 | a | b | moto, ElasticMQ, loopback, a killed process | `c` |"
    )
    assert seen.written(after, {"7": row}) == after
    assert "| 7 | a | b | the code alone | `c` |" in seen.written(after, {"7": {}})


def test_a_run_that_sees_less_or_more_than_is_written_down_fails() -> None:
    now = {"7": {"sqs": [engines.engine_of("sqs")], "else": ["loopback"]}}
    assert seen.differences(now, {"7": {**now["7"], "sqs": [*now["7"]["sqs"], "another"]}}) == []
    for before in ({}, {"else": ["loopback"]}, {**now["7"], "else": ["fakes"]}):
        [line] = seen.differences(now, {"7": before})
        assert line.startswith("Row 7 was seen on")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a test may be skipped")
def test_a_run_that_skips_a_rows_test_fails() -> None:
    config = SimpleNamespace(getoption=lambda _: "", args=["tests/faults"])
    session: Any = SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
    held = seen.Seen()
    held.pytest_testnodedown(SimpleNamespace(workeroutput={"skipped": ["56"]}))
    held.pytest_sessionfinish(session)
    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
