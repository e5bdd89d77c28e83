"""Makes a release: version, changelog, commit and tag. Pushes nothing.

::

    make release VERSION=1.2.0 [DRY_RUN=1]

`--dry-run` shows the changes as a diff and makes none; it runs on any branch and with uncommitted
changes. The version is that of `webhooks.VERSION`; `VERSIONED` lists the other places that repeat
it, because their readers cannot import it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from difflib import unified_diff
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
BRANCH = "main"
CHANGELOG = "CHANGELOG.md"
VERSIONED: Mapping[str, str] = {
    "layers/core/webhooks/__init__.py": r'^VERSION = "(.+)"$',
    "pyproject.toml": r'^version = "(.+)"$',
    "template.yaml": r"^    SemanticVersion: (.+)$",
    "docs/openapi.json": r'^    "version": "(.+)",$',
}
"""The files that have the version, each with the one line that states it."""

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The headings of a version's section, by Keep a Changelog."""

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_UNRELEASED = "## [Unreleased]"
_SECTION = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)
_LINK = re.compile(r"^\[[^\]]+\]: \S+/(?:compare|releases)/\S+\n", re.MULTILINE)


class ReleaseError(Exception):
    """The release cannot be made; the message has the fault and the way out."""


class Version(NamedTuple):
    """A version by semantic versioning, without pre-release or build; ordered."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        """Return the version as it is written, such as `1.2.0`."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def tag(self) -> str:
        """The version's tag in git."""
        return f"v{self}"


def parse(text: str) -> Version:
    """Return the version of a text such as `1.2.0`."""
    match = _VERSION.fullmatch(text)
    if match is None:
        msg = (
            f"{text!r} is no version. Give three numbers without leading zeros: "
            "make release VERSION=1.2.0"
        )
        raise ReleaseError(msg)
    return Version(*map(int, match.groups()))


def sections(changelog: str) -> dict[str, str]:
    """Return the text below each heading of a version, links excluded, in the file's order."""
    parts = _SECTION.split(_LINK.sub("", changelog))
    return dict(zip(parts[1::3], parts[3::3], strict=True))


def released(changelog: str, tags: Sequence[str]) -> list[Version]:
    """Return the versions that have a section or a tag, the newest first."""
    named = [name for name in sections(changelog) if name != "Unreleased"]
    tagged = [tag.removeprefix("v") for tag in tags if tag.startswith("v")]
    return sorted(
        {parse(one) for one in [*named, *tagged] if _VERSION.fullmatch(one)}, reverse=True
    )


def check_order(version: Version, earlier: Sequence[Version]) -> None:
    """Raise ReleaseError unless the version is greater than every released one."""
    if earlier and version <= earlier[0]:
        msg = f"{version} is not greater than the last release, {earlier[0]}. Give a greater one."
        raise ReleaseError(msg)


def with_section(
    changelog: str, version: Version, earlier: Sequence[Version], *, date: str, repository: str
) -> str:
    """Return the changelog with its unreleased changes as the version's section, and its links.

    `repository` is the address of the repository's page, `earlier` the released versions, the
    newest first.
    """
    found = sections(changelog)
    if "Unreleased" not in found:
        msg = f"{CHANGELOG} has no line `{_UNRELEASED}`. Add it above the newest version."
        raise ReleaseError(msg)
    if not re.search(r"^- ", found["Unreleased"], re.MULTILINE):
        msg = f"{CHANGELOG} lists nothing under `{_UNRELEASED}`. Add the changes for users first."
        raise ReleaseError(msg)
    dated = changelog.replace(_UNRELEASED, f"{_UNRELEASED}\n\n## [{version}] - {date}", 1)
    made = [version, *earlier]
    links = [f"[Unreleased]: {repository}/compare/{version.tag}...HEAD"]
    links += [
        f"[{newer}]: {repository}/compare/{older.tag}...{newer.tag}"
        for newer, older in pairwise(made)
    ]
    links.append(f"[{made[-1]}]: {repository}/releases/tag/{made[-1].tag}")
    return _LINK.sub("", dated).rstrip("\n") + "\n\n" + "\n".join(links) + "\n"


def with_version(path: str, text: str, version: Version) -> str:
    """Return a file's text with the version in its one line."""
    pattern = re.compile(VERSIONED[path], re.MULTILINE)
    matches = list(pattern.finditer(text))
    if len(matches) != 1:
        msg = (
            f"{path} states the version in {len(matches)} lines instead of one. Correct the file, "
            "or its pattern in ops/release.py."
        )
        raise ReleaseError(msg)
    start, end = matches[0].span(1)
    return f"{text[:start]}{version}{text[end:]}"


def page_of(remote: str) -> str:
    """Return the address of a repository's page from that of its remote, without credentials."""
    if "://" not in remote:
        # The form of scp: git@host:owner/name.git
        host, _, path = remote.rpartition("@")[2].partition(":")
    else:
        parts = urlsplit(remote)
        host, path = parts.hostname or "", parts.path
    path = path.strip("/").removesuffix(".git")
    if not host or not path or "." not in host:
        msg = (
            "The remote `origin` is no address of a server, which the changelog's links need. "
            "Set it: git remote set-url origin https://HOST/OWNER/NAME.git"
        )
        raise ReleaseError(msg)
    return f"https://{host}/{path}"


def git(root: Path, *words: str) -> str:
    """Run git; return its output. Raises ReleaseError with git's own message."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"git {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}"
        raise ReleaseError(msg)
    return done.stdout.strip()


def check_tree(root: Path) -> None:
    """Raise ReleaseError unless the main branch is checked out, without changes."""
    branch = git(root, "branch", "--show-current")
    if branch != BRANCH:
        msg = (
            f"Releases are made on {BRANCH}, and this is {branch or 'no branch'}. "
            f"Run: git switch {BRANCH}"
        )
        raise ReleaseError(msg)
    changed = git(root, "status", "--porcelain")
    if changed:
        msg = f"These files have changes. Commit or stash them first:\n{changed}"
        raise ReleaseError(msg)


def plan(root: Path, version: Version, date: str) -> dict[str, tuple[str, str]]:
    """Return the text of each file of a release, before and after."""
    before = {path: (root / path).read_text(encoding="utf-8") for path in (CHANGELOG, *VERSIONED)}
    earlier = released(before[CHANGELOG], git(root, "tag", "--list").splitlines())
    check_order(version, earlier)
    page = page_of(git(root, "remote", "get-url", "origin"))
    after = {path: with_version(path, before[path], version) for path in VERSIONED}
    after[CHANGELOG] = with_section(before[CHANGELOG], version, earlier, date=date, repository=page)
    return {path: (before[path], after[path]) for path in before}


def diff(planned: Mapping[str, tuple[str, str]]) -> str:
    """Return the changes of a plan as one diff."""
    return "".join(
        line
        for path, (before, after) in planned.items()
        for line in unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            f"a/{path}",
            f"b/{path}",
        )
    )


def release(root: Path, version: Version, date: str) -> None:
    """Write the files of a release, commit them and tag the commit."""
    check_tree(root)
    planned = plan(root, version, date)
    for path, (_, after) in planned.items():
        (root / path).write_text(after, encoding="utf-8")
    git(root, "add", *planned)
    git(root, "commit", "--quiet", "--message", f"chore(release): {version}")
    git(root, "tag", "--annotate", version.tag, "--message", f"Release {version}")


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command; return 0, or 1 if the release was refused."""
    parser = argparse.ArgumentParser(prog="make release", description="Make a release.")
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("--dry-run", action="store_true", help="show the changes, make none")
    options = parser.parse_args(words)
    date = datetime.now(UTC).date().isoformat()
    try:
        version = parse(options.version)
        if options.dry_run:
            print(diff(plan(root, version, date)), end="")
            return 0
        release(root, version, date)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{version} is committed and tagged. Publish it: git push --follow-tags origin {BRANCH}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
