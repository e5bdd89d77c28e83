"""The list of limits has the numbers of the code and the template, and all of them."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, get_args

import annotated_types
import pytest

from local import template
from support.stack import ROOT
from webhooks.domain.retry import parse_schedule

SOURCES = (ROOT / "functions", ROOT / "layers" / "core")
INTERNAL = {"_MAX_EXACT", "_MAX_ARRAY_INDEX", "_MAX_FIELD_LENGTH"}
"""Facts of JavaScript, and the cut of an error's text: no user can meet these limits."""


class Row(NamedTuple):
    """A row of the page's tables."""

    value: str
    range: str
    source: str


@cache
def declared() -> dict[str, Any]:
    return template.read()


def rows() -> list[Row]:
    found = []
    for line in (ROOT / "docs" / "limits.md").read_text(encoding="utf-8").splitlines():
        cells = [part.strip() for part in line.strip("|").split("|")]
        if line.startswith("|") and (source := re.fullmatch(r"`([^`]+)`", cells[-1])):
            found.append(Row(cells[1], cells[2], source[1]))
    return found


def numbers(text: str) -> list[float]:
    """Return the numbers of a cell, without commas of thousands and without explanations."""
    bare = re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", text.partition("(")[0])
    return [float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", bare)]


def of_template(name: str) -> list[float]:
    if name in declared()["Parameters"]:
        default = declared()["Parameters"][name]["Default"]
        return [float(part) for part in str(default).split(",")]
    resource, *path = name.split(".")
    value = declared()["Resources"][resource]["Properties"]
    for part in path:
        value = value[part]
    return [float(value)]


def of_code(name: str) -> list[float]:
    module, _, constant = name.rpartition(".")
    value = getattr(import_module(module), constant)
    if isinstance(value, re.Pattern):
        accepted = [length for length in range(1, 1000) if value.fullmatch("a" * length)]
        assert accepted == list(range(1, len(accepted) + 1))
        return [len(accepted)]
    if inspect.isfunction(value):
        return [inspect.signature(value).parameters["limit"].default]
    if arguments := get_args(value):
        [bound] = [m for m in arguments[1].metadata if isinstance(m, annotated_types.Le)]
        at_most: Any = bound.le
        return [float(at_most)]
    return [float(value)]


def constants() -> set[str]:
    """Return the full names of the code's constants whose names mark a greatest or a least."""
    found = set()
    for source in SOURCES:
        for path in source.rglob("*.py"):
            module = ".".join(path.relative_to(source).with_suffix("").parts)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else []
                names = [target.id for target in targets if isinstance(target, ast.Name)]
                found |= {f"{module}.{n}" for n in names if re.match(r"_?(MAX|MIN)_", n)}
    return {name for name in found if name.rpartition(".")[2] not in INTERNAL}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.source)
def test_the_page_has_the_number_of_its_source(row: Row) -> None:
    in_template, _, name = row.source.rpartition(":")
    assert numbers(row.value) == (of_template(name) if in_template else of_code(name))


def test_the_page_has_the_range_of_each_numeric_parameter() -> None:
    told = {row.source.removeprefix("template:"): row.range for row in rows()}
    parameters = declared()["Parameters"]
    numeric = {n: p for n, p in parameters.items() if p["Type"] == "Number" and "MinValue" in p}
    assert numeric
    for name, parameter in numeric.items():
        assert numbers(told[name]) == [parameter["MinValue"], parameter["MaxValue"]], name


def test_the_page_has_the_bounds_of_a_schedule() -> None:
    [told] = [row.range for row in rows() if row.source == "template:RetrySchedule"]
    fewest, most, shortest, longest = map(int, numbers(told))
    assert parse_schedule(",".join([str(longest)] * most)) == (longest,) * most
    assert parse_schedule(",".join([str(shortest)] * fewest)) == (shortest,) * fewest
    for refused in ("1," * most + "1", "", str(longest + 1), "-1"):
        with pytest.raises(ValueError, match="the schedule"):
            parse_schedule(refused)


def test_no_parameter_that_is_a_number_is_missing_from_the_page() -> None:
    told = {row.source for row in rows()}
    parameters = declared()["Parameters"]
    numeric = {
        f"template:{name}"
        for name, parameter in parameters.items()
        if parameter["Type"] == "Number" or str(parameter.get("Default", "")).count(",")
    }
    assert "template:RetrySchedule" in numeric
    assert numeric <= told


def test_no_limit_of_the_code_is_missing_from_the_page() -> None:
    found = constants()
    assert "webhooks.domain.event.MAX_BODY_BYTES" in found
    # A replay's step and a list's call examine items up to the same bound.
    assert found - {row.source for row in rows()} <= {
        "webhooks.adapters.dynamodb.delivery_reader._MAX_EXAMINED"
    }


def test_each_limit_is_listed_once() -> None:
    sources = [row.source for row in rows()]
    assert len(sources) > 50
    assert len(set(sources)) == len(sources)
