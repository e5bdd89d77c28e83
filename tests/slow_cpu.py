"""`make test-slow`: the tests, with a fifth of a core for each worker and all that it starts.

    .venv/bin/python tests/slow_cpu.py [--share 0.2] [--workers 2] tests/e2e -k ...

It needs root on Linux, for the kernel's quotas. A test that fails here waits for seconds instead of
for an event, or has a limit without `support.slowness.seconds`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


@contextlib.contextmanager
def worker_group(share: float, number: int) -> Iterator[Path]:
    """Make a worker's group; at the end, end an interrupted test's leftover processes in it."""
    from benchmarks import shares

    with shares.limited(share, f"gw{number}") as path:
        try:
            yield path
        finally:
            while left := (path / "cgroup.procs").read_text(encoding="ascii").split():
                for process in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
                time.sleep(0.1)


def main() -> int:
    """Run pytest; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.2, help="of a core, for each worker")
    parser.add_argument("--workers", type=int, default=2)
    options, arguments = parser.parse_known_args()
    with contextlib.ExitStack() as groups:
        try:
            paths = [
                groups.enter_context(worker_group(options.share, number))
                for number in range(options.workers)
            ]
        except PermissionError as error:
            sys.exit(str(error))
        [prefix] = {str(path).removesuffix(path.name.rpartition("-")[2]) for path in paths}
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-n", str(options.workers)),
                *("--dist", "loadfile", "--no-loadscope-reorder", *arguments),
            ],
            cwd=ROOT,
            env=os.environ | {"CPU_GROUPS": prefix},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
