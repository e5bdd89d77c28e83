"""Protocols for receivers, queues, logs and operational events.

Every method may raise `UnavailableError`: a resource of ours failed, and the caller should retry.
No method raises any other error of its backend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from webhooks.domain.delivery import Outcome
    from webhooks.domain.ingest import RejectedMessage
    from webhooks.domain.operational_event import KeptEventKey, OperationalEvent
    from webhooks.domain.resending import Outgoing


class Sender(Protocol):
    """The HTTP client with the address guard inside: no caller can forget it."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send one request and return its outcome, within 5 seconds.

        Raises UnavailableError only if our own side failed before a byte was sent, and nothing
        else: a receiver's failure is an outcome.
        """


class Telemetry(Protocol):
    """Logs, counters and times. Safe to call from many threads.

    Fields hold ids, counts, codes and times: never a secret, a payload, a url or an address.
    """

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; `level` is `info`, `warning` or `error`."""

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters."""

    def record_time(self, metric: str, milliseconds: int) -> None:
        """Add a time to one of the invocation's metrics."""

    def annotate(self, field: str, name: str) -> None:
        """Add an id to a field of the invocation's summary line: an event's to `event_ids`."""

    def flush(self, **ids: str) -> None:
        """Write the counters and times, with `ids`, at an invocation's end."""


class OperationalEvents(Protocol):
    """The destination of operational events."""

    def publish(self, event: OperationalEvent) -> None:
        """Publish an event. Raises UnavailableError."""


class OperationalEventBus(OperationalEvents, Protocol):
    """The bus of operational events, which also takes several at once."""

    def publish_all(self, events: Sequence[OperationalEvent]) -> Sequence[int]:
        """Publish up to ten events; returns the indexes of rejected ones."""


class KeptEventsPage(NamedTuple):
    """Kept operational events; `next` is None if there are no more.

    `unreadable` are the keys of events that are left out because they cannot be read.
    """

    items: Sequence[OperationalEvent]
    next: str | None = None
    unreadable: Sequence[KeptEventKey] = ()


class KeptOperationalEvents(Protocol):
    """The operational events that could not be published, until the sweep has published them."""

    def keep(self, event: OperationalEvent) -> None:
        """Keep an event; keeping it again changes nothing."""

    def page(self, limit: int, after: str | None = None) -> KeptEventsPage:
        """Return up to `limit` kept events after the page before, the oldest first."""

    def forget(self, event: OperationalEvent) -> None:
        """Remove an event; if it is absent, nothing happens."""


class RejectedMessages(Protocol):
    """The events dead-letter queue."""

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Send messages to the queue; returns the ids of failed ones."""


class EventQueue(Protocol):
    """The events queue, for producers."""

    def put(self, messages: Sequence[Outgoing]) -> Sequence[int]:
        """Send messages to the queue; returns the indexes of failed ones.

        Each failed message was tried several times; failures raise nothing.
        """


class ReceivedMessages(Protocol):
    """The events queue, for consumers."""

    def delete(self, receipt_handles: Sequence[str]) -> None:
        """Delete messages, ten at most. Raises UnavailableError if any may be left."""
