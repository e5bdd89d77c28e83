"""A release: one version everywhere, the changelog's form, and the command that makes the next."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from api.openapi import LICENSE
from cli.commands import main as webhooks_command
from local import template
from ops import release
from ops.release import CHANGELOG, KINDS, ROOT, VERSIONED, ReleaseError, Version, main, parse
from webhooks import VERSION

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "https://github.com/example/webhooks"
CREDENTIALS = "user:token"
UNRELEASED = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Something for users.\n"
DATE = "2026-12-01"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository on main, with the files of a release and nothing released."""
    for path in VERSIONED:
        copy = tmp_path / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / path).read_bytes())
    (tmp_path / CHANGELOG).write_text(UNRELEASED, encoding="utf-8")
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("config", "user.name", "Tester"),
        ("config", "user.email", "tester@example.com"),
        ("config", "commit.gpgsign", "false"),
        ("config", "tag.gpgsign", "false"),
        ("remote", "add", "origin", "git@github.com:example/webhooks.git"),
        ("add", "."),
        ("commit", "--quiet", "--message", "feat: begin"),
    ):
        git(tmp_path, *words)
    return tmp_path


def git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


def state(root: Path) -> tuple[str, str, str]:
    """The commits, the tags and the uncommitted changes."""
    return git(root, "log", "--format=%s"), git(root, "tag"), git(root, "status", "--porcelain")


def add_change(root: Path, line: str) -> None:
    path = root / CHANGELOG
    text = path.read_text(encoding="utf-8")
    added = text.replace("## [Unreleased]\n", f"## [Unreleased]\n\n### Fixed\n\n- {line}\n", 1)
    path.write_text(added, encoding="utf-8")
    git(root, "commit", "--quiet", "--all", "--message", "fix: mend")


# The version


@pytest.mark.parametrize("path", VERSIONED)
def test_every_place_has_the_version_of_the_core(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.findall(VERSIONED[path], text, re.MULTILINE) == [VERSION]


def test_the_version_is_where_each_reader_looks(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    document = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    listed = template.read()["Metadata"]["AWS::ServerlessRepo::Application"]
    with pytest.raises(SystemExit) as ended:
        webhooks_command(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"webhooks {VERSION}\n"
    assert project["version"] == document["info"]["version"] == VERSION
    assert listed["SemanticVersion"] == VERSION
    assert str(parse(VERSION)) == VERSION


def test_the_licence_is_named_where_each_reader_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = template.read()["Metadata"]["AWS::ServerlessRepo::Application"]
    assert project["license"] == listed["SpdxLicenseId"] == LICENSE["identifier"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]
    # The beginning of the official file's digest: https://www.apache.org/licenses/LICENSE-2.0.txt
    digest = sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest.startswith("cfc7749b96f6")


# The changelog


def test_the_changelog_is_in_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / CHANGELOG).read_text(encoding="utf-8")
    headings = re.findall(r"^## .*$", text, re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    versions = [re.fullmatch(r"## \[(.+)\] - (\d{4}-\d\d-\d\d)", one) for one in headings[1:]]
    assert all(versions)
    numbers = [parse(match[1]) for match in versions if match]
    assert numbers == sorted(numbers, reverse=True)
    for name, section in release.sections(text).items():
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds], name
        assert kinds or name == "Unreleased"


# A release


def test_the_first_release_is_one_commit_with_an_annotated_tag(project: Path) -> None:
    release.release(project, Version(1, 0, 0), DATE)
    assert git(project, "log", "-1", "--format=%s") == "chore(release): 1.0.0"
    assert git(project, "cat-file", "-t", "v1.0.0") == "tag"
    assert git(project, "rev-parse", "v1.0.0^{commit}") == git(project, "rev-parse", "HEAD")
    assert git(project, "status", "--porcelain") == ""
    assert (project / CHANGELOG).read_text(encoding="utf-8") == (
        "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-12-01\n\n### Added\n\n"
        "- Something for users.\n\n"
        f"[Unreleased]: {PAGE}/compare/v1.0.0...HEAD\n[1.0.0]: {PAGE}/releases/tag/v1.0.0\n"
    )


def test_a_later_release_sets_the_version_everywhere_and_compares_with_the_one_before(
    project: Path,
) -> None:
    release.release(project, Version(1, 0, 0), DATE)
    add_change(project, "A fault.")
    release.release(project, Version(1, 10, 0), DATE)
    for path, pattern in VERSIONED.items():
        text = (project / path).read_text(encoding="utf-8")
        assert re.findall(pattern, text, re.MULTILINE) == ["1.10.0"]
    changed = git(project, "show", "--format=", "--name-only", "HEAD").splitlines()
    assert set(changed) == {CHANGELOG, *VERSIONED}
    text = (project / CHANGELOG).read_text(encoding="utf-8")
    assert list(release.sections(text)) == ["Unreleased", "1.10.0", "1.0.0"]
    assert text.endswith(
        f"\n\n[Unreleased]: {PAGE}/compare/v1.10.0...HEAD\n"
        f"[1.10.0]: {PAGE}/compare/v1.0.0...v1.10.0\n[1.0.0]: {PAGE}/releases/tag/v1.0.0\n"
    )


def test_a_released_file_is_still_valid(project: Path) -> None:
    release.release(project, Version(2, 3, 4), DATE)
    document = json.loads((project / "docs" / "openapi.json").read_text(encoding="utf-8"))
    built = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert document["info"]["version"] == built["project"]["version"] == "2.3.4"


def test_a_dry_run_shows_the_diff_and_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "switch", "--quiet", "--create", "feature")
    before = state(project)
    assert main(["1.2.0", "--dry-run"], project) == 0
    shown = capsys.readouterr().out
    assert state(project) == before
    assert "--- a/pyproject.toml\n+++ b/pyproject.toml\n" in shown
    assert '\n+VERSION = "1.2.0"\n' in shown
    assert re.search(r"^\+## \[1\.2\.0\] - \d{4}-\d\d-\d\d$", shown, re.MULTILINE)


def test_the_command_says_how_to_publish_and_pushes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["1.2.0"], project) == 0
    assert capsys.readouterr().out == (
        "1.2.0 is committed and tagged. Publish it: git push --follow-tags origin main\n"
    )


# Refusals


@pytest.mark.parametrize("text", ["1.2", "v1.2.0", "1.02.0", "1.2.0-rc.1", "1.2.0\n", "", "-1.0.0"])
def test_a_text_that_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match=r"Give three numbers"):
        parse(text)


def refusal(root: Path, version: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of a release, which leaves all as it was."""
    before = state(root)
    assert main([version], root) == 1
    assert state(root) == before
    return capsys.readouterr().err


@pytest.mark.parametrize("version", ["1.2.0", "1.1.9", "0.9.0"])
def test_a_version_that_is_not_greater_is_refused(
    project: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    release.release(project, Version(1, 2, 0), DATE)
    add_change(project, "A fault.")
    assert "is not greater than the last release, 1.2.0" in refusal(project, version, capsys)


def test_a_tag_without_a_section_counts_as_a_release(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "tag", "v3.0.0")
    git(project, "tag", "vendor-import")
    assert "than the last release, 3.0.0" in refusal(project, "2.0.0", capsys)


def test_a_release_without_changes_for_users_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release.release(project, Version(1, 2, 0), DATE)
    assert "lists nothing under `## [Unreleased]`" in refusal(project, "1.3.0", capsys)


def test_a_changelog_without_unreleased_changes_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / CHANGELOG).write_text("# Changelog\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message", "docs: empty")
    assert "has no line `## [Unreleased]`" in refusal(project, "1.3.0", capsys)


def test_another_branch_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(project, "switch", "--quiet", "--create", "feature")
    assert "this is feature. Run: git switch main" in refusal(project, "1.3.0", capsys)


@pytest.mark.parametrize("path", ["pyproject.toml", "new.txt"])
def test_a_tree_with_changes_is_refused(
    project: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / path).write_text("changed\n", encoding="utf-8")
    refused = refusal(project, "1.3.0", capsys)
    assert "Commit or stash them first" in refused
    assert path in refused


def test_a_file_without_its_version_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    git(project, "commit", "--quiet", "--all", "--message", "build: no version")
    assert "pyproject.toml states the version in 0 lines" in refusal(project, "1.3.0", capsys)


def test_a_repository_without_a_remote_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(project, "remote", "remove", "origin")
    assert "origin" in refusal(project, "1.3.0", capsys)


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:example/webhooks.git", PAGE),
        ("https://github.com/example/webhooks", PAGE),
        (f"https://{CREDENTIALS}@github.com/example/webhooks.git", PAGE),
        ("ssh://git@github.com/example/webhooks.git", PAGE),
    ],
)
def test_links_lead_to_the_page_of_the_remote_without_credentials(remote: str, page: str) -> None:
    assert release.page_of(remote) == page


@pytest.mark.parametrize("remote", ["/srv/webhooks.git", "../webhooks", "file:///srv/webhooks.git"])
def test_a_remote_without_a_page_is_refused(remote: str) -> None:
    with pytest.raises(ReleaseError, match="git remote set-url origin"):
        release.page_of(remote)
