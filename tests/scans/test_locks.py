"""The locks: every package pinned and hashed, and the deployed ones under a licence we may use."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from importlib.metadata import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from scans.scanning import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LAYER = "layers/core/requirements.txt"
LAYERS = {LAYER: 10, "layers/cryptography/requirements.txt": 2}
RUN = "requirements-run.lock"
DEV = "requirements-dev.lock"
FLOORS = {
    **LAYERS,
    RUN: 40,
    DEV: 80,
    "requirements-uv.lock": 1,
    "requirements-sam.lock": 50,
    "requirements-checkov.lock": 80,
    "requirements-ministack.lock": 20,
}
"""Each lock and how many packages it holds at least."""

OLDER_ON_INTEL_MACS = {"cryptography", "lazy-object-proxy"}
"""Packages with an older version there, by pyproject.toml: newer ones have no wheels for them."""

ALLOWED_LICENCES = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "MIT",
    "MIT-0",
    # Python's own, as permissive as the others.
    "PSF-2.0",
    # certifi's list of authorities. It asks for the source of changes to its files; we make none.
    "MPL-2.0",
}
NPM_LOCKS = [ROOT / "tests" / name / "package-lock.json" for name in ("e2e/node", "frameworks")]

_PIN = re.compile(r"(?P<name>[a-z0-9-]+)(\[[a-z0-9, -]+\])?==(?P<version>[0-9][\w.+!-]*)( ; .+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_CLASSIFIERS = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: MIT No Attribution License (MIT-0)": "MIT-0",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
_SPELLINGS = {"Apache License 2.0": "Apache-2.0", "BSD": "BSD-3-Clause", "MIT license": "MIT"}
_MANY = "Dual License"
"""The text of python-dateutil's older field; its classifiers name both."""


class Pin(NamedTuple):
    """One package of a lock."""

    name: str
    version: str


def pins(text: str) -> list[Pin]:
    """Return a lock's packages; AssertionError for a package that is not pinned or not hashed."""
    found = []
    without_comments = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)
    for requirement in filter(None, without_comments.replace("\\\n", " ").splitlines()):
        specifier, *hashes = re.split(r"\s+(?=--hash)", requirement.strip())
        match = _PIN.fullmatch(specifier.strip())
        assert match, f"{requirement[:80]} is not pinned"
        assert hashes, f"{specifier} has no hash"
        assert all(map(_HASH.fullmatch, hashes)), f"{specifier} has another hash than SHA-256"
        found.append(Pin(match["name"], match["version"]))
    return found


def licences(name: str) -> set[str]:
    """Return the licences in a package's metadata: an expression, or older fields."""
    described = metadata(name)
    expression = described["License-Expression"] or described["License"]
    named = set(re.split(r" (?:AND|OR|WITH) ", expression.strip("()"))) if expression else set()
    classifiers = described.get_all("Classifier") or []
    return {_SPELLINGS.get(one, one) for one in named - {_MANY}} | {
        _CLASSIFIERS.get(one, one) for one in classifiers if one.startswith("License :: ")
    }


@pytest.mark.parametrize("lock", FLOORS)
def test_every_package_of_a_lock_is_pinned_and_hashed(lock: str) -> None:
    assert len(pins((ROOT / lock).read_text(encoding="utf-8"))) >= FLOORS[lock]


@pytest.mark.parametrize(
    "line",
    [
        "requests>=2",
        "requests",
        "requests==2.34.2",
        "requests==2.34.2 --hash=md5:0123456789abcdef0123456789abcdef",
        "requests==2.* --hash=sha256:" + "0" * 64,
        "requests @ https://example.com/requests.whl --hash=sha256:" + "0" * 64,
        "-e ../requests",
        "--extra-index-url https://example.com/simple",
    ],
)
def test_a_requirement_that_could_change_is_noticed(line: str) -> None:
    good = "idna==3.20 --hash=sha256:" + "0" * 64
    assert pins(good) == [Pin("idna", "3.20")]
    with pytest.raises(AssertionError):
        pins(f"{good}\n{line}\n")


@pytest.mark.parametrize("lock", FLOORS)
def test_a_lock_names_the_command_that_makes_lock_runs(lock: str) -> None:
    """Renovate runs it again; `make lock` adds only what uv leaves out of the header."""
    _, header, *_ = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    command = header.removeprefix("#    uv pip compile ").split()
    [*_, source, output] = command
    assert output == f"--output-file={lock}"
    assert (ROOT / source).is_file()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [line] = [line for line in makefile.splitlines() if line.endswith(output)]
    general = {"--generate-hashes", "--universal", "--python-platform=aarch64-manylinux2014"}
    given = [word for word in line.partition("LOCK")[2].split()[1:] if word.startswith("--")]
    assert [word for word in command[:-2] if word not in general] == given[:-1]


def test_every_lock_in_the_project_is_looked_at() -> None:
    found = {str(path.relative_to(ROOT)) for path in ROOT.glob("requirements*")}
    found = {path for path in found if not path.endswith(".in")}
    of_layers = {str(path.relative_to(ROOT)) for path in ROOT.glob("layers/*/requirements*")}
    of_layers = {path for path in of_layers if not path.endswith(".in")}
    assert of_layers == set(LAYERS)
    assert found | of_layers == set(FLOORS)


def test_the_layer_holds_what_is_declared() -> None:
    layer = pins((ROOT / LAYER).read_text(encoding="utf-8"))
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {pin.name for pin in layer} >= set(declared["dependencies"])


@pytest.mark.parametrize("lock", LAYERS)
def test_a_layer_holds_the_versions_that_are_tested(lock: str) -> None:
    for pin in pins((ROOT / lock).read_text(encoding="utf-8")):
        assert metadata(pin.name)["Version"] == pin.version, f"{pin.name} is tested in another"


@pytest.mark.parametrize("lock", [*LAYERS, RUN])
def test_what_is_deployed_or_run_is_under_an_allowed_licence(lock: str) -> None:
    for pin in pins((ROOT / lock).read_text(encoding="utf-8")):
        found = licences(pin.name)
        assert found, f"{pin.name} states no licence"
        assert found <= ALLOWED_LICENCES, f"{pin.name} is under {found}"


@pytest.mark.parametrize("lock", [*LAYERS, RUN, "requirements-uv.lock"])
def test_a_lock_has_the_versions_of_the_tests_lock(lock: str) -> None:
    tested = pins((ROOT / DEV).read_text(encoding="utf-8"))
    assert set(pins((ROOT / lock).read_text(encoding="utf-8"))) <= set(tested)


def test_only_intel_macs_have_versions_of_their_own() -> None:
    names = Counter(pin.name for pin in pins((ROOT / RUN).read_text(encoding="utf-8")))
    assert {name for name, count in names.items() if count > 1} == OLDER_ON_INTEL_MACS


def test_a_licence_that_is_not_allowed_would_be_noticed() -> None:
    # Licences such as chardet's are not in the layer; the tests' packages have other licences too.
    assert not licences("hypothesis") <= ALLOWED_LICENCES - {"MPL-2.0"}


def npm_packages(path: Path) -> dict[str, dict[str, Any]]:
    lock = json.loads(path.read_text(encoding="utf-8"))
    assert lock["lockfileVersion"] >= 2
    packages: dict[str, dict[str, Any]] = lock["packages"]
    return packages


@pytest.mark.parametrize("path", NPM_LOCKS, ids=str)
def test_every_npm_package_is_pinned_and_hashed(path: Path) -> None:
    assert '"resolved"' not in path.read_text(encoding="utf-8")
    packages = npm_packages(path)
    root = packages.pop("")
    assert len(packages) > 60
    for name, package in packages.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), name
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package["integrity"]), name
        assert "link" not in package, name
    manifest = json.loads(path.with_name("package.json").read_text(encoding="utf-8"))
    assert manifest["devDependencies"] == root["devDependencies"]
    for name, version in manifest["devDependencies"].items():
        assert re.fullmatch(r"(npm:[a-z0-9]+@)?\d+\.\d+\.\d+", version), name
        assert f"node_modules/{name}" in packages


@pytest.mark.parametrize("path", NPM_LOCKS, ids=str)
def test_no_npm_package_runs_a_script_when_it_is_installed(path: Path) -> None:
    """Optional packages are left out, and `npm ci --ignore-scripts` would run no script either."""
    packages = npm_packages(path).items()
    assert [
        name for name, one in packages if one.get("hasInstallScript") and not one.get("optional")
    ] == []
