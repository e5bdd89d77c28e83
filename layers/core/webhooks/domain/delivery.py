"""A delivery (one event for one webhook), its attempts, and the outcome of one attempt."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from webhooks.domain.event import Event

MAX_RESPONSE_BODY_BYTES = 1024
"""How much of a response body the delivery log keeps (contract 2.2)."""


MAX_ATTEMPTS = 100
"""A delivery with this many in its log gets no manual attempt: a table item holds 400 KB."""


EXPIRY_NOTICE_MS = 86_400_000
"""How long before the end of a waiting delivery's retention its owner is notified."""


class Status(StrEnum):
    """The state of a delivery (contract 2.5)."""

    PENDING = "pending"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        """Whether the delivery is final: only a person's request can change it."""
        return self in {Status.SUCCEEDED, Status.EXHAUSTED, Status.CANCELLED}


class FailureReason(StrEnum):
    """Why an attempt failed (contract 2.5)."""

    HTTP_STATUS = "http_status"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TLS = "tls"
    DNS = "dns"
    BLOCKED_ADDRESS = "blocked_address"
    RESPONSE_TOO_LARGE = "response_too_large"


class SignedWith(StrEnum):
    """Which of the two secrets signed `X-SendComms-Signature` during a rotation's overlap."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one HTTP request. A success has no `error`.

    `retry_after_seconds` is the receiver's `Retry-After`, with a date already turned into seconds;
    it is None if the header was garbage or in the past. `response_body` is the beginning of the
    response's body, printable, at most 1,024 bytes.
    """

    error: FailureReason | None = None
    status_code: int | None = None
    duration_ms: int = 0
    retry_after_seconds: float | None = None
    response_body: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the receiver accepted the delivery."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery, numbered from 1, as the log keeps it.

    Neither `manual` attempts (asked for by the webhook's owner) nor `probe` attempts (which try
    whether a webhook that was down is back) are part of the schedule. During a rotation's overlap
    an attempt may make two `requests`, each signed with another secret; `signed_with` is the secret
    of the request whose response is kept, None outside of an overlap. `duration_ms` covers both
    requests. `not_before_ms` is the end of the pause that the response asked for, in Unix
    milliseconds; it is stored on the webhook and not in the log.
    """

    number: int
    started_at_ms: int
    duration_ms: int
    status_code: int | None = None
    error: FailureReason | None = None
    response_body: str = ""
    manual: bool = False
    probe: bool = False
    not_before_ms: int | None = field(default=None, compare=False)
    requests: int = 1
    signed_with: SignedWith | None = None

    @property
    def scheduled(self) -> bool:
        """Whether the attempt is part of the schedule."""
        return not (self.manual or self.probe)

    def ended_after_ms(self, since_ms: int) -> int:
        """Return the milliseconds from a time to the response; at least 0, since clocks differ."""
        return max(0, self.started_at_ms + self.duration_ms - since_ms)


@dataclass(frozen=True, slots=True)
class Claim:
    """The invocation that makes a delivery's next attempt, alone until its lease ends.

    `count` is how many claims in a row ended without a result, this one included.
    """

    invocation: str
    until_ms: int
    count: int = 1


class DeliveryKey(NamedTuple):
    """Primary key of a delivery."""

    account_id: str
    webhook_id: str
    delivery_id: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook. `body` is the exact bytes that every attempt sends and signs.

    - A `test` was asked for by the webhook's owner and belongs to no real event.
    - `next_attempt_at_ms` is when an execution is to work on the delivery.
    - `generation` grows with each new execution, so that an older execution knows to end.
    - `earlier_attempts` counts scheduled attempts from before an operator restarted the schedule.
    - The body of an `erased` delivery holds only its event's type and transaction; never sent.
    - `restarts` is how often the sweep has started a new execution since the last attempt.
    - `short`: the next attempt belongs to the state machine of short delays.
    - `unstarted`: starting the execution failed.
    - `expiring`: the delivery waits near the end of its retention, and its owner was notified.
    """

    account_id: str
    webhook_id: str
    id: str
    event_id: str
    event_type: str
    body: bytes = field(repr=False)
    status: Status
    created_at_ms: int
    attempts: tuple[Attempt, ...] = ()
    next_attempt_at_ms: int | None = None
    reason: str | None = None
    test: bool = False
    generation: int = 0
    earlier_attempts: int = 0
    erased: bool = False
    restarts: int = 0
    short: bool = False
    unstarted: bool = False
    claim: Claim | None = None
    expiring: bool = False

    @classmethod
    def of(cls, event: Event, webhook_id: str, now_ms: int) -> Delivery:
        """Return the delivery of an event to a webhook, before its first attempt."""
        return cls(
            account_id=event.account_id,
            webhook_id=webhook_id,
            id=delivery_id(event.id, event.occurred_at_ms, webhook_id),
            event_id=event.id,
            event_type=event.type,
            body=event.body,
            status=Status.PENDING,
            created_at_ms=now_ms,
        )

    @property
    def last_active_at_ms(self) -> int:
        """The latest time in the delivery's life; its retention is counted from here.

        The next attempt counts: a delivery still exists when it is due, and an exhausted one
        outlives the dead-letter message that names it. Restarts by the sweep do not count, or the
        retention would never end.
        """
        times_ms = [self.created_at_ms]
        times_ms += [attempt.started_at_ms for attempt in self.attempts[-1:]]
        if not self.restarts:
            times_ms.append(self.next_attempt_at_ms or 0)
        return max(times_ms)

    def expiry_notice_at_ms(self, retention_seconds: int) -> int | None:
        """When a waiting delivery's owner is notified, a day before its retention ends.

        None if the delivery is not waiting, or if its owner was already notified.
        """
        if self.status is not Status.WAITING or self.expiring:
            return None
        return self.last_active_at_ms + retention_seconds * MILLISECONDS - EXPIRY_NOTICE_MS

    @property
    def scheduled_attempts(self) -> int:
        """How many attempts of the schedule were made since it last began."""
        return sum(attempt.scheduled for attempt in self.attempts) - self.earlier_attempts

    @property
    def retrying(self) -> bool:
        """Whether an execution makes the delivery's next attempt."""
        return self.status in {Status.PENDING, Status.RETRYING}

    @property
    def transaction_id(self) -> str | None:
        """The event's transaction, read from the body's beginning, where every event has it."""
        match = _TRANSACTION_ID.match(self.body)
        return str(json.loads(match[1])) if match else None

    @property
    def key(self) -> DeliveryKey:
        """The delivery's primary key."""
        return DeliveryKey(self.account_id, self.webhook_id, self.id)

    def is_claimed(self, now_ms: int) -> bool:
        """Whether an invocation holds a claim on the next attempt at a time (Unix milliseconds)."""
        return self.claim is not None and self.claim.until_ms > now_ms

    @property
    def next_attempt(self) -> int:
        """The number of the schedule's next attempt, from 1; other attempts do not count."""
        return self.scheduled_attempts + 1

    def after(
        self,
        attempt: Attempt,
        status: Status,
        next_attempt_at_ms: int | None = None,
        *,
        short: bool = False,
    ) -> Delivery:
        """Return the delivery with one more attempt and its new state.

        An attempt outside the schedule keeps the scheduled next attempt and its claim.
        """
        after = replace(
            self,
            attempts=(*self.attempts, attempt),
            status=status,
            next_attempt_at_ms=next_attempt_at_ms,
            restarts=0,
            expiring=False,
        )
        if attempt.scheduled or status is not self.status:
            after = after.unclaimed(short=short)
        return after

    def unclaimed(self, *, short: bool = False) -> Delivery:
        """Return the delivery with no claim and no unfinished start of its next attempt."""
        return replace(self, short=short, unstarted=False, claim=None)

    def defer(self, reason: str) -> Delivery:
        """Return the delivery as waiting until its webhook can take it, with the reason."""
        return self._set_aside(Status.WAITING, reason)

    def cancel(self, reason: str) -> Delivery:
        """Return the delivery as cancelled, never to be sent, with the reason."""
        return self._set_aside(Status.CANCELLED, reason)

    def _set_aside(self, status: Status, reason: str) -> Delivery:
        return replace(
            self.unclaimed(),
            status=status,
            next_attempt_at_ms=None,
            reason=reason,
            expiring=False,
        )

    def postponed(self, due_ms: int) -> Delivery:
        """Return the delivery with its next attempt, of the same number, at a later time.

        The last claim stays, so that claims without a result are counted.
        """
        return replace(self.unclaimed(), next_attempt_at_ms=due_ms, claim=self.claim)

    def resumed(self, now_ms: int) -> Delivery:
        """Return the delivery for a new execution, due at once."""
        return replace(
            self.unclaimed(),
            generation=self.generation + 1,
            next_attempt_at_ms=now_ms,
            restarts=0,
            expiring=False,
        )

    def restarted(self, due_ms: int, *, short: bool = False) -> Delivery:
        """Return the delivery for the new execution that the sweep starts, due at a time.

        It stays `unstarted` until the start is confirmed or the attempt has a result. The last
        claim stays, so that claims without a result are counted.
        """
        return replace(
            self.resumed(due_ms),
            restarts=self.restarts + 1,
            short=short,
            unstarted=True,
            claim=self.claim,
        )

    def reminded(self, due_ms: int) -> Delivery:
        """Return an exhausted delivery whose dead-letter message is sent again at a time."""
        return replace(self, next_attempt_at_ms=due_ms, restarts=self.restarts + 1, unstarted=True)

    def started(self) -> Delivery:
        """Return the delivery with the start of its execution confirmed."""
        return replace(self, unstarted=False)


_TRANSACTION_ID = re.compile(rb'\{"event":"[^"\\]*","transaction_id":("(?:[^"\\]|\\.)*")')
_TIME_BITS = 48
_REST_BITS = 80


def delivery_id_range(since_ms: int | None, until_ms: int | None) -> tuple[str, str]:
    """Return the lowest and the highest id of deliveries between two times, both inclusive."""
    latest = (1 << _TIME_BITS) - 1
    first = min(max(since_ms or 0, 0), latest) << _REST_BITS
    last = min(max(latest if until_ms is None else until_ms, 0), latest) << _REST_BITS
    return str(UUID(int=first)), str(UUID(int=last | (1 << _REST_BITS) - 1))


def delivery_id(event_id: str, occurred_at_ms: int, webhook_id: str) -> str:
    """Return the id that this event has for this webhook, however often the event arrives.

    A UUIDv7 (RFC 9562, section 5.7) whose time is the event's and whose random bits are a hash of
    the event's id and the webhook's: ordered by time, and a repeat collides with the first.
    `occurred_at_ms` must lie in 0 to 2**48 - 1, which `event` ensures.
    """
    digest = hashlib.sha256(f"{event_id}\n{webhook_id}".encode()).digest()
    random_bits = int.from_bytes(digest[:10])
    value = occurred_at_ms << _REST_BITS | random_bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))
