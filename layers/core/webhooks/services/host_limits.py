"""The limit of an account's requests a second to a host, over all of its webhooks.

Deliveries above the limit get turns in the line that all processes share. They come back at their
turns, in messages of their own, and are not counted again.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import Circuit
from webhooks.domain.host_turns import AT_ONCE_SECONDS, Bucket, delays, line_ms, lot
from webhooks.domain.resending import ASKED, HAS_TURN
from webhooks.domain.timestamps import MILLISECONDS, to_ms
from webhooks.services.concurrency import NoTimeLeftError, submit_all
from webhooks.services.dispatch.event_limits import LONGEST_DELAY_SECONDS
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.webhook import Webhook
    from webhooks.ports import HostTurns, Telemetry
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.messages import DeliveryTask, ReceivedEvent

PACED_ENDS_AFTER_MS = 14 * 24 * 60 * 60 * MILLISECONDS
"""A delivery that has asked for a turn before is sent at once if its event arrived this long
ago."""

_MOST_BUCKETS = 4096
"""Hosts that a process remembers; a forgotten host begins again with a full bucket."""

_SAME_LOG_SECONDS = 60.0


class Line(NamedTuple):
    """The line of an account's requests to a host."""

    account_id: str
    host: str


class Turns(NamedTuple):
    """The turns that a job may use now, and the seconds to wait for more."""

    now: int
    wait_seconds: float = 0.0


class HostLimits:
    """Limits the requests to hosts; kept between invocations, with this process's buckets.

    Each account may send `rate` requests a second to a host; 0 means any number. `clock` gives Unix
    seconds, `random` a number from 0 to 1.
    """

    def __init__(
        self,
        turns: HostTurns,
        *,
        rate: int,
        telemetry: Telemetry,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._turns = turns
        self.rate = rate
        self._telemetry = telemetry
        self._clock = clock
        self._random = random
        self._buckets: OrderedDict[Line, Bucket] = OrderedDict()
        self._logged_at: dict[str, float] = {}

    def admitted(
        self,
        tasks: Sequence[DeliveryTask],
        batch: Batch,
    ) -> list[DeliveryTask]:
        """Return the deliveries to attempt now; the others come back at their turns.

        Only deliveries that will be attempted count. If turns cannot be reserved, or there is no
        time for it, all deliveries are attempted, unless this process knows that the line goes on:
        a flood may be more writes than DynamoDB takes of one item.
        """
        lines: defaultdict[Line, list[DeliveryTask]] = defaultdict(list)
        for task in tasks:
            if self._counts(task):
                lines[Line(task.key.account_id, host_of(task.destination.webhook.url))].append(task)
        now = self._clock()
        missing: dict[Line, list[DeliveryTask]] = {}
        for line, some in lines.items():
            unasked = self._bucket(line, now).take(len(some), self.rate, now)
            if unasked < len(some):
                missing[line] = some[unasked:]
        waiting = self._waiting(missing, batch, now)
        for task, (seconds, paced) in waiting.values():
            batch.leftovers.add_in_turn(task, seconds, paced)
        if waiting:
            self._telemetry.count("PacedDeliveries", len(waiting))
            self._log_once_a_minute(task for task, _ in waiting.values())
        return [task for task in tasks if id(task) not in waiting]

    def turns(self, account_id: str, url: str, count: int) -> Turns:
        """Take turns for a job's next step, which sends up to `count` requests to a url's host.

        If none may be used now, nothing is reserved: the job asks again after its wait. If turns
        cannot be reserved, all requests may be sent.
        """
        if not self.rate:
            return Turns(count)
        line, now = Line(account_id, host_of(url)), self._clock()
        unasked = self._bucket(line, now).take(count, self.rate, now)
        further = min(count - unasked, self.rate)
        if not further:
            return Turns(unasked)
        now_ms = to_ms(now)
        span_ms = line_ms(further, self.rate)
        try:
            begins_ms = self._turns.reserve(*line, span_ms=span_ms, now_ms=now_ms, latest_ms=now_ms)
        except UnavailableError as error:
            log_failure(self._telemetry, "turns_not_reserved", error, account_id=account_id)
            return Turns(count)
        if begins_ms is not None:
            return Turns(unasked + further)
        return Turns(unasked, 0.0 if unasked else 1.0 + self._random())

    def _counts(self, task: DeliveryTask) -> bool:
        webhook = task.destination.webhook
        if task.stored is not None or not webhook.active:
            return False
        if webhook.health.paused_until_ms(to_ms(self._clock())) is not None:
            return False
        return webhook.health.circuit is not Circuit.OPEN and not self._passes(task.received)

    def _passes(self, received: ReceivedEvent) -> bool:
        """True if a delivery has its turn, or has asked for one for too long."""
        if received.message.paced != ASKED:
            return received.message.paced == HAS_TURN
        age_ms = self._clock() * MILLISECONDS - received.arrived_at_ms
        return age_ms > PACED_ENDS_AFTER_MS

    def _waiting(
        self,
        missing: Mapping[Line, Sequence[DeliveryTask]],
        batch: Batch,
        now: float,
    ) -> dict[int, tuple[DeliveryTask, tuple[int, int]]]:
        """Return the tasks that wait, each with its delay in seconds and its `paced` mark."""
        now_ms = to_ms(now)
        # At a low rate one batch may be a longer line than a message may wait in the queue.
        most = max(1, self.rate * LONGEST_DELAY_SECONDS // 2)

        def reserve(line: Line) -> int | None:
            span_ms = line_ms(min(len(missing[line]), most), self.rate)
            return self._turns.reserve(
                *line,
                span_ms=span_ms,
                now_ms=now_ms,
                latest_ms=now_ms + LONGEST_DELAY_SECONDS * MILLISECONDS - span_ms,
                least_ms=line_ms(lot(self.rate), self.rate),
            )

        waiting: dict[int, tuple[DeliveryTask, tuple[int, int]]] = {}
        lines = list(missing)
        reserved = submit_all(batch.threads.attempts, batch.deadline.in_time(reserve), lines)
        for line, one in zip(lines, reserved, strict=True):
            tasks, error, bucket = missing[line], one.exception(), self._bucket(line, now)
            if isinstance(error, NoTimeLeftError):
                continue
            if error is not None:
                log_failure(
                    self._telemetry, "turns_not_reserved", error, account_id=line.account_id
                )
                left_seconds = bucket.line_until - now
                if left_seconds < AT_ONCE_SECONDS:
                    continue
                found = [self._asks_again(left_seconds)] * len(tasks)
            else:
                found = self._delays(one.result(), len(tasks), most, now_ms)
                bucket.line_until = now + max(seconds for seconds, _ in found)
                if one.result() == now_ms:
                    bucket.keep(max(0, lot(self.rate) - len(tasks)), now)
            for task, (seconds, paced) in zip(tasks, found, strict=True):
                if seconds:
                    waiting[id(task)] = task, (seconds, paced)
        return waiting

    def _delays(
        self, first_ms: int | None, count: int, most: int, now_ms: int
    ) -> list[tuple[int, int]]:
        """Return the delay of each task: up to `most` have turns, the others ask again."""
        if first_ms is None:
            # The line is longer than a message may wait in the queue.
            return [self._asks_again(LONGEST_DELAY_SECONDS)] * count
        turns = delays(first_ms, min(count, most), self.rate, now_ms)
        further = [self._asks_again(LONGEST_DELAY_SECONDS)] * (count - len(turns))
        return [(one, HAS_TURN) for one in turns] + further

    def _asks_again(self, seconds: float) -> tuple[int, int]:
        """Return a random delay, half to all of `seconds`, after which tasks ask again."""
        return max(1, int(seconds * (1 - self._random() / 2))), ASKED

    def _bucket(self, line: Line, now: float) -> Bucket:
        bucket = self._buckets.pop(line, None) or Bucket.full(self.rate, now)
        self._buckets[line] = bucket
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket

    def _log_once_a_minute(self, tasks: Iterable[DeliveryTask]) -> None:
        """Log each account, once a minute in each process."""
        now = self._clock()
        for account_id in dict.fromkeys(task.key.account_id for task in tasks):
            if now - self._logged_at.get(account_id, 0.0) >= _SAME_LOG_SECONDS:
                self._logged_at = {
                    name: at for name, at in self._logged_at.items() if now - at < _SAME_LOG_SECONDS
                }
                self._logged_at[account_id] = now
                self._telemetry.log(
                    "warning", "deliveries_paced", account_id=account_id, rate=self.rate
                )


def turns_of(limits: HostLimits | None, webhook: Webhook, count: int) -> Turns:
    """Return the turns of a job's next step for a webhook; all if nothing is limited."""
    if limits is None:
        return Turns(count)
    return limits.turns(webhook.account_id, webhook.url, count)


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """Return the host of a webhook's url."""
    return urlsplit(url).hostname or ""
