"""The memory that the worst messages of the events queue need: `python -m benchmarks.peaks`.

The real dispatcher runs on fakes. Each measurement is of a new process, forked from a process with
everything loaded: its peak resident size according to the kernel, minus that of an idle process.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.worst_messages import WORST
from support.service_fixture import ServiceFixture
from webhooks.domain.ses import SesAccounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_MIB_OF_ONE = 128
MAX_MIB_OF_TEN = 512
"""MiB above idle. The function has 1,024 MB, of which an idle one uses about 100."""

WORST_OF_ALL = (
    *(
        "arrays of arrays in an event",
        "empty objects in an event",
        "objects of one field in an event",
    ),
    *("empty objects", "records with a large tag", "different events", "texts of JSON"),
    *("mail to many", "mail to many in one text", "wide characters in an event"),
)
"""The kinds that need the most memory for one message, now or before there were limits."""

TEN_OF = ("different events", "records with a large tag")
"""The kinds that need even more for ten messages: their events are in memory together."""


def _of_kind(kind: str, messages: int) -> float:
    return peak_mib(lambda: [WORST[kind](number) for number in range(messages)])


def peak_mib(texts: Callable[[], Sequence[str]]) -> float:
    """Return a batch's peak MiB above an idle process, the texts included."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            services = ServiceFixture(ses_accounts=SesAccounts(default="acc_1"))
            services.add(events=("*",))
            before = _greatest_mib()
            services.send(*texts())
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


def measure(kinds: Iterable[str] = WORST) -> dict[str, dict[str, float]]:
    """Return MiB above idle: for one message of each kind, ten of some, and the ten worst."""
    ten = {kind: _of_kind(kind, 10) for kind in TEN_OF}
    ten["the ten worst"] = peak_mib(lambda: [WORST[kind](0) for kind in WORST_OF_ALL])
    return {"one": {kind: _of_kind(kind, 1) for kind in kinds}, "ten": ten}


def _greatest_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    sys.exit("this kernel does not report the peak resident size")


def main() -> None:
    """Print the figures as JSON; with `--worst`, for the worst kinds only."""
    kinds = WORST_OF_ALL if "--worst" in sys.argv else WORST
    sys.stdout.write(json.dumps(measure(kinds), indent=2) + "\n")


if __name__ == "__main__":
    main()
