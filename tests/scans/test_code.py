"""bandit and ruff's S rules on the code, detect-secrets on every file."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings

from scans.scanning import ROOT, SUPPRESSIONS, Finding, assert_clean, project_files

if TYPE_CHECKING:
    from pathlib import Path

CODE = ("layers/core/webhooks", "functions", "local", "ops", "cli", "benchmarks")
FORGED_AWS_KEY = "AKIA" + "Z7QX3MPL9WTRKV2D"
"""In the form of a real one, and in two parts, to keep this scan from finding it here."""


def test_bandit_finds_nothing_in_the_code(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import subprocess\nsubprocess.run(input(), shell=True)\n", "utf-8")
    bandit = [sys.executable, "-m", "bandit", "--quiet", "--format", "json", "--recursive"]
    run = subprocess.run([*bandit, *CODE, str(planted)], cwd=ROOT, capture_output=True, check=False)
    report = json.loads(run.stdout)
    assert report["errors"] == []
    sources = {path for path in project_files() if path.startswith(CODE) and path.endswith(".py")}
    assert len(sources) > 100
    assert {path for path in report["metrics"] if path in sources} == sources
    assert report["metrics"]["_totals"]["nosec"] == 0, (
        "suppress in suppressions.yaml, with a reason"
    )

    found = report["results"]
    assert "B602" in {one["test_id"] for one in found if one["filename"] == str(planted)}
    assert_clean(
        "bandit",
        (
            Finding(one["test_id"], one["filename"], _line(one["filename"], one["line_number"]))
            for one in found
            if one["filename"] != str(planted)
        ),
    )


@pytest.mark.parametrize("directory", [*CODE, "layers/core/webhooks/domain", "tests"])
def test_ruff_looks_for_what_is_unsafe_everywhere(directory: str) -> None:
    planted = "import hashlib\n\nDIGEST = hashlib.md5(b'')\n"
    ruff = [sys.executable, "-m", "ruff", "check", "--output-format", "concise"]
    run = subprocess.run(
        [*ruff, "--stdin-filename", f"{directory}/planted.py", "-"],
        cwd=ROOT,
        input=planted,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "S324" in run.stdout


def test_no_file_holds_a_secret(tmp_path: Path) -> None:
    planted = tmp_path / "planted.txt"
    planted.write_text(f"{FORGED_AWS_KEY}\n", "utf-8")
    # Neither this scan's own list of values nor files of hashes.
    skipped = {str(SUPPRESSIONS.relative_to(ROOT)), "tests/e2e/node/package-lock.json"}
    files = [
        path
        for path in project_files()
        if path not in skipped and not path.endswith(("requirements.txt", ".lock"))
    ]
    assert len(files) > 200
    with default_settings() as settings:
        assert len(settings.plugins) > 20
        assert [one.secret_value for one in scan_file(str(planted))] == [FORGED_AWS_KEY]
        assert_clean(
            "detect-secrets",
            (
                Finding(one.type, path, str(one.secret_value))
                for path in files
                for one in scan_file(str(ROOT / path))
            ),
        )


def _line(path: str, number: int) -> str:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()[number - 1].strip()
