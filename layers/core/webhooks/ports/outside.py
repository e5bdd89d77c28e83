"""Receivers, queues, logs and operational events, as the services need them.

Every method may raise `UnavailableError`: our own side did not answer, and the work is to be tried
again. No method raises anything else of its backend's.
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
        """Send one request and return what it came to, within 5 seconds, never an exception.

        UnavailableError is raised only where our own side failed before a byte was sent.
        """


class Telemetry(Protocol):
    """Where the services say what happened. Safe to call from many threads.

    Fields hold ids, counts, codes and times: never a secret, a payload, a url or an address.
    """

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one structured line; `level` is `info`, `warning` or `error`."""

    def count(self, metric: str, value: int = 1) -> None:
        """Add to one of the invocation's counters."""

    def record_time(self, metric: str, milliseconds: int) -> None:
        """Add a time to those of one of the invocation's metrics."""

    def annotate(self, field: str, name: str) -> None:
        """Have the invocation's one line name what it was about, as `event_ids` and an id."""

    def flush(self, **ids: str) -> None:
        """Write what was counted and measured, with `ids`, at an invocation's end."""


class OperationalEvents(Protocol):
    """Where operational events go."""

    def publish(self, event: OperationalEvent) -> None:
        """Publish an event. Raises UnavailableError."""


class OperationalEventBus(OperationalEvents, Protocol):
    """Where operational events are published, several at once too."""

    def publish_all(self, events: Sequence[OperationalEvent]) -> Sequence[int]:
        """Publish up to ten events; returns the places of those that were not taken."""


class KeptEventsPage(NamedTuple):
    """Kept operational events; `next` is None where there are no more.

    `unreadable` are the keys of those that are left out because they cannot be read.
    """

    items: Sequence[OperationalEvent]
    next: str | None = None
    unreadable: Sequence[KeptEventKey] = ()


class KeptOperationalEvents(Protocol):
    """The operational events that could not be published, until the sweep has published them."""

    def keep(self, event: OperationalEvent) -> None:
        """Keep an event; one that is kept already is the same."""

    def page(self, limit: int, after: str | None = None) -> KeptEventsPage:
        """Return up to `limit` kept events, the oldest first, behind those of the page before."""

    def forget(self, event: OperationalEvent) -> None:
        """Remove an event; one that is not there is no failure."""


class RejectedMessages(Protocol):
    """The events dead-letter queue."""

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Put messages by; returns the ids of those that could not be."""


class EventQueue(Protocol):
    """The events queue, as a producer uses it."""

    def put(self, messages: Sequence[Outgoing]) -> Sequence[int]:
        """Put messages on the queue; returns the places of those that could not be.

        What failed was tried several times, and nothing is raised for it.
        """


class ReceivedMessages(Protocol):
    """The events queue, as a consumer uses it."""

    def delete(self, receipt_handles: Sequence[str]) -> None:
        """Delete messages, ten at most. Raises UnavailableError where one may be left."""
