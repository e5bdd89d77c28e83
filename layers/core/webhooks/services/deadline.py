"""The time that an invocation has left, and what may still be begun in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from webhooks.services.concurrency import submit_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS_FOR_ONE_CALL = 9.0
"""A call of AWS at its slowest (see `adapters.aws`)."""

SECONDS_FOR_A_ROTATED_SECRET = 5.0 + 2.0
"""A second request, and a quick call (see `adapters.aws`): it reads the new secret, or writes which
one the receiver takes."""

SECONDS_FOR_ONE_ATTEMPT = 5.0 + SECONDS_FOR_A_ROTATED_SECRET + 2 * SECONDS_FOR_ONE_CALL
"""An attempt's 5 seconds, those for a rotated secret, and the two calls that record a failure: its
record, and its start or, where that may be refused too late, its mark for the sweep. With less
left, none is begun. A success is recorded in one call, so that both quick calls have their time."""

SECONDS_TO_BEGIN_READS = 5.0
"""How long reads of one kind are begun. Those at their slowest leave time for the next kind and
for attempts, so that the accounts whose turn comes first are served."""


class NoTimeLeftError(Exception):
    """Work was not begun, since the invocation might end before it: nobody's failure."""


class Deadline:
    """The end of one invocation."""

    def __init__(self, remaining_seconds: Callable[[], float]) -> None:
        """Ask `remaining_seconds` for the time left."""
        self._remaining_seconds = remaining_seconds

    def allows_call(self) -> bool:
        """Tell whether a call of AWS would end in time."""
        return self._remaining_seconds() >= SECONDS_FOR_ONE_CALL

    def allows_attempt(self) -> bool:
        """Tell whether an attempt and its record would end in time."""
        return self._remaining_seconds() >= SECONDS_FOR_ONE_ATTEMPT

    def allows_start(self) -> bool:
        """Tell whether the start of an execution would end in time, and its mark where refused."""
        return self._remaining_seconds() >= 2 * SECONDS_FOR_ONE_CALL

    def allows_read(self) -> bool:
        """Tell whether a read would end in time for an attempt."""
        return self._remaining_seconds() >= SECONDS_FOR_ONE_CALL + SECONDS_FOR_ONE_ATTEMPT

    def in_time(self, read: Callable[[Item], Result]) -> Callable[[Item], Result]:
        """Return one kind of read, to be begun from now on.

        It raises NoTimeLeftError once `SECONDS_TO_BEGIN_READS` are over, or too little time is left
        for an attempt.
        """
        until = self._remaining_seconds() - SECONDS_TO_BEGIN_READS

        def read_in_time(item: Item) -> Result:
            if self._remaining_seconds() < until or not self.allows_read():
                raise NoTimeLeftError
            return read(item)

        return read_in_time

    def begin_reads(
        self, threads: Executor, read: Callable[[Item], Result], items: Sequence[Item]
    ) -> list[Future[Result]]:
        """Begin a kind of read for all items, in their order, and wait for none (see `in_time`)."""
        return submit_all(threads, self.in_time(read), items)
