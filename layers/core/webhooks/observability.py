"""Logs and metrics of a function, through Powertools."""

from __future__ import annotations

import json
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext

NAMESPACE = "SendCommsWebhooks"

MAX_VALUES = 100
"""CloudWatch's limit of values for a metric in one line of its embedded metric format."""

MAX_IDS = 500
"""The most ids of one kind in the line of metrics. With 128 escaped characters each, the line stays
below 256 KB; Lambda splits longer lines, and CloudWatch finds no metrics in the parts.
"""


class PowertoolsTelemetry:
    """One structured log line per noteworthy fact, and one line of metrics per invocation.

    Metrics have the function's name as their only dimension, so their price does not grow with the
    number of customers. In an invocation without faults the line of metrics is the only line. It
    lists the ids that the invocation worked on, so a search for an id finds it.

    `service` is the function's name, for example `dispatcher`. With `stack`, the metrics get a
    namespace of that stack's own.
    """

    def __init__(self, service: str, stack: str = "") -> None:
        self._service = service
        self._namespace = f"{NAMESPACE}/{stack}" if stack else NAMESPACE
        # Lambda reads a line's level only if its time is in RFC 3339 and counts any other line as
        # INFO ("Log-level filtering", Lambda's guide).
        self._logger = Logger(service=service, location=None, use_rfc3339=True, utc=True)
        self._counts: dict[str, int] = {}
        self._times: defaultdict[str, list[int]] = defaultdict(list)
        self._traced: defaultdict[str, list[str]] = defaultdict(list)
        self._left_out: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    @contextmanager
    def invocation(self, context: LambdaContext, **ids: str) -> Iterator[None]:
        """Add the request's id and `ids` to an invocation's lines; write its metrics at its end."""
        ids["request_id"] = context.aws_request_id
        self._logger.append_keys(**ids)
        try:
            yield
        finally:
            self.flush(**ids)
            # The process serves further invocations, which have other ids.
            self._logger.remove_keys(ids)

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; safe from any thread."""
        getattr(self._logger, level)(event, extra=fields)

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters; safe from any thread."""
        with self._lock:
            self._counts[metric] = self._counts.get(metric, 0) + value

    def record_time(self, metric: str, milliseconds: int) -> None:
        """Add a time to one of the invocation's metrics; safe from any thread."""
        with self._lock:
            self._times[metric].append(milliseconds)

    def annotate(self, field: str, name: str) -> None:
        """Add an id to the invocation's line of metrics; safe from any thread.

        Ids past `MAX_IDS` of a field are only counted, in `<field>_left_out`.
        """
        with self._lock:
            names = self._traced[field]
            if len(names) < MAX_IDS:
                names.append(name)
            else:
                self._left_out[f"{field}_left_out"] += 1

    def flush(self, **ids: str) -> None:
        """Write the invocation's metrics as one line in CloudWatch's embedded metric format.

        `ids` are added to the line. Without any metric there is no line. A metric with more times
        than the format allows is written as percentiles.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
            times, self._times = self._times, defaultdict(list)
            traced, self._traced = self._traced, defaultdict(list)
            left_out, self._left_out = self._left_out, defaultdict(int)
        if not counts and not times:
            return
        # Not `add_metric`, which begins another line at the hundredth value.
        metrics = {
            **{name: _metric(MetricUnit.Count, [value]) for name, value in counts.items()},
            **{
                name: _metric(MetricUnit.Milliseconds, _percentiles(values))
                for name, values in times.items()
            },
        }
        written = EphemeralMetrics(namespace=self._namespace, service=self._service)
        line = written.serialize_metric_set(metrics, metadata={**ids, **traced, **left_out})
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")


def _metric(unit: MetricUnit, values: Sequence[int]) -> dict[str, object]:
    return {"Unit": unit.value, "Value": [float(value) for value in values]}


def _percentiles(values: list[int]) -> list[int]:
    """Return the values, or the 1st to 100th percentiles if a line cannot hold them all.

    Nearest rank: the 99th of the hundred is the 99th percentile of all values, the last is the
    maximum.
    """
    if len(values) <= MAX_VALUES:
        return values
    ordered = sorted(values)
    return [ordered[-(-rank * len(ordered) // MAX_VALUES) - 1] for rank in range(1, MAX_VALUES + 1)]
