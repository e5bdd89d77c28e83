"""Running executions of Standard state machines: counted, and stopped as fast as allowed.

A Standard state machine is deleted only when its last execution has ended (DeleteStateMachine in
AWS's API reference). The rates are Step Functions' default quotas, per AWS account and region.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from ops.deployed import unless_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

THREADS = 32
"""Parallel requests: enough for 200 per second at 150 ms each."""

MOST_COUNTED = 50_000
"""The limit of counting a state machine's executions: fifty pages of ListExecutions, half of the
bucket of its quota in the smaller regions.
"""

LOOK_SECONDS = 5.0
"""Seconds between two listings, which are eventually consistent."""

_PAGE = 1000
"""ListExecutions' largest page."""

_PROGRESS_SECONDS = 1.0


class RequestQuota(NamedTuple):
    """A quota of requests: a bucket, and the requests per second that refill it."""

    bucket: int
    per_second: int

    def seconds(self, requests: int) -> float:
        """Return the seconds that this many requests take, starting with a full bucket."""
        return max(requests - self.bucket, 0) / self.per_second


_LARGE_REGIONS = frozenset({"us-east-1", "us-west-2", "eu-west-1"})
_STOP_IN_LARGE_REGIONS = RequestQuota(1000, 200)
_STOP = RequestQuota(500, 25)


def stop_quota(region: str) -> RequestQuota:
    """Return the default quota of StopExecution in a region."""
    return _STOP_IN_LARGE_REGIONS if region in _LARGE_REGIONS else _STOP


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that never goes back, and a way to sleep; both in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep


class RequestPacer:
    """Lets requests through at the rate of a quota. For one thread. The bucket is full at first."""

    def __init__(self, quota: RequestQuota, clock: Clock) -> None:
        self._quota = quota
        self._clock = clock
        self._left = float(quota.bucket)
        self._at = clock.now()

    def wait(self) -> None:
        """Return when the next request may be sent."""
        self._refill()
        if self._left < 1:
            self._clock.sleep((1 - self._left) / self._quota.per_second)
            self._refill()
        self._left -= 1

    def _refill(self) -> None:
        now = self._clock.now()
        refilled = self._left + (now - self._at) * self._quota.per_second
        self._left, self._at = min(float(self._quota.bucket), refilled), now


@dataclass(frozen=True, slots=True)
class Count:
    """A number, and whether counting was complete."""

    number: int
    complete: bool = True

    def __str__(self) -> str:
        """Return the number, with `more than` if counting stopped early."""
        return f"{self.number:,}" if self.complete else f"more than {self.number:,}"

    def __add__(self, other: Count) -> Count:
        """Add two counts."""
        return Count(self.number + other.number, self.complete and other.complete)


def duration(seconds: float) -> str:
    """Return a duration in words, in a fitting unit."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        # 90 minutes reads better than 1.5 hours.
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {unit}"
    return f"{math.ceil(seconds)} seconds" if seconds > 1 else "a second"


def standard(states: Any, machines: Mapping[str, str]) -> dict[str, str]:
    """Return the Standard ones of some state machines: ARNs by name.

    Executions of Express ones end within five minutes, and cannot be listed or stopped.
    """
    found = {}
    for name, arn in machines.items():
        with unless_gone():
            if states.describe_state_machine(stateMachineArn=arn)["type"] == "STANDARD":
                found[name] = arn
    return found


class Executions:
    """The running executions of some Standard state machines.

    `machines` has their ARNs by name, in the order in which they are stopped.
    """

    def __init__(
        self,
        states: Any,
        machines: Mapping[str, str],
        quota: RequestQuota,
        clock: Clock,
        progress: Callable[[str], None],
    ) -> None:
        self.machines = machines
        self._states = states
        self._pacer = RequestPacer(quota, clock)
        self._report = _Report(quota, clock, progress)

    def count(self) -> dict[str, Count]:
        """Count the running executions of each state machine, up to `MOST_COUNTED`."""
        counts = {name: self._count(arn) for name, arn in self.machines.items()}
        self._report.expected = sum(counts.values(), Count(0))
        return counts

    def stop(self) -> int:
        """Stop all executions that are listed as running now; return their number.

        An execution whose stop was throttled continues, and the next call stops it. Raises
        ClientError if Step Functions refuses a request.
        """
        found = 0
        threads = ThreadPoolExecutor(THREADS)
        try:
            for arn in self.machines.values():
                for page in self._pages(arn):
                    found += len(page)
                    self._stop_page(page, threads)
        finally:
            # Also if this thread is interrupted: it does not wait for the rest of a page.
            threads.shutdown(cancel_futures=True)
        return found

    def _stop_page(self, page: Sequence[str], threads: ThreadPoolExecutor) -> None:
        requests = []
        for execution in page:
            self._pacer.wait()
            requests.append(threads.submit(self._stop_one, execution))
            self._report.add(execution)
        for request in requests:
            request.result()

    def _stop_one(self, execution: str) -> None:
        try:
            with unless_gone():
                self._states.stop_execution(executionArn=execution)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ThrottlingException":
                raise

    def _pages(self, arn: str) -> Iterator[Sequence[str]]:
        paginator = self._states.get_paginator("list_executions")
        pages = paginator.paginate(
            stateMachineArn=arn, statusFilter="RUNNING", PaginationConfig={"PageSize": _PAGE}
        )
        with unless_gone():
            for page in pages:
                yield [execution["executionArn"] for execution in page["executions"]]

    def _count(self, arn: str) -> Count:
        number = 0
        for page in self._pages(arn):
            if page and number >= MOST_COUNTED:
                return Count(number, complete=False)
            number += len(page)
        return Count(number)


class _Report:
    """Reports the number of stopped executions, once per second."""

    def __init__(self, quota: RequestQuota, clock: Clock, progress: Callable[[str], None]) -> None:
        self.expected = Count(0)
        self._quota = quota
        self._clock = clock
        self._progress = progress
        self._sent: set[int] = set()
        self._said_at = float("-inf")

    def add(self, execution: str) -> None:
        # Listings lag and some stops are throttled, so an execution may be stopped twice. Hashes of
        # a million ARNs are smaller than the ARNs.
        self._sent.add(hash(execution))
        if self._clock.now() - self._said_at >= _PROGRESS_SECONDS:
            self._said_at = self._clock.now()
            self._progress(self._text())

    def _text(self) -> str:
        sent = len(self._sent)
        left = self.expected.number - sent
        if left < 0 and self.expected.complete:
            return f"{sent:,} executions stopped"
        text = f"{sent:,} of {self.expected} executions stopped"
        if left <= 0 or not self.expected.complete:
            return text
        return f"{text}, about {duration(left / self._quota.per_second)} left"
