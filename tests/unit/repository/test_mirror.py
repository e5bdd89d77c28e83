"""Tests have the places and the names of the modules that they test, where a reader looks."""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePath

import pytest

from support.stack import ROOT

UNIT = ROOT / "tests" / "unit"
SUPPORT = ROOT / "tests" / "support"
CORE = PurePath("layers/core/webhooks")
OUTSIDE_CORE = {"benchmarks", "cli", "functions", "local", "ops"}
USE = re.compile(
    r"^ *from support import (\([^)]*\)|.*)"
    r"|^ *(?:from|import) support\.(\w+)"
    r'|"tests\.support\.(\w+)',
    re.MULTILINE,
)
OF_DOCUMENTS = "repository"
"""The folder of the tests of documents and of the repository itself, which mirrors no package."""


def package_of(folder: PurePath) -> PurePath:
    """Return the package, from the root, whose modules the tests in a folder of `unit` test."""
    top = folder.parts[0] if folder.parts else ""
    if top in OUTSIDE_CORE:
        return folder
    return PurePath("tests") / folder if top == SUPPORT.name else CORE / folder


def modules(package: Path) -> set[str]:
    """Return the names of a package's modules and of the packages in it."""
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    return {path.stem for path in package.glob("*.py")} - {"__init__"} | packages


def module_of(test: str, named: set[str]) -> str | None:
    """Return the module with the longest name that a test's file begins with."""
    name = test.removeprefix("test_")
    found = [one for one in named if name == one or name.startswith(f"{one}_")]
    return max(found, key=len, default=None)


def strays(unit: Path, root: Path) -> list[str]:
    """Return the files of unit tests that name no module of the package that they mirror."""
    found = []
    for path in sorted(unit.rglob("test_*.py")):
        folder = path.parent.relative_to(unit)
        if folder.parts[:1] == (OF_DOCUMENTS,):
            continue
        package = package_of(folder)
        if module_of(path.stem, modules(root / package)) is None:
            found.append(f"{path.relative_to(unit)} names no module of {package}")
    return found


def supports(path: Path) -> set[str]:
    """Return the modules of `tests/support` that a file imports or runs; the fakes are one."""
    found: set[str] = set()
    for names, module, program in USE.findall(path.read_text(encoding="utf-8")):
        found |= {module or program, *re.findall(r"(?<!as )\b\w+", names)}
    return found


def suites(root: Path) -> dict[str, set[str]]:
    """Return the suites that reach each module of `tests/support`, through others of it too."""
    reached: dict[str, set[str]] = {name: set() for name in modules(root / "tests" / SUPPORT.name)}
    within: dict[str, set[str]] = {name: set() for name in reached}
    for path in [*(root / "tests").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]:
        parts = path.relative_to(root).parts
        for name in supports(path) & {*reached}:
            if parts[:2] == ("tests", SUPPORT.name):
                within[name].add(Path(parts[2]).stem)
            else:
                reached[name].add(parts[0] if parts[0] != "tests" else parts[1])
    for _ in reached:
        for name, users in within.items():
            reached[name] |= {suite for user in users for suite in reached.get(user, set())}
    return reached


def test_every_unit_test_names_a_module_of_the_package_that_it_mirrors() -> None:
    assert len(list(UNIT.rglob("test_*.py"))) > 100
    assert strays(UNIT, ROOT) == []


@pytest.mark.parametrize(
    ("test", "is_stray"),
    [
        ("services/dispatch/test_fair_queueing.py", False),
        ("services/dispatch/test_fair_queueing_settles.py", False),
        ("services/test_dispatch.py", False),
        ("services/test_fair_queueing.py", True),
        ("services/dispatch/test_fair.py", True),
        ("services/dispatch/test_fair_queueings.py", True),
        ("ops/test_redrive.py", False),
        ("test_redrive.py", True),
        ("repository/test_anything.py", False),
    ],
)
def test_a_stray_is_seen(tmp_path: Path, test: str, is_stray: bool) -> None:
    dispatch = tmp_path / CORE / "services" / "dispatch"
    for module in (
        dispatch / "__init__.py",
        dispatch / "fair_queueing.py",
        tmp_path / "ops/redrive.py",
    ):
        module.parent.mkdir(parents=True, exist_ok=True)
        module.touch()
    path = tmp_path / "tests" / "unit" / test
    path.parent.mkdir(parents=True)
    path.touch()
    assert bool(strays(tmp_path / "tests" / "unit", tmp_path)) is is_stray


def test_the_integration_tests_are_in_folders_by_subject() -> None:
    assert list((ROOT / "tests" / "integration").glob("test_*.py")) == []


def test_support_that_one_suite_uses_stands_beside_it() -> None:
    reached = suites(ROOT)
    assert len(reached) > 20
    # What the tests' own conftest imports is of every suite.
    assert {
        name: users
        for name, users in reached.items()
        if len(users) < 2 and users != {"conftest.py"}
    } == {}


def test_support_of_one_suite_is_seen(tmp_path: Path) -> None:
    for name, text in {
        "tests/support/shared.py": "",
        "tests/support/lonely.py": "",
        "tests/support/between.py": "from support import shared\nfrom support.lonely import name",
        "tests/unit/test_a.py": "from support.between import name\nimport support as shared",
        "tests/faults/test_b.py": "if 1:\n    from support import (\n        shared as s,\n    )",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert suites(tmp_path) == {
        "shared": {"unit", "faults"},
        "lonely": {"unit"},
        "between": {"unit"},
    }


def test_support_imports_nothing_of_a_suite() -> None:
    names = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")} - {SUPPORT.name}
    found = [
        f"{path.name} imports {node.module}"
        for path in SUPPORT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in names
    ]
    assert found == []
