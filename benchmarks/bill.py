"""The bill of a million deliveries, from the golden file's units and the measured CPU time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.prices import billed_milliseconds, dollars, lambda_dollars
from benchmarks.scenarios import DEFERRED, DELIVERIES, DRAINED, GOLDEN, SCENARIOS, Scenario
from benchmarks.short_retries import WAIT_MS, express_dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

MILLION = 1_000_000
MEMORY_MB = 1024
"""The dispatcher's memory in the template; a test compares them."""

AWS_CALL_MS = 5.0
RECEIVER_MS = 100.0
"""Assumed waits for AWS and for a receiver in another place than this machine."""

STORED_BYTES = 1124
"""An item of a kilobyte, plus the 100 bytes that DynamoDB adds to each stored item."""

SENT_BYTES = 2700
"""Bytes of a delivery to the internet: body, headers, and our side of a TLS handshake."""

BUDGETS = {
    Scenario(1, 10, 0): 1.60,
    Scenario(1, 1, 0): 3.20,
    Scenario(10, 10, 0): 1.00,
}


def golden() -> dict[str, dict[str, Any]]:
    """Return the golden file's units by scenario."""
    units: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return units


def lines(units: Mapping[str, Any], *, sends: float, cpu_ms: float) -> dict[str, float]:
    """Return the dollars of a million deliveries, given the units of a hundred.

    `sends` is the number of events behind a hundred deliveries, each published in a request of its
    own. `cpu_ms` is a delivery's time on a whole virtual CPU.
    """
    scale = MILLION / DELIVERIES
    work_ms = billed_milliseconds(cpu_ms, MEMORY_MB) * MILLION
    return {
        "DynamoDB writes": dollars("write unit", units["write_units"] * scale),
        "DynamoDB reads": dollars("read unit", units["read_units"] * scale),
        "SQS": dollars("SQS request", (units["sqs_requests"] + sends) * scale),
        "Lambda requests": dollars("invocation", units["invocations"] * scale),
        "Lambda work": lambda_dollars(MEMORY_MB, work_ms),
        "logs": dollars("log byte", units["log_bytes"] * scale),
        "Step Functions": dollars("state transition", units["transitions"] * scale)
        + express_dollars(units["short_executions"] * scale, WAIT_MS + RECEIVER_MS),
        "EventBridge": dollars("EventBridge event", units["eventbridge_events"] * scale),
    }


def waiting(units: Mapping[str, Any], memory_mb: int = MEMORY_MB) -> float:
    """Return the dollars of a million deliveries' waits.

    Each invocation waits once for its receivers, which are called in parallel, and for its calls of
    AWS.
    """
    calls = sum(units["requests"].values())
    milliseconds = calls * AWS_CALL_MS + units["invocations"] * RECEIVER_MS
    return lambda_dollars(memory_mb, milliseconds * MILLION / DELIVERIES)


def of_scenarios(cpu_ms: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return each scenario's bill; `cpu_ms` is a delivery's, for `1` and `10` messages per batch.

    The bill for 100 % failing is that of one outage: all deliveries are deferred, and drained after
    it.
    """
    measured = golden()
    bills: dict[str, dict[str, float]] = {}
    for scenario in SCENARIOS:
        units = measured[str(scenario)]
        sends = DELIVERIES / scenario.webhooks
        cpu = cpu_ms["1" if scenario.messages * scenario.webhooks == 1 else "10"]
        if scenario.failing_percent == 100:
            continue
        bills[str(scenario)] = _total(lines(units, sends=sends, cpu_ms=cpu), units)
    deferred, drained = measured[DEFERRED], measured[DRAINED]
    first = lines(deferred, sends=DELIVERIES, cpu_ms=cpu_ms["10"])
    later = lines(drained, sends=0, cpu_ms=cpu_ms["10"])
    both = {name: first[name] + later[name] for name in first}
    bills["1 webhooks an event, 10 messages a batch, 100 % failing"] = _total(both, deferred)
    return bills


def monthly(
    bills: Mapping[str, Mapping[str, float]], scenario: Scenario, deliveries: float
) -> dict[str, float]:
    """Return the dollars of a month with this many deliveries, which are kept for 30 days."""
    millions = deliveries / MILLION
    of_a_million = bills[str(scenario)]
    stored_gb = deliveries * STORED_BYTES / 2**30
    parts = {
        "units and work": of_a_million["total"] * millions,
        "waiting": of_a_million["waiting besides"] * millions,
        "kept": dollars("GB-month stored", stored_gb) + dollars("GB-month recoverable", stored_gb),
        "sent": dollars("byte to the internet", deliveries * SENT_BYTES),
    }
    return {**parts, "together": sum(parts.values())}


def _total(parts: dict[str, float], units: Mapping[str, Any]) -> dict[str, float]:
    total = sum(parts.values())
    return {**parts, "total": total, "waiting besides": waiting(units)}
