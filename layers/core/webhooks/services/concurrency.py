"""Concurrent work, within the time that an invocation has left."""

from __future__ import annotations

from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS_FOR_ONE_CALL = 9.0
"""The longest time of a call of AWS (see `adapters.aws`)."""

SECONDS_FOR_A_ROTATED_SECRET = 5.0 + 2.0
"""A second request, and a quick call (see `adapters.aws`), which reads the new secret or records
which one the receiver takes."""

SECONDS_FOR_ONE_ATTEMPT = 5.0 + SECONDS_FOR_A_ROTATED_SECRET + 2 * SECONDS_FOR_ONE_CALL
"""An attempt's 5 seconds, the time for a rotated secret, and two calls that record a failure.

The first call writes the record. The second starts the retry, or marks the delivery for the sweep
if Step Functions might refuse too late. No attempt begins with less time left. A success is
recorded in one call, which leaves time for both quick calls."""

SECONDS_FOR_ONE_START = 2 * SECONDS_FOR_ONE_CALL
"""The start of an execution, and its mark for the sweep if it is refused."""

SECONDS_FOR_ONE_READ = SECONDS_FOR_ONE_CALL + SECONDS_FOR_ONE_ATTEMPT
"""A read, and the time for an attempt after it."""

SECONDS_TO_BEGIN_READS = 5.0
"""How long reads of one kind may begin. Even the slowest ones leave time for the next kind and for
attempts, so that the accounts whose turn comes first are served."""


class NoTimeLeftError(Exception):
    """Work was not begun, since the invocation might end before it. This is no failure."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one invocation: work begins only if `remaining_seconds()` are enough for it."""

    remaining_seconds: Callable[[], float]

    def in_time(self, read: Callable[[Item], Result]) -> Callable[[Item], Result]:
        """Limit reads of one kind, which begin now, to their share of the time.

        The returned function raises NoTimeLeftError once `SECONDS_TO_BEGIN_READS` are over, or if
        too little time is left for an attempt.
        """
        until = self.remaining_seconds() - SECONDS_TO_BEGIN_READS

        def read_in_time(item: Item) -> Result:
            seconds = self.remaining_seconds()
            if seconds < until or seconds < SECONDS_FOR_ONE_READ:
                raise NoTimeLeftError
            return read(item)

        return read_in_time

    def begin_reads(
        self, threads: Executor, reads: Sequence[Callable[[], Result]]
    ) -> list[Future[Result]]:
        """Begin reads of one kind, in order, without waiting for them (see `in_time`)."""
        return submit_all(threads, self.in_time(_read), reads)


def _read(read: Callable[[], Result]) -> Result:
    return read()


def run_all(
    threads: Executor, work: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """Do `work` on all items at once; return the results before the first unavailable one.

    Raises UnavailableError if the first item already failed so. An error that is a bug of ours is
    always raised.
    """
    started: list[Future[Result]] = [threads.submit(work, item) for item in items]
    # Wait for all of them: a running thread would be frozen with the function.
    wait(started)
    results: list[Result] = []
    failure: UnavailableError | None = None
    for one in started:
        try:
            result = one.result()
        except UnavailableError as error:
            failure = failure or error
        else:
            if failure is None:
                results.append(result)
    if failure is not None and not results:
        raise failure
    return results


def submit_all(
    threads: Executor, work: Callable[[Item], Result], items: Sequence[Item]
) -> list[Future[Result]]:
    """Begin `work` on all items at once; do a single one in this thread.

    Handing it to another thread and being woken by it takes longer than much of the work.
    """
    if len(items) != 1:
        return [threads.submit(work, item) for item in items]
    return [run_inline(work, items[0])]


def run_inline(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Future[Result]:
    """Do `work` in this thread; return a finished future with its result or its error.

    An error that ends this thread, such as Ctrl-C, is raised instead.
    """
    future: Future[Result] = Future()
    try:
        future.set_result(work(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future
