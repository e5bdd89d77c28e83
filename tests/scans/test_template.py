"""checkov and cfn-lint on the template as CloudFormation runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import template
from support.scanning import ROOT, Finding, assert_clean

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
"""The types of which every single resource must have been judged by some check."""

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


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("templates")
    transformed, planted = directory / "transformed.json", directory / "planted.json"
    loaded = template.load(parameters={"FormerNames": "true"})
    transformed.write_text(json.dumps(loaded, indent=1), "utf-8")
    planted.write_text(json.dumps(PLANTED, indent=1), "utf-8")
    return transformed, planted


def test_checkov_finds_nothing_in_the_template(templates: tuple[Path, Path]) -> None:
    transformed, planted = templates
    run = subprocess.run(
        [
            *(str(CHECKOV), "--framework", "cloudformation", "--skip-download"),
            *("--output", "json", "--file", str(transformed), str(planted)),
        ],
        cwd=transformed.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    assert report["summary"]["parsing_errors"] == 0
    failed, passed = report["results"]["failed_checks"], report["results"]["passed_checks"]
    assert report["results"]["skipped_checks"] == [], "suppress in suppressions.yaml"
    assert "CKV_AWS_63" in {one["check_id"] for one in failed if _is_in(planted, one)}

    resources = template.load()["Resources"]
    judged = {one["resource"] for one in failed + passed if _is_in(transformed, one)}
    unjudged = {
        f"{resource['Type']}.{name}"
        for name, resource in resources.items()
        if resource["Type"] in CHECKED_TYPES
    } - judged
    assert unjudged == set()
    assert len(judged) > 20
    assert_clean(
        "checkov",
        (Finding(one["check_id"], one["resource"]) for one in failed if _is_in(transformed, one)),
    )


def test_cfn_lint_finds_nothing_in_the_template(templates: tuple[Path, Path]) -> None:
    transformed, planted = templates
    run = subprocess.run(
        [str(CFN_LINT), "--format", "json", str(transformed), str(planted)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(run.stdout)
    assert {one["Rule"]["Id"] for one in found if one["Filename"] == str(planted)} >= {"E3002"}
    assert [one for one in found if one["Filename"] == str(transformed)] == []


def _is_in(path: Path, check: dict[str, Any]) -> bool:
    return bool(check["file_path"].endswith(path.name))
