"""The share of a CPU that a function's memory brings, as a quota of the kernel's (cgroup)."""

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
"""How often the quota begins anew. Lambda's own is 20 ms, as its users have measured it."""


def quota_us(memory_mb: int) -> int:
    """Return the microseconds of CPU in each period of a function with this memory."""
    return round(_PERIOD_US * memory_mb / CPU_MEMORY_MB)


@contextmanager
def group(memory_mb: int, name: str = "0") -> Iterator[Path]:
    """Make a group with this memory's share of one CPU, and remove it when its processes ended.

    Groups of one process at the same time have a `name` each. Raises PermissionError where this
    user may not make groups: it takes root on Linux.
    """
    unified = (_GROUPS / "cgroup.controllers").exists()
    path = (_GROUPS if unified else _GROUPS / "cpu") / f"webhooks-{os.getpid()}-{memory_mb}-{name}"
    try:
        path.mkdir()
    except OSError as error:
        msg = f"cannot make {path}: run it as root, on Linux with its cgroups mounted"
        raise PermissionError(msg) from error
    try:
        if unified:
            (path / "cpu.max").write_text(f"{quota_us(memory_mb)} {_PERIOD_US}", encoding="ascii")
        else:
            (path / "cpu.cfs_period_us").write_text(str(_PERIOD_US), encoding="ascii")
            (path / "cpu.cfs_quota_us").write_text(str(quota_us(memory_mb)), encoding="ascii")
        yield path
    finally:
        path.rmdir()


def join(path: Path) -> None:
    """Move this process, with all of its threads, into a group."""
    (path / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
