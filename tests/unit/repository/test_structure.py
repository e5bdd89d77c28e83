"""The code's structure: modules are short, and imports have no cycle."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from local import modules
from support.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST_LINES = 400
ROOTS = ("layers/core", "functions", ".")
PACKAGES = ("layers/core/webhooks", "functions", "local", "cli", "ops")


def python_files() -> list[Path]:
    """Return the repository's modules, uncommitted ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def long_modules(files: list[Path]) -> list[str]:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return [f"{path}: {count} lines" for path, count in counts.items() if count > MOST_LINES]


def name_of(path: Path) -> str:
    """Return a module's name; for a package's `__init__.py` it is the package's."""
    root = next(root for root in ROOTS if (ROOT / root) in path.parents)
    parts = path.relative_to(ROOT / root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, str]:
    """Return the text of each module of the product, by its name."""
    return {
        name_of(path): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }


def run_at_import(nodes: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run as a module is imported: no function's, and no type's."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from run_at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            yield from run_at_import(getattr(node, field, []))


def imported_names(text: str) -> Iterator[str]:
    """Yield the modules that a module's import imports, each with the imported name."""
    for node in run_at_import(ast.parse(text).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def with_packages(name: str) -> Iterator[str]:
    """Yield a name and the packages that contain it."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules that each module imports, and the packages that run before those."""
    found: dict[str, set[str]] = {}
    for name, text in modules.items():
        named = {
            each if each in modules else each.rpartition(".")[0] for each in imported_names(text)
        }
        packages = {package for each in named for package in with_packages(each)}
        # The packages that contain a module have begun to run before it.
        found[name] = (named | packages - {*with_packages(name)}) & {*modules}
    return found


def layer_of(name: str) -> str:
    """Return a module's package, with all that is in it."""
    top, _, rest = name.partition(".")
    return f"{top}.{rest.partition('.')[0]}" if top == "webhooks" and rest else top


def layers(edges: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the packages that each package's modules import, for packages that are layers."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, imported in edges.items():
        found[layer_of(name)] |= {layer_of(each) for each in imported} - {layer_of(name)}
    return found


def cycle_in(edges: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def test_no_module_is_longer_than_it_may_be() -> None:
    files = python_files()
    assert len(files) > 400
    assert long_modules(files) == []


def test_a_module_that_is_too_long_is_seen(tmp_path: Path) -> None:
    short, long = tmp_path / "short.py", tmp_path / "long.py"
    short.write_text("x = 1\n" * MOST_LINES)
    long.write_text("x = 1\n" * (MOST_LINES + 1))
    assert long_modules([short, long]) == [f"{long}: {MOST_LINES + 1} lines"]


def test_no_module_is_imported_by_what_it_imports() -> None:
    edges = imports(sources())
    assert sum(map(len, edges.values())) > 500
    assert cycle_in(edges) == []


def test_no_package_is_imported_by_what_it_imports() -> None:
    edges = layers(imports(sources()))
    assert {"webhooks.domain", "webhooks.ports"} <= edges["webhooks.services"]
    assert cycle_in(edges) == []


@pytest.mark.parametrize(
    ("modules", "cyclic"),
    [
        ({"a": "import b", "b": "from a import name"}, True),
        ({"a": "import b", "b": "try:\n    import a\nexcept ImportError:\n    a = None"}, True),
        ({"a": "import b", "b": "import c", "c": "class C:\n    import a"}, True),
        ({"p": "from p import a", "p.a": "from p import name"}, True),
        ({"p": "import q.a", "q": "import p", "q.a": ""}, True),
        ({"a": "import b", "b": "if TYPE_CHECKING:\n    import a"}, False),
        ({"a": "import b", "b": "def f():\n    import a"}, False),
        ({"p": "from p import a", "p.a": "from p import b", "p.b": ""}, False),
        ({"a": "import b, json", "b": "from json import loads"}, False),
    ],
)
def test_a_cycle_is_seen(modules: dict[str, str], cyclic: bool) -> None:
    assert bool(cycle_in(imports(modules))) is cyclic


def test_a_cycle_of_packages_is_seen_where_their_modules_have_none() -> None:
    edges = imports(
        {
            "webhooks.domain.event": "",
            "webhooks.domain.ingest": "import webhooks.ports.clock",
            "webhooks.ports.clock": "import webhooks.domain.event",
        }
    )
    assert cycle_in(edges) == []
    assert {*cycle_in(layers(edges))} == {"webhooks.domain", "webhooks.ports"}


def test_the_page_of_modules_is_that_of_the_code() -> None:
    found = modules.PAGE.read_text(encoding="utf-8")
    assert found == modules.page(), "run python -m local.modules"


def own_milliseconds(text: str) -> list[int]:
    """Return the lines that write the milliseconds of a second anew, or a method for the time."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Assign | ast.BinOp | ast.FunctionDef):
            continue
        if isinstance(node, ast.Assign):
            names = {each.id for each in node.targets if isinstance(each, ast.Name)}
            written = any("MILLISECONDS" in name for name in names) and is_thousand(node.value)
        elif isinstance(node, ast.BinOp):
            scales = not isinstance(node.op, ast.Add | ast.Sub)
            written = scales and (is_thousand(node.left) or is_thousand(node.right))
        else:
            clocks = {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Call)}
            written = node.name in {"now_ms", "_now_ms"} and "self._clock()" in clocks
        if written:
            found.append(node.lineno)
    return found


def is_thousand(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in {1000, 1_000_000}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("_MILLISECONDS = 1000", True),
        ("int(clock() * 1000)", True),
        ("now_ns // 1_000_000", True),
        ("class A:\n    def _now_ms(self): return to_ms(self._clock())", True),
        ("to_ms(clock())", False),
        ("MOST = 1000", False),
        ("_FIRST_TIME_IN_MILLISECONDS = 1e11", False),
    ],
)
def test_milliseconds_of_its_own_are_seen(text: str, *, seen: bool) -> None:
    assert bool(own_milliseconds(text)) is seen


def test_milliseconds_are_defined_once() -> None:
    found = {name: lines for name, text in sources().items() if (lines := own_milliseconds(text))}
    assert [*found] == ["webhooks.domain.timestamps"]
    assert len(found["webhooks.domain.timestamps"]) == 1
