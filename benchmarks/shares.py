"""The CPU share that a function's memory size implies, set through a kernel quota (cgroup)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.prices import CPU_MEMORY_MB

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 20_000
"""The quota's period in microseconds. Lambda's own is 20 ms, according to its users."""


def quota_us(share: float) -> int:
    """Return the microseconds of CPU in each period."""
    return round(_PERIOD_US * share)


@contextmanager
def group(memory_mb: int, name: str = "0") -> Iterator[Path]:
    """Create a group with this memory's share of one CPU; remove it when its processes have ended.

    Simultaneous groups of one process need a `name` each. Raises PermissionError if this user may
    not create groups: that needs root on Linux.
    """
    with limited(memory_mb / CPU_MEMORY_MB, f"{memory_mb}-{name}") as path:
        yield path


@contextmanager
def limited(share: float, name: str) -> Iterator[Path]:
    """Make a group with this share of one CPU, like `group`."""
    unified = (_GROUPS / "cgroup.controllers").exists()
    path = (_GROUPS if unified else _GROUPS / "cpu") / f"webhooks-{os.getpid()}-{name}"
    try:
        path.mkdir()
    except OSError as error:
        msg = f"cannot make {path}: run it as root, on Linux with its cgroups mounted"
        raise PermissionError(msg) from error
    try:
        if unified:
            (path / "cpu.max").write_text(f"{quota_us(share)} {_PERIOD_US}", encoding="ascii")
        else:
            (path / "cpu.cfs_period_us").write_text(str(_PERIOD_US), encoding="ascii")
            (path / "cpu.cfs_quota_us").write_text(str(quota_us(share)), encoding="ascii")
        yield path
    finally:
        path.rmdir()


def join(path: Path) -> None:
    """Move this process, with all its threads, into a group."""
    (path / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
