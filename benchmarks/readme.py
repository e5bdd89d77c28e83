"""Puts the figures of `benchmarks/results.json` between the README's markers.

`python -m benchmarks.readme` writes them, with `--check` it only tells whether they match.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.run import RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

README = Path(__file__).parents[1] / "README.md"
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


def with_figures(text: str, made: str) -> str:
    """Return the README with these figures. ValueError where it has no markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = "the README has no markers for the figures"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    """Write the figures, or tell that they do not match."""
    text = README.read_text(encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    renewed = with_figures(text, figures(results))
    if "--check" not in sys.argv[1:]:
        README.write_text(renewed, encoding="utf-8")
    elif renewed != text:
        sys.exit("The README's figures are not those of benchmarks/results.json: make figures")


if __name__ == "__main__":
    main()
