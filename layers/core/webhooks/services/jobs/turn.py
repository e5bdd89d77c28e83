"""The time budget of one sweep, and its first failure."""

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

A sweep that is cut off between two calls does no harm: the next one continues its work.
"""


class Turn:
    """The time that a sweep has left, and its first failure. Safe to use from threads.

    `remaining_seconds` gives the time that the invocation has left.
    """

    def __init__(self, remaining_seconds: Callable[[], float], telemetry: Telemetry) -> None:
        self._remaining_seconds = remaining_seconds
        self._telemetry = telemetry
        self.failure: BaseException | None = None

    def spare_seconds(self) -> float:
        """Return the seconds until no further call may begin; below 0 it is too late for one."""
        return self._remaining_seconds() - SECONDS_FOR_A_CALL

    def attempt(
        self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result | None:
        """Run a part of the sweep; a failure is logged, and the sweep continues."""
        future = run_inline(work, *args, **kwargs)
        error = future.exception()
        if error is None:
            return future.result()
        log_failure(self._telemetry, "sweep_failed", error)
        if not isinstance(error, UnreadableRecordError):
            # An unreadable record is no failure of the sweep: no further sweep can repair it.
            self.failure = self.failure or error
        return None
