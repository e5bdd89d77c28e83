"""Several dispatchers at once on one queue, second by second of a clock of their own."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.resending import carried
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from unit.services.dispatch.dispatch_fixture import DispatchFixture
    from webhooks.domain.resending import Outgoing

BATCH = 10
STEPS = 4
"""Times in a second at which each dispatcher may take a batch."""


class Fleet:
    """Dispatchers that share stores, queue and receivers, each with the memory of its process."""

    def __init__(self, services: DispatchFixture, dispatchers: int, *, seed: int = 1) -> None:
        self.services = services
        self.random = random.Random(seed)  # noqa: S311
        self.processes = [replace(services) for _ in range(dispatchers)]
        self.waiting: defaultdict[int, list[QueueMessage]] = defaultdict(list)
        self.ready: list[QueueMessage] = []
        self.numbers = 0
        self.step = 0
        self.begun_ms = services.now_ms
        self.posts: list[int] = []
        """The requests of each second."""
        self.messages = 0
        """The number of messages that the dispatchers received in all."""

    @property
    def now_ms(self) -> int:
        return self.begun_ms + self.step * (1000 // STEPS)

    def publish(self, texts: Iterable[str], group: str = "acc_1") -> None:
        now_ms = self.now_ms
        for text in texts:
            self._add(QueueMessage(self._name(), text, now_ms, group), 0)

    def run(self, seconds: int) -> None:
        """Let so many seconds pass."""
        for _ in range(seconds):
            self._second()

    def run_out(self, most_seconds: int) -> int:
        """Let time pass until the queue is empty; returns the seconds that it took."""
        begun = len(self.posts)
        while self.ready or self.waiting:
            assert len(self.posts) - begun < most_seconds, "messages are left"
            self._second()
        return len(self.posts) - begun

    def _second(self) -> None:
        before = len(self.services.sender.posts)
        for _ in range(STEPS):
            self.ready += self.waiting.pop(self.step, [])
            for services in self.random.sample(self.processes, len(self.processes)):
                services.now_ms = self.now_ms
                services.random = self.random.random()
                batch, self.ready = self.ready[:BATCH], self.ready[BATCH:]
                if not batch:
                    continue
                self.messages += len(batch)
                assert services.batches.handle(batch, lambda: 60.0) == []
                self._take_in()
            self.step += 1
        self.posts.append(len(self.services.sender.posts) - before)

    def _take_in(self) -> None:
        sent, self.services.queue.sent[:] = list(self.services.queue.sent), []
        for one in sent:
            self._add(self._received(one), one.delay_seconds)

    def _received(self, one: Outgoing) -> QueueMessage:
        values = carried(one.attributes, sent_at_ms=self.now_ms)
        return QueueMessage(
            self._name(),
            one.body,
            values.arrived_at_ms,
            one.group,
            tries=values.tries,
            delays=values.delays,
            paced=values.paced,
        )

    def _add(self, message: QueueMessage, delay_seconds: int) -> None:
        if delay_seconds:
            self.waiting[self.step + delay_seconds * STEPS].append(message)
        else:
            self.ready.append(message)

    def _name(self) -> str:
        self.numbers += 1
        return f"q{self.numbers}"
