"""Logs and metrics of a function, through Powertools."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

NAMESPACE = "SendCommsWebhooks"


class PowertoolsObserver:
    """One structured log line for each thing worth one, and one line of metrics an invocation.

    Metrics have the function as their only dimension: what a dimension costs does not grow with
    customers. When all goes well the line of metrics is the invocation's only line, and names what
    the invocation was about, so that an id leads to it.
    """

    def __init__(self, service: str, stack: str = "") -> None:
        """Name the function, as `dispatcher`; a `stack` has its metrics to itself by its name."""
        self._service = service
        self._namespace = f"{NAMESPACE}/{stack}" if stack else NAMESPACE
        self._logger = Logger(service=service, location=None)
        self._counts: dict[str, int] = {}
        self._times: defaultdict[str, list[int]] = defaultdict(list)
        self._traced: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    @contextmanager
    def invocation(self, context: LambdaContext, **ids: str) -> Iterator[None]:
        """Give an invocation's lines its id, and `ids`; write its metrics when it ends."""
        ids["request_id"] = context.aws_request_id
        self._logger.append_keys(**ids)
        try:
            yield
        finally:
            self.flush(**ids)
            # A process is kept: the next invocation is about something else.
            self._logger.remove_keys(ids)

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; safe from any thread."""
        getattr(self._logger, level)(event, extra=fields)

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters; safe from any thread."""
        with self._lock:
            self._counts[metric] = self._counts.get(metric, 0) + value

    def measure(self, metric: str, milliseconds: int) -> None:
        """Add a time to those of one of the invocation's metrics; safe from any thread."""
        with self._lock:
            self._times[metric].append(milliseconds)

    def trace(self, field: str, name: str) -> None:
        """Have the line of metrics name what the invocation was about; safe from any thread."""
        with self._lock:
            self._traced[field].append(name)

    def flush(self, **ids: str) -> None:
        """Write the invocation's metrics as one line in CloudWatch's embedded metric format.

        No line where nothing was counted. `ids` are what it names besides.

        A metric of that format has a hundred values at most: Powertools begins another line then,
        which says everything but the counters again.
        """
        with self._lock:
            counts, self._counts = self._counts, {}
            times, self._times = self._times, defaultdict(list)
            traced, self._traced = self._traced, defaultdict(list)
        if not counts and not times:
            return
        metrics = EphemeralMetrics(namespace=self._namespace, service=self._service)
        for name, about in {**ids, **traced}.items():
            metrics.add_metadata(name, about)
        for name, value in counts.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        for name, milliseconds in times.items():
            for value in milliseconds:
                metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=value)
        if metrics.metric_set:
            metrics.flush_metrics()
