"""checkov and cfn-lint on the template as CloudFormation runs it, for each pair of conditions."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scans.scanning import ROOT, Finding, assert_clean
from support import condition_keys, condition_sets
from support.rendering import CHINA, COMMERCIAL, GOVCLOUD, reduced

if TYPE_CHECKING:
    from support.rendering import Place

CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
CFN_LINT = Path(sys.executable).with_name("cfn-lint")
CHECKED_TYPES = {
    "AWS::DynamoDB::Table",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::SQS::Queue",
}
"""The types of which some check must have judged every single resource."""

PLANTED = {
    "Resources": {
        "Planted": {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "Everything",
                "Roles": ["any"],
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
                },
                "NotAProperty": True,
            },
        }
    }
}


@dataclass(frozen=True)
class Written:
    """The templates as files: one for each set of parameters, and one with faults."""

    sets: list[Path]
    planted: Path

    def is_of_a_set(self, path: str) -> bool:
        return Path(path).name in {one.name for one in self.sets}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    directory = tmp_path_factory.mktemp("templates")

    def write(name: str, content: dict[str, Any]) -> Path:
        path = directory / f"{name}.json"
        path.write_text(json.dumps(content, indent=1), "utf-8")
        return path

    sets = [
        write(f"set-{number}", reduced(condition_sets.loaded(), parameters))
        for number, parameters in enumerate(condition_sets.pairwise())
    ]
    return Written(sets, write("planted", PLANTED))


def test_checkov_finds_nothing_in_the_template(written: Written) -> None:
    run = subprocess.run(
        [
            *(str(CHECKOV), "--framework", "cloudformation", "--skip-download"),
            *("--output", "json", "--file", *map(str, written.sets), str(written.planted)),
        ],
        cwd=written.planted.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    assert report["summary"]["parsing_errors"] == 0
    failed, passed = report["results"]["failed_checks"], report["results"]["passed_checks"]
    assert report["results"]["skipped_checks"] == [], "suppress in suppressions.yaml"
    of_sets = [one for one in failed + passed if written.is_of_a_set(one["file_path"])]
    assert {Path(one["file_path"]).name for one in of_sets} == {one.name for one in written.sets}
    found = [one for one in failed if written.is_of_a_set(one["file_path"])]
    assert "CKV_AWS_63" in {one["check_id"] for one in failed if one not in found}

    resources = condition_sets.loaded()["Resources"]
    judged = {one["resource"] for one in of_sets}
    unjudged = {
        f"{resource['Type']}.{name}"
        for name, resource in resources.items()
        if resource["Type"] in CHECKED_TYPES
    } - judged
    assert unjudged == set()
    assert len(judged) > 20
    assert_clean(
        "checkov",
        (Finding(one["check_id"], one["resource"]) for one in found),
    )


def linted(*paths: Path, region: str = COMMERCIAL.region) -> list[dict[str, Any]]:
    # W2001: a parameter that only conditions refer to is unused once they are applied.
    options = ("--format", "json", "--ignore-checks", "W2001", "--regions", region)
    run = subprocess.run(
        [str(CFN_LINT), *options, "--", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def test_cfn_lint_finds_nothing_in_the_template(written: Written) -> None:
    found = linted(*written.sets, written.planted)
    planted = [one for one in found if one["Filename"] == str(written.planted)]
    assert {one["Rule"]["Id"] for one in planted} >= {"E3002"}
    assert [one for one in found if one not in planted] == []


@pytest.mark.parametrize("place", [GOVCLOUD, CHINA], ids=lambda place: place.partition)
def test_cfn_lint_knows_every_resource_and_property_there(place: Place, tmp_path: Path) -> None:
    """Of the set with the most resources, by the region's own schemas."""
    sets = (reduced(condition_sets.loaded(), one) for one in condition_sets.pairwise(place))
    path = tmp_path / "most.json"
    path.write_text(json.dumps(max(sets, key=lambda one: len(one["Resources"]))), "utf-8")
    assert linted(path, region=place.region) == []


def test_the_condition_keys_types_are_those_of_awss_reference() -> None:
    """`support.condition_keys` explains how to renew them."""
    keys = condition_keys.types().keys() - condition_keys.GLOBAL_KEYS.keys()
    assert condition_keys.reference(keys)["types"] == {
        key: condition_keys.types()[key] for key in keys
    }
