"""`make soak`: thousands of events among receivers that misbehave and dispatchers that die.

::

    python -m soak [--short] [--events N] [--seed N] [--log FILE]

Prints the results of all deliveries; the exit code is 1 if one is lost or missing. With
`DYNAMODB_ENDPOINT` set, the tables are in the DynamoDB Local at that address.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from soak.dispatchers import ROOT
from soak.plan import FULL, SHORT
from soak.run import Soak

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_SHOWN_PROBLEMS = 20


def main() -> int:
    """Soak, and print the table; returns the process's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="the short form, which the tests run")
    parser.add_argument("--events", type=int, help="the number, instead of the form's own")
    parser.add_argument("--json", action="store_true", help="print the account as JSON")
    parser.add_argument("--seed", type=int, default=1, help="the seed of every random choice")
    parser.add_argument(
        "--log", type=Path, default=ROOT / ".local" / "soak.log", help="the functions' output"
    )
    options = parser.parse_args()
    shape = SHORT if options.short else FULL
    if options.events:
        shape = replace(shape, events=options.events)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Before the functions' output is taken off both. Output for a script holds no progress.
    results = sys.stdout
    screen = sys.stderr if options.json else sys.stdout

    def tell(text: str) -> None:
        print(text, file=screen, flush=True)

    started = time.monotonic()
    log = _keep_off_the_screen(options.log)
    try:
        soak = Soak(shape, options.seed, tell, log, os.environ.get("DYNAMODB_ENDPOINT"))
        ledger = soak.run()
    except KeyboardInterrupt:
        return 130
    except Exception:
        tell(traceback.format_exc())
        return 1
    seconds = time.monotonic() - started
    retries = {f"p{percent}": _percentile(soak.first_retries, percent) for percent in (50, 99)}
    if options.json:
        account = {
            **ledger.figures(),
            "killed": soak.killed,
            "first_retry_seconds": retries,
            "seed": options.seed,
        }
        print(
            json.dumps({**account, "seconds": round(seconds)}, indent=2), file=results, flush=True
        )
        return 0 if ledger.accounted else 1
    tell(f"\n{ledger.table()}\n")
    for problem in ledger.problems[:_SHOWN_PROBLEMS]:
        tell(problem)
    tell(
        f"{soak.killed} dispatchers were killed. {ledger.lost} deliveries are lost, "
        f"{ledger.missing} have not arrived that should have, {len(ledger.problems)} problems. "
        f"Seed {options.seed}, {seconds:.0f} seconds."
    )
    if soak.first_retries:
        tell(
            f"{len(soak.first_retries)} first retries came {retries['p50']:.1f} s (p50) and "
            f"{retries['p99']:.1f} s (p99) after the failure."
        )
    return 0 if ledger.accounted else 1


def _percentile(ascending: Sequence[float], percent: int) -> float | None:
    if not ascending:
        return None
    return round(ascending[min(len(ascending) - 1, len(ascending) * percent // 100)], 2)


def _keep_off_the_screen(path: Path) -> TextIO:
    """Send all output to a file, until the end: threads outlive their work."""
    log = path.open("w", encoding="utf-8", buffering=1)
    sys.stdout = sys.stderr = log
    logging.basicConfig(stream=log, level=logging.WARNING)
    return log


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    # Python would wait for every thread of the functions, the longest for a receiver's silence.
    os._exit(exit_code)
