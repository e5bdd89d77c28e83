"""One sweep's turn: its time, and what failed in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from webhooks.domain.errors import UnreadableRecordError
from webhooks.services.concurrency import run_inline
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from webhooks.ports import Telemetry

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

SECONDS_FOR_A_CALL = 10.0
"""A call at its slowest (see `adapters.aws`), and a second to end in.

A sweep that is cut off between two calls leaves nothing worse: the next one finds it."""


class Turn:
    """How long a sweep may go on, and the first of what failed in it. Safe to use from threads."""

    def __init__(self, remaining_seconds: Callable[[], float], telemetry: Telemetry) -> None:
        """`remaining_seconds` are those of the invocation."""
        self._remaining_seconds = remaining_seconds
        self._telemetry = telemetry
        self.failure: BaseException | None = None

    def spare_seconds(self) -> float:
        """Return the seconds until no further call is begun; below 0 it is too late for one."""
        return self._remaining_seconds() - SECONDS_FOR_A_CALL

    def attempt(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result | None:
        """Do a part of the sweep; where it fails, that is logged, and the sweep goes on."""
        future = run_inline(work, *args, **kwargs)
        error = future.exception()
        if error is None:
            return future.result()
        log_failure(self._telemetry, "sweep_failed", error)
        if not isinstance(error, UnreadableRecordError):
            # Of another sweep a record that cannot be read gets no better.
            self.failure = self.failure or error
        return None
