#!/usr/bin/env python3
"""Checks a commit's subject: an area, then a sentence in the imperative, 60 characters at most.

As the hook `commit-msg` it gets the message's file: .ci/commit_subject.py .git/COMMIT_EDITMSG.
"""

import re
import sys
from pathlib import Path

MOST = 60
KINDS = (
    "build",
    "chore",
    "ci",
    "docs",
    "feat",
    "fix",
    "perf",
    "refactor",
    "revert",
    "style",
    "test",
)
_SUBJECT = re.compile(rf"(?:{'|'.join(KINDS)})(?:\([a-z0-9][a-z0-9 ,._/-]*\))?!?: \S.*")
_OF_GIT = re.compile(r"(?:Merge|Revert|fixup!|squash!|amend!) ")
"""Subjects that git writes itself."""


def problems(subject: str) -> list[str]:
    """Return what is wrong with a subject, each with the way out."""
    if _OF_GIT.match(subject):
        return []
    found = []
    if not _SUBJECT.fullmatch(subject):
        found.append(
            f"The subject {subject!r} names no area. Begin it with a kind and an area, such as "
            f"`fix(retries): wait for the receiver`. Kinds: {', '.join(KINDS)}."
        )
    if len(subject) > MOST:
        found.append(
            f"The subject has {len(subject)} characters, and {MOST} are allowed. "
            "Move the reason into the body."
        )
    if subject.endswith("."):
        found.append("The subject ends in a full stop. Remove it.")
    return found


def main(path: str) -> int:
    """Check the message in a file; return 0, or 1 with the problems on standard error."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    subject = next((line for line in lines if line and not line.startswith("#")), "")
    found = problems(subject)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
