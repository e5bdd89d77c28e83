"""Work on several deliveries at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from webhooks.domain.errors import UnavailableError
from webhooks.services.concurrency import run_all, submit_all


@pytest.mark.parametrize("failure", [UnavailableError("the table"), KeyError("a bug")])
def test_after_a_failure_the_others_are_waited_for(failure: Exception) -> None:
    """A thread that outlives the function's answer is frozen in the middle of its work."""
    first_failed = threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        if item == 0:
            first_failed.set()
            raise failure
        first_failed.wait(10)
        threading.Event().wait(0.05)
        done.append(item)

    with ThreadPoolExecutor(4) as threads:
        with pytest.raises(type(failure)):
            run_all(threads, work, range(4))
        assert sorted(done) == [1, 2, 3]


def test_the_results_are_those_up_to_where_our_own_side_failed() -> None:
    def work(item: int) -> int:
        if item == 2:
            msg = "the table"
            raise UnavailableError(msg)
        return item

    with ThreadPoolExecutor(4) as threads:
        assert run_all(threads, work, range(4)) == [0, 1]


@pytest.mark.parametrize("items", [[1], [1, 2]])
def test_an_items_error_is_raised_with_its_result(items: list[int]) -> None:
    def work(item: int) -> int:
        raise KeyError(item)

    with ThreadPoolExecutor(2) as threads:
        for future in submit_all(threads, work, items):
            assert isinstance(future.exception(), KeyError)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_callers_own_thread_is_not_kept_from_it(end: type[BaseException]) -> None:
    def work(_: int) -> None:
        raise end

    with ThreadPoolExecutor(1) as threads, pytest.raises(end):
        submit_all(threads, work, [1])
