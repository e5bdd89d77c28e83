"""Receivers' status codes: how each is judged, and that one module judges them."""

from __future__ import annotations

import ast
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from support.stack import ROOT
from webhooks.domain import status_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PACKAGE = ROOT / "layers/core/webhooks"
JUDGE = PACKAGE / "domain/status_codes.py"
CODES = frozenset(range(100, 1000))
KNOWN_CODES = frozenset(status.value for status in HTTPStatus)


def failures_that_may_refuse(code: int | None) -> bool:
    return status_codes.may_refuse_signature(code, failing=True)


@pytest.mark.parametrize(
    ("predicate", "codes"),
    [
        (status_codes.is_success, range(200, 300)),
        (status_codes.is_gone, [410]),
        (status_codes.may_pause, [429, 503]),
        (status_codes.is_rate_limited, [429]),
        (status_codes.is_server_error, range(500, 1000)),
        (status_codes.is_strained, [None, 429, *range(500, 1000)]),
        (status_codes.blames_signature, [401, 403]),
        (
            status_codes.may_refuse_signature,
            {*range(400, 501)} - {408, 410, 413, 429},
        ),
        (failures_that_may_refuse, {*range(400, 500)} - {408, 410, 413, 429}),
        (status_codes.is_inconclusive, [None, 408, 429, 502, 503, 504]),
        (status_codes.is_from_parser, [400, 406, 415, 422]),
    ],
)
def test_a_judgement_holds_for_its_codes_and_no_others(
    predicate: Callable[[int | None], bool], codes: list[int | None]
) -> None:
    assert {code for code in [None, *CODES] if predicate(code)} == {*codes}


def test_every_1xx_but_101_is_followed_by_another_response() -> None:
    interim = {code for code in CODES if status_codes.is_interim(code)}
    assert interim == {*range(100, 200)} - {101}
    assert {code for code in CODES if status_codes.switches_protocols(code)} == {101}


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def numbers(node: ast.expr | ast.pattern) -> set[int]:
    """Return the status codes written in an expression or a pattern."""
    values = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return {code for code in KNOWN_CODES if code in values}


def judgements(text: str) -> Iterator[int]:
    """Yield the lines of a module that compare a status code, or define a set of them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            names = {name_of(each) for each in operands}
            against_none = any(
                isinstance(each, ast.Constant) and each.value is None for each in operands
            )
            compared = "status_code" in names and not against_none
            if compared or (names & {"status", "code"} and any(map(numbers, operands))):
                yield node.lineno
        elif isinstance(node, ast.Set | ast.List | ast.Tuple) and node.elts:
            values = [each.value for each in node.elts if isinstance(each, ast.Constant)]
            if len(values) == len(node.elts) > 1 and KNOWN_CODES.issuperset(values):
                yield node.lineno
        elif isinstance(node, ast.match_case) and numbers(node.pattern):
            yield node.pattern.lineno
        elif isinstance(node, ast.Name | ast.alias) and "HTTPStatus" in ast.unparse(node):
            yield node.lineno


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("outcome.status_code == 410", True),
        ("outcome.status_code == GONE", True),
        ("attempt.status_code in CODES", True),
        ("200 <= status < 300", True),
        ("GONE_TOO = frozenset({404, 410})", True),
        ("status in (401, 403)", True),
        ("from http import HTTPStatus", True),
        ("match status:\n    case 410: pass", True),
        ("outcome.status_code is None", False),
        ("delivery.status == Status.WAITING", False),
        ("is_gone(outcome.status_code)", False),
        ("count > 200", False),
        ("ports = {443, 8443}", False),
    ],
)
def test_a_judgement_elsewhere_is_seen(text: str, *, found: bool) -> None:
    assert bool([*judgements(text)]) is found


def test_no_other_module_judges_a_status_code() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if path != JUDGE]
    assert len(files) > 100
    assert {
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in judgements(path.read_text(encoding="utf-8"))
    } == set()
    assert [*judgements(JUDGE.read_text(encoding="utf-8"))]
