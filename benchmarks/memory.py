"""`make bench-memory`: the memory and batch size that a function needs, under its share of a CPU.

Each function runs with the share of a CPU that Lambda gives to its memory; AWS and the receivers
run without a limit. It needs root, for the kernel's quotas, and takes seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import cold_start, peaks, shares
from benchmarks.bill import MILLION
from benchmarks.dispatching import Function, receivers
from benchmarks.prices import dollars, lambda_dollars
from benchmarks.processes import in_process, serving
from benchmarks.run import machine
from benchmarks.servers import SLOW_SECONDS, serve_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.dispatching import DispatchBench, Used

RESULTS = Path(__file__).parent / "memory.json"
MEMORIES_MB = (256, 512, 1024, 1769)
BATCHES = ((1, 1), (10, 1), (10, 10), (100, 1), (1, 60))
"""Messages of a batch, and webhooks of each message's account."""

INVOCATIONS = 12


def _invoke(group: Path, endpoint: str, authority: str, messages: int, number: int) -> list[Used]:
    shares.join(group)
    function = Function(endpoint, authority)
    function.invoke(messages)
    return [function.invoke(messages) for _ in range(number)]


def dispatching(
    bench: DispatchBench, memory_mb: int, messages: int, webhooks: int
) -> dict[str, float]:
    """Return the cost of invocations with this memory, and the Lambda dollars of a million.

    `false_failures` counts attempts that failed although every receiver responds with 200.
    """
    urls = [bench.urls["slow"]] * webhooks
    with shares.group(memory_mb) as group, serving(serve_aws, urls) as aws:
        used = in_process(_invoke, group, aws.first, bench.authority, messages, INVOCATIONS)
    deliveries = messages * webhooks
    wall_ms = median(one.wall_ms for one in used)
    billed = lambda_dollars(memory_mb, wall_ms) + dollars("invocation", 1)
    return {
        "wall_ms": wall_ms,
        "slowest_ms": max(one.wall_ms for one in used),
        "cpu_ms": median(one.cpu_ms for one in used) / deliveries,
        "dollars": billed * MILLION / deliveries,
        "false_failures": sum(one.failures for one in used),
    }


def measure(progress: Callable[[str], None]) -> dict[str, Any]:
    """Return all figures by memory."""
    found: dict[str, Any] = {"machine": machine(), "receivers_ms": SLOW_SECONDS * 1000}
    with receivers() as bench:
        for memory_mb in MEMORIES_MB:
            of_memory: dict[str, Any] = {}
            for messages, webhooks in BATCHES:
                name = f"{messages} x {webhooks}"
                progress(f"{memory_mb} MB, {name}")
                of_memory[name] = dispatching(bench, memory_mb, messages, webhooks)
            for name in cold_start.FUNCTIONS:
                progress(f"{memory_mb} MB, a new {name}")
                with shares.group(memory_mb) as group:
                    of_memory[f"new {name}"] = {"wall_ms": cold_start.wall_ms(name, group)}
            found[str(memory_mb)] = of_memory
    progress("the worst messages")
    found["peaks_mib"] = peaks.measure()
    return found


def printed(found: dict[str, Any]) -> str:
    """Return the figures as rows of Markdown: milliseconds, maximum, dollars per million."""
    names = list(found[str(MEMORIES_MB[0])])
    rows = [["", *(f"{memory_mb} MB" for memory_mb in MEMORIES_MB)]]
    rows += [[name, *(_cell(found[str(memory)][name]) for memory in MEMORIES_MB)] for name in names]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(values: dict[str, float]) -> str:
    cell = f"{values['wall_ms']:,.0f} ms"
    if "dollars" in values:
        cell += f", {values['slowest_ms']:,.0f} at most, ${values['dollars']:.2f}"
        if values["false_failures"]:
            cell += f", {values['false_failures']:,.0f} false failures"
    return cell


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with progress, write `benchmarks/memory.json` and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    as_json = parser.parse_args(arguments).json
    started = time.monotonic()

    def progress(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:4.0f} s  {what}\n")

    try:
        found = measure(progress)
    except PermissionError as error:
        sys.exit(str(error))
    found["load_average_at_the_end"] = round(os.getloadavg()[0], 1)
    text = json.dumps(found, indent=2)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    progress(f"done: {RESULTS.name}")
    sys.stdout.write((text if as_json else printed(found)) + "\n")


if __name__ == "__main__":
    main()
