"""The words in owners' and operators' texts are the field's, and stay so; so do names of code."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

import cli
import local
import ops
import webhooks
from cli import commands
from local import template
from retrier.handler import Unavailable as FormerlyUnavailable
from support.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

FALLEN = re.compile(
    r"""
      \banswer(s|ed|ing)?\b                   # a response, or to return
    | answer_too_large
    | \bswitch(es|ed|ing)?\b.{0,16}\b(on|off)\b   # to enable, to disable
    | \b(is|are|was|were|be)\ off\b
    | ^Off$ | \boff,
    | \binactive\b                            # disabled
    | \bput(s|ting)?\ by\b | \bPutBy\b        # deferred
    | \bbesides\b | \bfor\ want\ of\b | \bcomes?\ to\ an?\b
    | \b(some|no)body\b | \bwhoever\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Words that are not the field's."""

FALLEN_IN_PROSE = re.compile(
    r"\banswer_too_large\b|\bswitch(es|ed|ing)? (it |them |the webhook )?(on|off)\b|\bputs? by\b"
    r"|\bPutBy\b|\binactive\b|\bwebhook (that )?is off\b|\*\*off\*\*",
    re.IGNORECASE,
)
"""Words that no page uses, though a person may still answer a question there."""

ODD_NAMES = re.compile(
    r"What|Whether|Whoever|Somebody|Nobody|Everything|GoOn|Tell|Keep[A-Z]|^An?[A-Z]"
)
"""Forbidden parts of a logical id or a statement's Sid: it is a noun, or a verb and a noun."""

LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
COMMENT = re.compile(r"/\*.*?\*/|(?:^|\s)//[^\n]*", re.DOTALL)

FUNCTIONS = [path.parent.name for path in (ROOT / "functions").glob("*/handler.py")]
PACKAGES = (webhooks, local, ops, cli, *map(importlib.import_module, FUNCTIONS))


def strings(value: object) -> Iterator[str]:
    """Yield each text of a JSON value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield str(name)
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def document_texts() -> list[str]:
    return [*strings(json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")))]


def template_texts() -> list[str]:
    return [*strings(template.read())]


def dashboard_texts() -> list[str]:
    """Return the literals of the dashboard's modules that are words, and no class or attribute."""
    found: list[str] = []
    for path in sorted((ROOT / "functions" / "api" / "dashboard").glob("*.js")):
        code = COMMENT.sub(" ", path.read_text(encoding="utf-8"))
        for plain, templated in LITERAL.findall(code):
            text = re.sub(r"\$\{.*?\}", "", plain or templated)
            if re.match(r"[A-Z]", text) or " " in text:
                found.append(text)
    return found


def help_texts() -> list[str]:
    def texts(parser: argparse.ArgumentParser) -> Iterator[str]:
        yield parser.format_help()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for each in action.choices.values():
                    yield from texts(each)

    return [*texts(commands.parser())]


def code_texts(*patterns: str) -> list[str]:
    """Return the texts of Python files, without their docstrings."""
    found: list[str] = []
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in said
        ]
    return found


TEXTS: Mapping[str, Callable[[], list[str]]] = {
    "the OpenAPI document": document_texts,
    "the template": template_texts,
    "the dashboard": dashboard_texts,
    "the command line's help": help_texts,
    "what the command line prints": lambda: code_texts("cli/*.py"),
    "errors": lambda: code_texts("functions/api/errors.py", "functions/api/requests.py"),
    "reports of checks": lambda: code_texts("layers/core/webhooks/domain/jobs/check.py"),
    "rules of input": lambda: code_texts("layers/core/webhooks/domain/**/*.py"),
    "the demo's receiver": lambda: code_texts("local/receiver.py", "local/demo.py"),
}


@pytest.mark.parametrize("source", TEXTS)
def test_what_owners_and_operators_read_is_in_the_fields_words(source: str) -> None:
    texts = TEXTS[source]()
    assert len(texts) >= 10
    assert [text for text in texts if FALLEN.search(text)] == []


@pytest.mark.parametrize(
    "text",
    ["The server answered 410.", "Switch the webhook on first", "Off", "a webhook is off", "PutBy"],
)
def test_a_fallen_word_is_seen(text: str) -> None:
    assert FALLEN.search(text)


def test_pages_say_disabled_and_deferred() -> None:
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 40
    assert [
        (page.name, found[0])
        for page in pages
        if (found := FALLEN_IN_PROSE.search(page.read_text(encoding="utf-8")))
    ] == []


def test_names_that_are_read_in_the_console_are_nouns_or_verb_and_object() -> None:
    made = template.read()
    sids = [
        statement["Sid"]
        for resource in made["Resources"].values()
        for statement in statements(resource.get("Properties", {}))
    ]
    assert len(sids) > 30
    names = [*made["Resources"], *made["Rules"], *made["Conditions"], *made["Outputs"], *sids]
    assert [name for name in names if ODD_NAMES.search(name)] == []


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every statement with a Sid, at any depth, in an `Fn::If` too."""
    if isinstance(value, dict):
        if "Sid" in value:
            yield value
        for each in value.values():
            yield from statements(each)
    elif isinstance(value, list):
        for each in value:
            yield from statements(each)


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def own_classes() -> set[type]:
    return {
        found
        for package in PACKAGES
        for module in modules_of(package)
        for _, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__
    }


def test_every_exception_ends_in_error_and_no_other_class_does() -> None:
    classes = own_classes()
    exceptions = {found for found in classes if issubclass(found, BaseException)}
    assert len(exceptions) > 25
    unnamed = [found for found in exceptions if not found.__name__.endswith("Error")]
    assert unnamed == [FormerlyUnavailable]
    assert [found for found in classes - exceptions if found.__name__.endswith("Error")] == []


def test_no_enum_is_named_as_an_exception() -> None:
    enums = {found for found in own_classes() if issubclass(found, Enum)}
    assert len(enums) > 10
    assert [found for found in enums if found.__name__.endswith("Error")] == []
