"""Writes the figures of `benchmarks/*.json` between markers in the README and in pages of docs.

`python -m benchmarks.readme` writes them; with `--check` it only compares them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import fairness, idle, limits, memory, short_retries
from benchmarks.run import RESULTS, Row

if TYPE_CHECKING:
    from collections.abc import Mapping

README = Path(__file__).parents[1] / "README.md"
BUDGETS = Path(__file__).parents[1] / "docs" / "budgets.md"
SCALING = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN = "<!-- figures: made by `make figures` from benchmarks/results.json -->"
END = "<!-- end of the figures -->"


def figures(results: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    bills, machine = results["bill"], results["machine"]
    fresh, kept, whole = results["fresh"], results["kept"], "dispatcher, 1 webhook"
    busy = bills["1 webhooks an event, 10 messages a batch, 0 % failing"]
    quiet = bills["1 webhooks an event, 1 messages a batch, 0 % failing"]
    wide = bills["10 webhooks an event, 10 messages a batch, 0 % failing"]
    dead = results["simulation"]["a dead webhook, 1,000 events a second, an hour"]
    rows = [
        (
            "A million deliveries, busy queue / quiet / ten webhooks an event",
            " / ".join(f"${one['total']:.2f}" for one in (busy, quiet, wide)),
        ),
        (
            "the same and waiting for receivers that take 100 ms",
            " / ".join(
                f"${one['total'] + one['waiting besides']:.2f}" for one in (busy, quiet, wide)
            ),
        ),
        (
            "CPU of a POST against bare urllib3, fresh TLS / kept alive: the sender",
            f"{fresh['sender']['cpu_ratio']:.2f}x / {kept['sender']['cpu_ratio']:.2f}x",
        ),
        (
            "the same, with all that the dispatcher does for a delivery",
            f"{fresh[whole]['cpu_ratio']:.2f}x / {kept[whole]['cpu_ratio']:.2f}x",
        ),
        (
            "State machine executions for a webhook that is dead for 3.6 million events",
            f"{dead['executions']}",
        ),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    prices = results["prices"]
    where = (
        f"Measured on {results['measured_at']} on {machine['cores']} cores of "
        f"{machine['processor']}, Python {machine['python']}, load average "
        f"{machine['load_average']}, without AWS; dollars are list prices of {prices['region']} "
        f"as of {prices['as_of']} for the units counted. Ratios travel to other machines, "
        "milliseconds don't: `make bench` gives yours."
    )
    return "\n".join([*lines, "", where])


def budgets(results: Mapping[str, Any]) -> str:
    """Return each budget, the measured value and the verdict, as Markdown."""
    lines = ["| | Measured | Budget | |", "|---|---|---|---|"]
    for values in results["table"]:
        row = Row(**values)
        if row.budget is not None:
            cells = [f"{number:,.2f} {row.unit}".strip() for number in (row.value, row.budget)]
            lines.append(f"| {row.name} | {' | '.join(cells)} | {'kept' if row.kept else 'over'} |")
    return "\n".join(lines)


class Block(NamedTuple):
    """A generated part of a page, and the markers around it."""

    page: Path
    begin: str
    end: str
    made: str


def blocks() -> list[Block]:
    """Return every block with its current content."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    of_fairness = json.loads(fairness.RESULTS.read_text(encoding="utf-8"))
    of_memory = json.loads(memory.RESULTS.read_text(encoding="utf-8"))
    return [
        Block(README, BEGIN, END, figures(results)),
        Block(BUDGETS, *markers("budgets", RESULTS), budgets(results)),
        Block(BUDGETS, *markers("memory", memory.RESULTS), memory.printed(of_memory)),
        Block(SCALING, *markers("limits", Path(limits.__file__)), limits.limits_table()),
        Block(SCALING, *markers("quotas", Path(limits.__file__)), limits.quotas_table()),
        Block(SCALING, *markers("retries", Path(short_retries.__file__)), short_retries.table()),
        Block(SCALING, *markers("fairness", fairness.RESULTS), fairness.table(of_fairness)),
        Block(SCALING, *markers("bill", RESULTS), limits.bill_table(results["bill"])),
        Block(SCALING, *markers("idle", Path(idle.__file__)), idle.table()),
    ]


def markers(name: str, source: Path) -> tuple[str, str]:
    """Return the comments around a block."""
    begin = f"<!-- {name}: made by `make figures` from benchmarks/{source.name} -->"
    return begin, f"<!-- end of {name} -->"


def with_figures(text: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with these figures. ValueError if it has no markers."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        msg = "the page has no markers for the figures"
        raise ValueError(msg)
    return f"{before}{begin}\n{made}\n{end}{after}"


def main() -> None:
    """Write the figures, or fail if they differ."""
    for block in blocks():
        text = block.page.read_text(encoding="utf-8")
        renewed = with_figures(text, block.made, block.begin, block.end)
        if "--check" not in sys.argv[1:]:
            block.page.write_text(renewed, encoding="utf-8")
        elif renewed != text:
            sys.exit(f"{block.page.name} has other figures than benchmarks/: make figures")


if __name__ == "__main__":
    main()
