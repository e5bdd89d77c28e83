"""Work on several deliveries at once, every one of them waited for."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")


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
