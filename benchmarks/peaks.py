"""What the worst messages of the events queue take in memory: `python -m benchmarks.peaks`.

The real dispatcher runs on fakes. Each measurement is of a new process, which is a fork of one that
has loaded everything: the greatest resident size that the kernel has seen, over the idle one.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.worst_messages import WORST
from support.world import World
from webhooks.domain.ses import SesAccounts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_MIB_OF_ONE = 128
MAX_MIB_OF_TEN = 512
"""Over idle. The function has 1,024 MB, of which an idle one takes about 100."""

TEN_OF = (
    *("texts of JSON", "different events", "events with ids", "records with a large tag"),
    *("small records", "wide characters in an event", "mail to many in one text"),
    "arrays of arrays in an event",
)
"""Kinds of which a batch of ten is measured: those of which one takes the most."""


def _of_kind(kind: str, messages: int) -> float:
    return peak_mib(lambda: [WORST[kind](number) for number in range(messages)])


def peak_mib(texts: Callable[[], Sequence[str]]) -> float:
    """Return what a batch takes at most over an idle process, the texts included."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            world = World(ses_accounts=SesAccounts(default="acc_1"))
            world.add(events=("*",))
            before = _greatest_mib()
            world.send(*texts())
            os.write(writing, str(_greatest_mib() - before).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"the measured process ended with {status}")
    return float(found)


def measure() -> dict[str, dict[str, float]]:
    """Return MiB over idle: of one message of each kind, of ten of some, of ten of all kinds."""
    one = {kind: _of_kind(kind, 1) for kind in WORST}
    ten = {kind: _of_kind(kind, 10) for kind in TEN_OF}
    worst = sorted(one, key=lambda kind: -one[kind])[:10]
    ten["the ten worst"] = peak_mib(lambda: [WORST[kind](0) for kind in worst])
    return {"one": one, "ten": ten}


def _greatest_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    sys.exit("this kernel does not tell the greatest resident size")


def main() -> None:
    """Print the figures as JSON."""
    sys.stdout.write(json.dumps(measure(), indent=2) + "\n")


if __name__ == "__main__":
    main()
