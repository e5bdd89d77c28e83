"""The release before this one: its template, functions, layers and state machines.

They are commit aa45c53, unchanged. The former definitions in `tests/data/former` are older.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

_ARCHIVE = Path(__file__).parents[1] / "data" / "former_release.tar.xz"


def unpack(directory: Path) -> Path:
    """Write the former release into a directory and return its root, which has `template.yaml`."""
    root = directory / "former_release"
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    return root
