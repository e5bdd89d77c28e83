"""An event (what happened to an email, once), and how one is read from a queue's message."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class EventType(StrEnum):
    """The six things that can happen to an email (contract, part 1)."""

    SENT = "email.sent"
    DELIVERED = "email.delivered"
    BOUNCED = "email.bounced"
    COMPLAINED = "email.complained"
    OPENED = "email.opened"
    CLICKED = "email.clicked"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, once, ready to be delivered.

    `body` is the exact bytes that every attempt of every delivery sends and signs; `timestamp` is
    the text inside it and `occurred_at_ms` the same instant in Unix milliseconds.
    `timestamp_given` tells whether the producer set the timestamp; without one, two copies of the
    event carry two times and only the event's id tells that they are one.
    """

    account_id: str
    id: str
    type: EventType
    transaction_id: str
    timestamp: str
    occurred_at_ms: int
    body: bytes = field(repr=False)
    timestamp_given: bool = True
