"""`make bench`: measures everything, prints one table, and writes `benchmarks/results.json`.

Milliseconds depend on this machine and its load. Ratios to bare clients in the same run, and units,
apply to other machines too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import bill, clients, cold_start, delays, fleet, growth, prices, simulate
from benchmarks.dispatching import receivers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

RESULTS = Path(__file__).parent / "results.json"


class Row(NamedTuple):
    """A line of the table. A budget is the maximum of the value."""

    name: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the value is within the budget; None without a budget."""
        return None if self.budget is None else self.value <= self.budget


def machine() -> dict[str, Any]:
    """Return the machine of the measurements, and its load."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def measure(progress: Callable[[str], None]) -> dict[str, Any]:
    """Return every figure, and the table built from them."""
    results: dict[str, Any] = {
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "prices": {"region": prices.REGION, "as_of": prices.AS_OF},
    }
    progress("cold start")
    results["cold_start"] = cold_start.measure()
    with receivers() as bench:
        for kind, named in (("fresh", "fresh TLS"), ("kept", "kept alive")):
            progress(f"a POST, {named}")
            results[kind] = clients.measure(bench, kind)
        progress("one message a batch")
        alone = bench.dispatch([bench.urls["fresh"]], 1, 60)
        progress("isolation, fan-out, first byte")
        results |= delays.measure(bench)
        progress("a wide event")
        results["wide_event"] = fleet.measure(bench)
    progress("growth")
    results["growth"] = growth.measure()
    progress("outages")
    results["simulation"] = simulate.measure()
    cpu_ms = {
        "1": sum(one.cpu_ms for one in alone) / len(alone),
        "10": results["fresh"]["dispatcher, 1 webhook"]["cpu_ms"],
    }
    results["delivery_cpu_ms"] = cpu_ms
    results["bill"] = bill.of_scenarios(cpu_ms)
    results["load_average_at_the_end"] = round(os.getloadavg()[0], 1)
    results["table"] = [row._asdict() for row in table(results)]
    return results


def table(results: dict[str, Any]) -> list[Row]:
    """Return the figures with budgets, and similar ones."""
    rows = [
        Row(f"a million deliveries: {name}", parts["total"], "$", _bill_budgets().get(name))
        for name, parts in results["bill"].items()
    ]
    for kind, named, budget in (("fresh", "fresh TLS", 1.6), ("kept", "kept alive", 2.0)):
        for client, values in results[kind].items():
            if "cpu_ratio" in values:
                ours = client == "sender" or client.startswith("dispatcher")
                limit = budget if ours else None
                rows.append(Row(f"CPU a POST, {named}: {client}", values["cpu_ratio"], "x", limit))
            rows.append(Row(f"rate, {named}: {client}", values["rate_ratio"], "x"))
    alone = results["isolation"]["0"]
    for share, values in results["isolation"].items():
        rows.append(
            Row(
                f"healthy receivers' p99, {share} % hanging or dripping",
                values["p99_ms"] / alone["p99_ms"],
                "x",
                1.2,
            )
        )
    for webhooks, values in results["fan_out"].items():
        rows.append(Row(f"last POST out, {webhooks} webhooks", values["last_ms"], "ms"))
    for how, values in results["wide_event"].items():
        limit = 2000.0 if how.startswith("divided") else None
        rows.append(Row(f"last POST out, 1000 webhooks, {how}", values["last_ms"], "ms", limit))
    first = results["first_byte"]["kept"]["p50_ms"]
    rows.append(Row("handler entry to the request received, p50", first, "ms", 2.0))
    calls = results["first_byte"]["the calls before it"]["p50_ms"]
    rows.append(Row("the two calls of AWS before it, botocore alone, p50", calls, "ms"))
    for name in (cold_start.FLOOR, *cold_start.FUNCTIONS):
        limit = 1.15 if name == "dispatcher" else None
        ratio = results["cold_start"][name]["ratio"]
        rows.append(Row(f"import and first client: {name}", ratio, "x", limit))
    reads = results["growth"]["in the table"]["100000"]["read_units"]
    rows.append(Row("read units an event, 100,000 webhooks in the table", reads, "units", 2.0))
    dead = results["simulation"]["a dead webhook, 1,000 events a second, an hour"]
    rows.append(Row("executions, a dead webhook, 3.6 million events", dead["executions"], "", 511))
    return rows


def _bill_budgets() -> dict[str, float]:
    return {str(scenario): budget for scenario, budget in bill.BUDGETS.items()}


def coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is a terminal and NO_COLOR is not set."""
    return stream.isatty() and not environment.get("NO_COLOR")


def printed(rows: list[Row], *, colours: bool) -> str:
    """Return the table as text; values over their budget are marked."""
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        budget = "" if row.budget is None else f"<= {row.budget:g}"
        mark = {None: "", True: "ok", False: "over"}[row.kept]
        line = f"{row.name:<{width}}  {row.value:>10,.2f} {row.unit:<5} {budget:>9}  {mark}"
        if colours and mark:
            line = f"\x1b[{32 if row.kept else 31}m{line}\x1b[0m"
        lines.append(line.rstrip())
    return "\n".join(lines)


def main() -> None:
    """Measure with progress, and print the table, or with --json all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    as_json = parser.parse_args().json
    started = time.monotonic()

    def progress(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:4.0f} s  {what}\n")

    results = measure(progress)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    progress(f"done: {RESULTS.name}")
    if as_json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
    else:
        rows = [Row(**row) for row in results["table"]]
        sys.stdout.write(printed(rows, colours=coloured(sys.stdout, os.environ)) + "\n")


if __name__ == "__main__":
    main()
