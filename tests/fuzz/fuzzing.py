"""The number of cases and the seed of the fuzz tests: 1,000 cases unless `make fuzz` sets more."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = int(os.environ.get("FUZZ_CASES", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "20251221"))
EXAMPLES = max(100, CASES // 50)
"""The number of hypothesis examples: one takes fifty times as long to make, and is shrunk."""

_BATCH = 1000
_REPORT_SECONDS = 10.0


def batches(what: str) -> Iterator[int]:
    """Give the sizes of the batches that make up all cases, and print the progress at intervals."""
    started = reported = time.monotonic()
    for done in range(0, CASES, _BATCH):
        size = min(_BATCH, CASES - done)
        yield size
        if time.monotonic() - reported > _REPORT_SECONDS or done + size == CASES:
            reported = time.monotonic()
            print(f"{what}: {done + size:,} cases of seed {SEED}, {reported - started:.0f} s")
