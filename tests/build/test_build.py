"""The output of `sam build`: complete, compiled for Lambda's Python, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local import template

if TYPE_CHECKING:
    from pathlib import Path

BUILD = template.TEMPLATE.parent / ".aws-sam" / "build"

PACKAGES = {
    "ApiFunction": {"api"},
    "DispatcherFunction": {"dispatcher"},
    "WorkerFunction": {"worker"},
    # It calls itself by its former name.
    "RetrierFunction": {"retrier", "worker"},
}
LAYERS = ["CoreLayer", "CryptographyLayer"]
ARTIFACTS = [*PACKAGES, *LAYERS]

UNCHECKED_HASH = (1).to_bytes(4, "little")
"""The flags of a compiled file that Python loads without a look at its source's time (PEP 552)."""

MAGIC_3_13 = (3571).to_bytes(2, "little") + b"\r\n"

MAX_LAYER_BYTES = 32 * 1024 * 1024
"""The wheels of one layer for both architectures. Lambda's own limit is 250 MB for a function
with all of its layers."""

pytestmark = pytest.mark.skipif(
    not (BUILD / "template.yaml").exists(), reason="nothing is built: run `make build`"
)


def sources(artifact: str) -> list[Path]:
    return sorted((BUILD / artifact).rglob("*.py"))


def test_the_template_has_every_resource() -> None:
    built = json.loads((BUILD / "template.yaml").read_text(encoding="utf-8"))
    assert built["Resources"].keys() == template.read()["Resources"].keys()


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_every_source_has_its_compiled_file_for_lambdas_python(artifact: str) -> None:
    assert sources(artifact)
    for source in sources(artifact):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert compiled.exists(), source
        head = compiled.read_bytes()[:8]
        assert head == MAGIC_3_13 + UNCHECKED_HASH, source


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_nothing_is_compiled_for_another_python_or_without_its_source(artifact: str) -> None:
    compiled = list((BUILD / artifact).rglob("*.pyc"))

    assert len(compiled) == len(sources(artifact))


@pytest.mark.parametrize(("function", "packages"), PACKAGES.items())
def test_a_function_holds_its_own_packages_only(function: str, packages: set[str]) -> None:
    assert {path.name for path in (BUILD / function).iterdir()} == packages


def test_the_api_brings_the_dashboards_files() -> None:
    source = template.TEMPLATE.parent / "functions" / "api" / "dashboard"
    built = BUILD / "ApiFunction" / "api" / "dashboard"

    names = {path.name for path in source.iterdir()}
    assert {"index.html", "app.js", "style.css"} <= names
    assert {path.name for path in built.iterdir()} == names


def test_the_layer_holds_the_code_and_libraries_but_not_boto3() -> None:
    names = {path.name for path in (BUILD / "CoreLayer" / "python").iterdir()}

    assert {"webhooks", "aws_lambda_powertools", "pydantic", "requests"} <= names
    assert not {"boto3", "botocore", "s3transfer", "bin", "cryptography", "cffi"} & names


def test_cryptography_is_in_a_layer_of_its_own() -> None:
    names = {path.name for path in (BUILD / "CryptographyLayer" / "python").iterdir()}

    assert {"cryptography", "cffi"} <= names
    # A package in two layers would come from the layer that is merged last.
    assert not names & {path.name for path in (BUILD / "CoreLayer" / "python").iterdir()}


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        ("CoreLayer", "_pydantic_core"),
        ("CryptographyLayer", "_cffi_backend"),
        ("CryptographyLayer", "_rust"),
    ],
)
def test_a_layer_serves_both_architectures(layer: str, module: str) -> None:
    libraries = list((BUILD / layer).rglob("*.so"))
    on_arm = {path.name for path in libraries if "-aarch64-" in path.name}
    on_x86 = {path.name for path in libraries if "-x86_64-" in path.name}

    assert any(name.startswith(f"{module}.cpython-313-") for name in on_arm)
    assert {name.replace("-aarch64-", "-x86_64-") for name in on_arm} == on_x86
    assert len(on_arm) + len(on_x86) == len(libraries)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_stays_small(layer: str) -> None:
    size = sum(path.stat().st_size for path in (BUILD / layer).rglob("*") if path.is_file())

    assert size < MAX_LAYER_BYTES
