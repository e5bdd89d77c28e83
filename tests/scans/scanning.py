"""The findings of scanners, without those suppressed in `tests/scans/suppressions.yaml`."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
SUPPRESSIONS = ROOT / "tests" / "scans" / "suppressions.yaml"


class Finding(NamedTuple):
    """One report of a scanner: `where` is a path or a resource, `text` the line or value."""

    rule: str
    where: str
    text: str = ""


class Suppression(NamedTuple):
    """An entry of the file, which says how it is matched."""

    rule: str
    where: str
    reason: str
    text: str | None = None

    def fits(self, finding: Finding) -> bool:
        return (
            finding.rule == self.rule
            and fnmatchcase(finding.where, self.where)
            and (self.text is None or self._fits_text(finding.text))
        )

    def _fits_text(self, text: str) -> bool:
        wanted = str(self.text)
        if wanted.startswith("/") and wanted.endswith("/"):
            return re.fullmatch(wanted[1:-1], text) is not None
        return text == wanted


def suppressions(scanner: str) -> list[Suppression]:
    """Return a scanner's entries; each must say why in a sentence."""
    entries = yaml.safe_load(SUPPRESSIONS.read_text(encoding="utf-8"))[scanner]
    found = [Suppression(**entry) for entry in entries]
    assert all(len(entry.reason.split()) >= 3 for entry in found)
    return found


def assert_clean(scanner: str, findings: Iterable[Finding]) -> None:
    """Fail for each finding without an entry, and for each entry without a finding."""
    found, kept = set(findings), suppressions(scanner)
    open_ones = [one for one in sorted(found) if not any(entry.fits(one) for entry in kept)]
    assert not open_ones, "\n".join(map(str, open_ones))
    idle = [entry for entry in kept if not any(entry.fits(one) for one in found)]
    assert not idle, f"these entries no longer suppress anything: {idle}"


def project_files() -> list[str]:
    """Return the paths of all files of the project, uncommitted ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [path for path in listed if (ROOT / path).is_file()]
