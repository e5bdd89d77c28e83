"""Batches among fakes, and a queue that counts receives as SQS does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import samples
from webhooks.domain.resending import (
    carried,
)
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.service_fixture import ServiceFixture

NOW_MS = samples.NOW_MS


class KilledError(BaseException):
    """The process ends, for example out of memory: no code of ours catches it."""


def event(number: int = 0, **changes: Any) -> QueueMessage:
    """A message of a batch, with a receipt handle of its own."""
    text = samples.event_text(transaction_id=f"txn_{number}")
    message = QueueMessage(f"m{number}", text, NOW_MS, "acc_1", receipt_handle=f"r{number}")
    return message._replace(**changes)


def handle(
    services: ServiceFixture, *messages: QueueMessage, remaining: Sequence[float] = ()
) -> list[str]:
    times = list(remaining)
    return services.batches.handle(messages, lambda: times.pop(0) if times else 60.0)


def posted(services: ServiceFixture) -> list[str]:
    """The transactions that were posted, in order."""
    return [json.loads(body)["transaction_id"] for _, body, _ in services.sender.posts]


def fail(services: ServiceFixture, *transactions: str) -> None:
    """Fail the read of deliveries for messages of these transactions."""
    read = services.store.destinations

    def destinations(account_id: str, shard: Any = None) -> Any:
        services.store.failures.plan("destinations", account_id in transactions)
        return read(account_id, shard)

    services.store.destinations = destinations  # type: ignore[method-assign]


def broken(number: int = 0, **changes: Any) -> QueueMessage:
    """A message whose read fails, through a fault of ours."""
    text = samples.event_text(account_id="acc_broken", transaction_id=f"txn_{number}")
    return event(number, body=text, group="acc_broken", **changes)


@dataclass
class Queue:
    """SQS as far as it matters here: receive counts, delays, a killed dispatcher's messages."""

    services: ServiceFixture
    messages: list[tuple[float, QueueMessage]] = field(default_factory=list)
    numbers: int = 0

    def add(self, *messages: QueueMessage) -> None:
        self.messages += [(self.services.now_ms, message) for message in messages]

    def receive(self) -> list[QueueMessage]:
        """Return the next ten, and move the time to the first that can be seen."""
        self.messages.sort(key=lambda one: one[0])
        self.services.now_ms = max(self.services.now_ms, int(self.messages[0][0]))
        batch: list[QueueMessage] = []
        for place, (visible_ms, message) in enumerate(self.messages[:10]):
            if visible_ms <= self.services.now_ms:
                batch.append(message)
                counted = message._replace(receive_count=message.receive_count + 1)
                self.messages[place] = (self.services.now_ms + 360_000, counted)
        return batch

    def delete(self, handles: Sequence[str]) -> None:
        self.messages = [one for one in self.messages if one[1].receipt_handle not in handles]

    def take_in(self) -> None:
        """Apply the sends and deletions since the last receive."""
        for sent in self.services.queue.sent:
            self.numbers += 1
            values = carried(sent.attributes, sent_at_ms=self.services.now_ms)
            message = QueueMessage(
                f"again{self.numbers}",
                sent.body,
                values.arrived_at_ms,
                sent.group,
                1,
                values.tries,
                values.suspicions,
                f"handle{self.numbers}",
                values.delays,
                values.paced,
            )
            self.messages.append((self.services.now_ms + 1000 * sent.delay_seconds, message))
        self.services.queue.sent.clear()
        for handles in self.services.received.deleted:
            self.delete(handles)
        self.services.received.deleted.clear()

    def run(self) -> int:
        """Poll until the queue is empty; returns how many dispatchers were killed."""
        killed = 0
        for _ in range(2000):
            if not self.messages:
                return killed
            batch = self.receive()
            try:
                failed = self.services.batches.handle(batch, lambda: 60.0)
            except KilledError:
                killed += 1
            else:
                self.delete([one.receipt_handle for one in batch if one.id not in failed])
            self.take_in()
        raise AssertionError("messages are left")
