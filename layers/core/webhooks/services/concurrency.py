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
"""A call of AWS at its slowest (see `adapters.aws`)."""

SECONDS_FOR_A_ROTATED_SECRET = 5.0 + 2.0
"""A second request, and a quick call (see `adapters.aws`): it reads the new secret, or writes which
one the receiver takes."""

SECONDS_FOR_ONE_ATTEMPT = 5.0 + SECONDS_FOR_A_ROTATED_SECRET + 2 * SECONDS_FOR_ONE_CALL
"""An attempt's 5 seconds, those for a rotated secret, and the two calls that record a failure: its
record, and its start or, where that may be refused too late, its mark for the sweep. With less
left, none is begun. A success is recorded in one call, so that both quick calls have their time."""

SECONDS_FOR_ONE_START = 2 * SECONDS_FOR_ONE_CALL
"""The start of an execution, and its mark for the sweep if it is refused."""

SECONDS_FOR_ONE_READ = SECONDS_FOR_ONE_CALL + SECONDS_FOR_ONE_ATTEMPT
"""A read that leaves time for an attempt."""

SECONDS_TO_BEGIN_READS = 5.0
"""How long reads of one kind are begun. Those at their slowest leave time for the next kind and
for attempts, so that the accounts whose turn comes first are served."""


class NoTimeLeftError(Exception):
    """Work was not begun, since the invocation might end before it: nobody's failure."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of one invocation: work begins only if `remaining_seconds()` are enough for it."""

    remaining_seconds: Callable[[], float]

    def in_time(self, read: Callable[[Item], Result]) -> Callable[[Item], Result]:
        """Return one kind of read, to be begun from now on.

        It raises NoTimeLeftError once `SECONDS_TO_BEGIN_READS` are over, or too little time is left
        for an attempt.
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
        """Begin reads of one kind, in their order, and wait for none (see `in_time`)."""
        return submit_all(threads, self.in_time(_read), reads)


def _read(read: Callable[[], Result]) -> Result:
    return read()


def run_all(
    threads: Executor, work: Callable[[Item], Result], items: Sequence[Item]
) -> list[Result]:
    """Do `work` on all items at once; returns the results up to where our own side failed.

    Raises UnavailableError where that was the first one already, and in any case what is a bug of
    ours.
    """
    started: list[Future[Result]] = [threads.submit(work, item) for item in items]
    # Every one is waited for: a thread that goes on would be frozen with the function.
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
    """Begin `work` on all items at once; a single one is done here and now.

    To hand it to a thread and to be woken by it takes longer than much of the work.
    """
    if len(items) != 1:
        return [threads.submit(work, item) for item in items]
    return [run_inline(work, items[0])]


def run_inline(
    work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Future[Result]:
    """Do `work` here and now, and keep what it came to as a thread does: an error too.

    But what ends this thread, as Ctrl-C, ends it here too.
    """
    future: Future[Result] = Future()
    try:
        future.set_result(work(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future
