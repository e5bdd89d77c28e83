"""The bill of an idle stack, computed from the template.

It is the table of `docs/scaling.md`. Stored logs and empty tables are left out: less than a cent.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.prices import dollars, lambda_dollars
from benchmarks.scenarios import GOLDEN
from local import template

if TYPE_CHECKING:
    from collections.abc import Mapping

HOURS = 730
"""Hours in a month, the figure of AWS's price calculator."""

SWEEPS = 60 * HOURS
SWEEP_MILLISECONDS = 300
"""Nineteen queries of ten milliseconds, and the CPU time on a small share of a CPU."""

SWEEP_METRICS = ("OverdueDeliveries", "OverdueJobs", "OverdueRecoveries")
"""Metrics of a sweep that finds nothing. CloudWatch bills a metric for its hours with data."""

POLLERS = 5
"""Lambda's parallel long polls of an empty queue ("Using Lambda with Amazon SQS")."""

SWEPT_TABLES = 2
KEY_USES_AN_HOUR = 12
"""DynamoDB calls KMS again after five minutes, for each table and caller ("DynamoDB encryption at
rest: usage notes").
"""


class Item(NamedTuple):
    """A part of the bill: dollars per month, and dollars above an AWS account's free share."""

    name: str
    listed: float
    beyond_free: float


def alarm_metrics(resources: Mapping[str, Any]) -> int:
    """Return the number of the alarms' metrics, which are billed; an expression has several."""
    alarms = template.of_type({"Resources": resources}, "AWS::CloudWatch::Alarm").values()
    return sum(
        sum("MetricStat" in part for part in alarm["Properties"].get("Metrics", [])) or 1
        for alarm in alarms
    )


def items() -> list[Item]:
    """Return the parts of the bill with the parameters' defaults, the most expensive first."""
    resources = template.existing(template.read())["Resources"]
    dashboards = len(template.of_type({"Resources": resources}, "AWS::CloudWatch::Dashboard"))
    alarms = alarm_metrics(resources)
    wait = resources["EventsQueue"]["Properties"]["ReceiveMessageWaitTimeSeconds"]
    found = [
        _priced("CloudWatch dashboard", "dashboard", dashboards, free=3),
        _priced(f"CloudWatch alarms, {alarms} metrics", "alarm metric", alarms, free=10),
        _priced("KMS key, in its first year", "KMS key", 1),
        _priced("The sweep's metrics", "custom metric", len(SWEEP_METRICS), free=10),
        _priced(
            "Lambda's polls of the events queue",
            *("SQS request", POLLERS * HOURS * 3600 / wait),
            free=1e6,
        ),
        _sweeps(resources["WorkerFunction"]["Properties"]["MemorySize"]),
        _priced(
            "DynamoDB's use of the KMS key",
            *("KMS request", SWEPT_TABLES * KEY_USES_AN_HOUR * HOURS),
            free=20_000,
        ),
    ]
    return sorted(found, key=lambda item: -item.listed)


def _priced(name: str, unit: str, count: float, *, free: float = 0) -> Item:
    return Item(name, dollars(unit, count), dollars(unit, max(0, count - free)))


def _sweeps(memory_mb: int) -> Item:
    """Return the cost of the sweeps; invocations, their time and logs have a free share."""
    sweep = json.loads(GOLDEN.read_text(encoding="utf-8"))["a sweep that finds nothing"]
    units = dollars("read unit", sweep["read_units"]) + dollars("write unit", sweep["write_units"])
    work = (
        dollars("invocation", sweep["invocations"])
        + dollars("log byte", sweep["log_bytes"])
        + lambda_dollars(memory_mb, SWEEP_MILLISECONDS)
    )
    return Item("The sweep, once a minute", SWEEPS * (units + work), SWEEPS * units)


class Totals(NamedTuple):
    """Dollars per month: list prices, above the free share, and the latter without alarms."""

    listed: float
    beyond_free: float
    without_alarms: float


@cache
def totals() -> Totals:
    """Return the sums of the table."""
    found = items()
    quiet = [item for item in found if not item.name.startswith("CloudWatch alarms")]
    return Totals(
        sum(item.listed for item in found),
        sum(item.beyond_free for item in found),
        sum(item.beyond_free for item in quiet),
    )


def table() -> str:
    """Return the table as Markdown."""
    rows = [*items(), Item("Together", totals().listed, totals().beyond_free)]
    lines = [f"| {row.name} | ${row.listed:.2f} | ${row.beyond_free:.2f} |" for row in rows]
    head = "| | List price | Beyond an AWS account's free share |\n|---|---|---|"
    return "\n".join([head, *lines])
