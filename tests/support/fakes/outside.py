"""The outside: receivers, queues, operational events, the log."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.fakes.failures import Failures
from webhooks.adapters.dynamodb.item_keys import kept_event_key
from webhooks.adapters.eventbridge import MOST_AT_ONCE
from webhooks.domain.delivery import Outcome
from webhooks.ports import KeptEventsPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from webhooks.domain.ingest import RejectedMessage
    from webhooks.domain.operational_event import OperationalEvent
    from webhooks.domain.resending import Outgoing


@dataclass
class FakeSender:
    """A `Sender` whose answers a test writes; unscripted posts succeed with 200."""

    answer: Callable[[str, Mapping[str, str]], Outcome] | None = None
    posts: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.posts.append((url, body, dict(headers)))
        if self.answer is None:
            return Outcome(status_code=200, duration_ms=1)
        return self.answer(url, headers)


class FakeEventQueue:
    """The events queue as a list."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.refuse: set[int] = set()

    def put(self, messages: Sequence[Outgoing]) -> Sequence[int]:
        self.sent += [message for place, message in enumerate(messages) if place not in self.refuse]
        return [place for place in range(len(messages)) if place in self.refuse]

    @property
    def messages(self) -> list[tuple[str | None, str]]:
        """Each message's group and body."""
        return [(message.group, message.body) for message in self.sent]


class FakeReceivedMessages:
    """The receipt handles that were deleted, request by request."""

    def __init__(self) -> None:
        self.deleted: list[list[str]] = []
        self.failures = Failures()

    def delete(self, receipt_handles: Sequence[str]) -> None:
        self.failures.check("delete")
        self.deleted.append(list(receipt_handles))


class FakeRejectedMessages:
    """The events dead-letter queue as a list."""

    def __init__(self) -> None:
        self.messages: list[RejectedMessage] = []
        self.refuse: set[str] = set()

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        self.messages += [m for m in messages if m.message_id not in self.refuse]
        return [m.message_id for m in messages if m.message_id in self.refuse]


class FakeOperationalEvents:
    """An `OperationalEvents` that keeps the published events."""

    def __init__(self) -> None:
        self.published: list[OperationalEvent] = []
        self.refuse: list[OperationalEvent] = []
        self.failures = Failures()

    def publish(self, event: OperationalEvent) -> None:
        self.failures.check("publish")
        self.published.append(event)

    def publish_all(self, events: Sequence[OperationalEvent]) -> Sequence[int]:
        self.failures.check("publish_all")
        assert len(events) <= MOST_AT_ONCE
        refused = [place for place, event in enumerate(events) if event in self.refuse]
        self.published += [event for event in events if event not in self.refuse]
        return refused

    @property
    def types(self) -> list[str]:
        return [event.type.value for event in self.published]


class FakeKeptOperationalEvents:
    """`KeptOperationalEvents` as a dictionary."""

    def __init__(self) -> None:
        self.events: dict[str, OperationalEvent] = {}
        self.failures = Failures()

    def keep(self, event: OperationalEvent) -> None:
        self.failures.check("keep")
        self.events[self._id(event)] = event

    def page(self, limit: int, after: str | None = None) -> KeptEventsPage:
        self.failures.check("page")
        ids = sorted(one for one in self.events if after is None or one > after)
        next_ = ids[limit - 1] if len(ids) > limit else None
        return KeptEventsPage([self.events[one] for one in ids[:limit]], next_)

    def forget(self, event: OperationalEvent) -> None:
        self.failures.check("forget")
        self.events.pop(self._id(event), None)

    def _id(self, event: OperationalEvent) -> str:
        return str(kept_event_key(event)["delivery_id"]["S"])


class FakeTelemetry:
    """Keeps the services' metrics and log lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.counts: dict[str, int] = {}
        self.times: defaultdict[str, list[int]] = defaultdict(list)
        self.traced: defaultdict[str, list[str]] = defaultdict(list)
        self.flushed: list[tuple[dict[str, str], dict[str, int]]] = []

    def log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))

    def count(self, metric: str, value: int = 1) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def record_time(self, metric: str, milliseconds: int) -> None:
        self.times[metric].append(milliseconds)

    def annotate(self, field: str, name: str) -> None:
        self.traced[field].append(name)

    def flush(self, **ids: str) -> None:
        self.flushed.append((ids, self.counts.copy()))

    def logged(self, event: str) -> list[dict[str, object]]:
        """The fields of each line about `event`."""
        return [fields for _, name, fields in self.lines if name == event]
