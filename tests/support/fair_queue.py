"""A model of a standard SQS queue with fair queueing, by AWS's written rule.

The source is "How Amazon SQS fair queues work" in SQS's developer guide, read in December 2026. AWS
calls the thresholds approximate, and does not say how long "recent" is: here a minute. A real queue
is distributed and keeps no strict order; this model hands out the oldest message first.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Content = TypeVar("Content")

NOISY_SHARE = 0.1
"""Of the messages in flight, or of the recent processing time: a tenant above it is noisy."""

FEWEST_IN_FLIGHT = 30
"""The messages in flight from which a tenant's share of them can make it noisy."""

QUIET_AFTER_SECONDS = 300.0
"""The time without a message in flight after which a noisy tenant is quiet."""

RECENT_SECONDS = 60.0

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Received(Generic[Content]):
    """A message in flight; `tenant` is its group, or itself where it has none."""

    content: Content
    group: str | None
    tenant: str
    received_at: float


@dataclass
class FairQueue(Generic[Content]):
    """The queue. Times are seconds, and never go back from one call to the next."""

    noisy: set[str] = field(default_factory=set)
    in_flight: Counter[str] = field(default_factory=Counter)
    _backlog: dict[str, deque[tuple[int, str | None, Content]]] = field(default_factory=dict)
    _quiet: list[tuple[int, str]] = field(default_factory=list)
    """A heap of the first messages of quiet tenants; some entries are out of date."""
    _processed: deque[tuple[float, str, int]] = field(default_factory=deque)
    _micros: Counter[str] = field(default_factory=Counter)
    """The recent processing time of each group, in whole microseconds: sums have no remainder."""
    _all_micros: int = 0
    _last_in_flight: dict[str, float] = field(default_factory=dict)
    _sent: int = 0

    def send(self, content: Content, group: str | None = None) -> None:
        """Accept a message of a tenant; a message without a group is a tenant of its own."""
        self._sent += 1
        tenant = f"message {self._sent}" if group is None else group
        self._backlog.setdefault(tenant, deque()).append((self._sent, group, content))
        self._queue_first(tenant)

    def __len__(self) -> int:
        """Return the number of messages that are not in flight."""
        return sum(map(len, self._backlog.values()))

    def receive(self, most: int, now: float) -> list[Received[Content]]:
        """Hand out messages: the quiet tenants', then the noisy one's with fewest in flight."""
        self._judge(now)
        received: list[Received[Content]] = []
        while len(received) < most and (tenant := self._next_tenant()) is not None:
            backlog = self._backlog[tenant]
            _, group, content = backlog.popleft()
            self.in_flight[tenant] += 1
            received.append(Received(content, group, tenant, now))
            if backlog:
                self._queue_first(tenant)
            else:
                del self._backlog[tenant]
        return received

    def delete(self, message: Received[Content], now: float) -> None:
        """Delete a message."""
        tenant, micros = message.tenant, round((now - message.received_at) * _MICROSECONDS)
        self.in_flight[tenant] -= 1
        if not self.in_flight[tenant]:
            del self.in_flight[tenant]
        self._processed.append((now, tenant, micros))
        self._all_micros += micros
        if message.group is not None:
            self._last_in_flight[tenant] = now
            self._micros[tenant] += micros

    def _queue_first(self, tenant: str) -> None:
        if tenant not in self.noisy:
            heapq.heappush(self._quiet, (self._backlog[tenant][0][0], tenant))

    def _next_tenant(self) -> str | None:
        """Return the tenant whose message is next."""
        while self._quiet:
            number, tenant = heapq.heappop(self._quiet)
            backlog = self._backlog.get(tenant)
            if tenant not in self.noisy and backlog and backlog[0][0] == number:
                return tenant
        waiting = [one for one in self.noisy if one in self._backlog]
        return min(waiting, key=lambda one: (self.in_flight[one], one), default=None)

    def _judge(self, now: float) -> None:
        """Find the noisy tenants of this moment."""
        while self._processed and self._processed[0][0] < now - RECENT_SECONDS:
            _, tenant, micros = self._processed.popleft()
            self._all_micros -= micros
            if tenant in self._micros:
                self._micros[tenant] -= micros
        for tenant in [one for one in self.noisy if self._is_quiet_again(one, now)]:
            self.noisy.discard(tenant)
            if tenant in self._backlog:
                self._queue_first(tenant)
        in_flight = sum(self.in_flight.values())
        by_number = {
            tenant
            for tenant, count in self.in_flight.items()
            if count >= FEWEST_IN_FLIGHT and count > NOISY_SHARE * in_flight
        }
        by_time = {
            tenant
            for tenant, micros in self._micros.items()
            if micros > NOISY_SHARE * self._all_micros
        }
        self.noisy |= (by_number | by_time) & self._backlog.keys()

    def _is_quiet_again(self, tenant: str, now: float) -> bool:
        if tenant not in self._backlog:
            return True
        if tenant in self.in_flight:
            return False
        return now - self._last_in_flight.get(tenant, now) >= QUIET_AFTER_SECONDS
