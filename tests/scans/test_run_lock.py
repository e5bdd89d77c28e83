"""The lock of `make run`: small, complete, and from wheels alone on each platform of the README."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scans.scanning import ROOT, project_files

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ROOT / "requirements-run.lock"
UV_LOCK = ROOT / "requirements-uv.lock"
ENVIRONMENT = ROOT / ".venv-run"
PYTHON = ENVIRONMENT / "bin" / "python"
UV = Path(sys.executable).with_name("uv")
MOST_MEGABYTES = 150
OF_THE_TESTS = ("hypothesis", "mypy", "pytest")
"""Packages that `.venv-run` does not have."""

OWN_PACKAGES = {path.name for path in (ROOT / "functions").iterdir() if path.is_dir()} | {
    "webhooks",
    *(path.parent.name for path in ROOT.glob("*/__init__.py")),
}
PLATFORMS = (
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "aarch64-manylinux2014",
    "x86_64-manylinux2014",
    "aarch64-unknown-linux-musl",
    "x86_64-unknown-linux-musl",
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run_in_it(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PYTHON.exists(), "there is no .venv-run: make scan sets it up"
    return subprocess.run(
        [str(PYTHON), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"functions{os.pathsep}layers/core"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def commands() -> list[str]:
    """Return the modules that the Makefile runs in `.venv-run`, and the command line."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    [command_line] = re.findall(r"^alias webhooks='\.venv-run/bin/python -m (\S+)'$", page, re.M)
    return [*re.findall(r"\$\(RUN\) -m (\S+)", makefile), command_line]


def sources() -> list[str]:
    """Return the texts of the modules that these commands can load."""
    places = {f"{module.split('.')[0]}/" for module in commands()} | {"functions/", "layers/"}
    found = [path for path in project_files() if path.endswith(".py")]
    return [
        (ROOT / path).read_text(encoding="utf-8") for path in found if path.startswith((*places,))
    ]


def loaded(node: ast.AST) -> Iterator[str]:
    """Yield each import of a module at any time, except for types alone: `package.module`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield str(child.module)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        else:
            yield from loaded(child)


def others_modules() -> set[str]:
    """Return the third-party modules that the commands' sources import."""
    names = {name for text in sources() for name in loaded(ast.parse(text))}
    ours = OWN_PACKAGES | sys.stdlib_module_names
    return {name for name in names if name.partition(".")[0] not in ours}


def missing(names: set[str]) -> list[str]:
    """Return the modules that `.venv-run` cannot import."""
    script = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        print(name)
"""
    done = run_in_it("-c", script, *sorted(names))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_it_has_every_module_that_a_command_imports() -> None:
    names = others_modules()
    assert names >= {"boto3", "moto.awslambda.models", "samtranslator.parser.parser"}
    assert missing(names) == []


def test_a_module_that_it_lacks_would_be_noticed() -> None:
    assert missing({"boto3", *OF_THE_TESTS}) == list(OF_THE_TESTS)


def test_every_command_of_the_makefile_loads_in_it() -> None:
    modules = commands()
    assert len(modules) >= 8
    for module in modules:
        done = run_in_it("-c", f"import {module}")
        assert done.returncode == 0, done.stderr


def test_the_demo_succeeds_in_it() -> None:
    demo = next(module for module in commands() if module.endswith(".demo"))
    done = run_in_it("-m", demo)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_small() -> None:
    """Compiled modules included; each file counts in whole blocks, as `du` counts."""
    files = [path.lstat() for path in ENVIRONMENT.rglob("*")]
    megabytes = sum(file.st_blocks * 512 for file in files) / 2**20
    assert 50 < megabytes < MOST_MEGABYTES


def without_a_wheel(*locks: Path, platform: str, python: str, nowhere: Path) -> str:
    """Return a package of the locks that has no wheel there; skips if the registry is away."""
    there = ["--python-platform", platform, "--python-version", python, "--target", str(nowhere)]
    done = subprocess.run(
        [
            *(str(UV), "pip", "install", "--dry-run", "--no-deps", "--only-binary", ":all:"),
            *there,
            *(f"--requirements={lock}" for lock in locks),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Because (\S+) has no (?:usable )?wheels", done.stderr)
    if found is None and done.returncode:
        pytest.skip(f"the package registry cannot be asked: {done.stderr}")
    return found[1] if found else ""


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_it_installs_from_wheels_alone(platform: str, python: str, tmp_path: Path) -> None:
    assert not without_a_wheel(LOCK, UV_LOCK, platform=platform, python=python, nowhere=tmp_path)


def test_a_package_without_a_wheel_would_be_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("cryptography==50.0.2\n", encoding="utf-8")
    found = without_a_wheel(lock, platform="x86_64-apple-darwin", python="3.13", nowhere=tmp_path)
    assert found == "cryptography==50.0.2"
