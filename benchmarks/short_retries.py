"""The cost of short retries: a million deliveries; 1 % fail once and succeed when retried.

Computed from the list prices of Express workflows, waiting included, for attempts with a response
after 0.3 seconds and for attempts that time out. The tiers are those of a month at a steady rate.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from benchmarks.prices import dollars

MILLION = 1_000_000
FAILING = 0.01
WAIT_MS = 5_000
ATTEMPTS_MS = (300, 5_200)
EVENTS_A_SECOND = (1, 40, 400)
MEMORY_GB = 64 / 1024
"""One step of billed memory is 50 MB; the definition and the state are smaller."""
STEP_MS = 100
"""Durations are rounded up to a multiple of it."""
BUDGET_DOLLARS = 0.12
CLAIM_WRITE_UNITS = 1
"""The claim changes an attribute that is in no index: one unit for a record of up to a kilobyte.
With its claim, the event of `tests/data/units.json` is slightly larger and costs three units more.
"""
STANDARD_STATES = 4

_MONTH_SECONDS = 730 * 3600
_HOUR_MS = 3_600_000


class Tier(NamedTuple):
    """GB-hours of a month up to a number, and the price of each: Step Functions' pricing page."""

    gb_hours: float
    unit: str


TIERS = (
    Tier(1_000, "Express GB-hour, first 1,000"),
    Tier(4_000, "Express GB-hour, next 4,000"),
    Tier(math.inf, "Express GB-hour, from 5,000"),
)


def billed_ms(milliseconds: float) -> int:
    """Return a duration rounded up as it is billed."""
    return math.ceil(milliseconds / STEP_MS) * STEP_MS


def gb_hours(executions: float, milliseconds: float) -> float:
    """Return the GB-hours of executions of this duration."""
    return executions * billed_ms(milliseconds) * MEMORY_GB / _HOUR_MS


def express_dollars(executions: float, milliseconds: float) -> float:
    """Return the dollars of a month's executions: their starts and their GB-hours."""
    left = gb_hours(executions, milliseconds)
    total = dollars("Express execution", executions)
    for tier in TIERS:
        part = min(left, tier.gb_hours)
        total += dollars(tier.unit, part)
        left -= part
    return total


def of_a_million(events_a_second: float, attempt_ms: float) -> float:
    """Return the dollars of Step Functions for a million deliveries at this rate."""
    deliveries = events_a_second * _MONTH_SECONDS
    month = express_dollars(deliveries * FAILING, WAIT_MS + attempt_ms)
    return month / deliveries * MILLION


def claims_of_a_million() -> float:
    """Return the dollars of the claims' write units for a million deliveries."""
    return dollars("write unit", MILLION * FAILING * CLAIM_WRITE_UNITS)


def standard_of_a_million() -> float:
    """Return the dollars if each failing delivery had a Standard execution."""
    return dollars("state transition", MILLION * FAILING * STANDARD_STATES)


def table() -> str:
    """Return the costs as Markdown."""
    rates = " | ".join(f"{rate} events/s" for rate in EVENTS_A_SECOND)
    lines = [
        f"| Step Functions, $ a million deliveries, 1 % failing once | {rates} | Standard |",
        "|---|" + "---|" * (len(EVENTS_A_SECOND) + 1),
    ]
    for attempt_ms in ATTEMPTS_MS:
        costs = " | ".join(f"{of_a_million(rate, attempt_ms):.3f}" for rate in EVENTS_A_SECOND)
        name = f"wait of 5 s, attempt of {attempt_ms / 1000:.1f} s"
        lines.append(f"| {name} | {costs} | {standard_of_a_million():.2f} |")
    claims = claims_of_a_million()
    cells = " | ".join([f"{claims:.4f}"] * (len(EVENTS_A_SECOND) + 1))
    lines.append(f"| the claims' write units besides, of records up to 1 KB | {cells} |")
    return "\n".join(lines)
