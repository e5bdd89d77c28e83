"""Logs and metrics of a function, through Powertools."""

from __future__ import annotations

import threading
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
    customers. When all goes well the line of metrics is the invocation's only line.
    """

    def __init__(self, service: str) -> None:
        """Name the function, as `dispatcher`."""
        self._service = service
        self._logger = Logger(service=service, location=None)
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def invocation(self, context: LambdaContext) -> Iterator[None]:
        """Give an invocation's lines its id; write its counters when it ends, however it does."""
        self._logger.append_keys(request_id=context.aws_request_id)
        try:
            yield
        finally:
            self._flush(context)

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; safe from any thread."""
        getattr(self._logger, level)(event, extra=fields)

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters; safe from any thread."""
        with self._lock:
            self._counts[metric] = self._counts.get(metric, 0) + value

    def _flush(self, context: LambdaContext) -> None:
        """Write the invocation's counters as one line in CloudWatch's embedded metric format."""
        with self._lock:
            counts, self._counts = self._counts, {}
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        for name, value in counts.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        if counts:
            metrics.add_metadata("request_id", context.aws_request_id)
            metrics.flush_metrics()
