"""A delivery (one event for one webhook), its attempts, and what one attempt came to."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from webhooks.domain.event import Event

MAX_RESPONSE_BODY_BYTES = 1024
"""How much of a response's body the delivery log keeps (contract 2.2)."""


MAX_ATTEMPTS = 100
"""With as many in its log, a delivery gets none by hand: an item of the table holds 400 KB."""


EXPIRY_NOTICE_MS = 86_400_000
"""How long before the end of a waiting delivery's retention its owner is notified."""


class Status(StrEnum):
    """Where a delivery stands (contract 2.5)."""

    PENDING = "pending"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    EXHAUSTED = "exhausted"
    CANCELLED = "cancelled"

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to the delivery unless a person asks for it."""
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
    """Which of two secrets made `X-SendComms-Signature` during a rotation's overlap."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one HTTP request came to. A success has no `error`.

    `retry_after_seconds` is the receiver's `Retry-After`, already turned from a date into seconds,
    absent where it was garbage or in the past. `response_body` is the beginning of the response's
    body, printable, at most 1,024 bytes.
    """

    error: FailureReason | None = None
    status_code: int | None = None
    duration_ms: int = 0
    retry_after_seconds: float | None = None
    response_body: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the receiver took the delivery."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery, numbered from 1, as the log keeps it.

    A `manual` one was asked for by the webhook's owner, a `probe` tried whether a webhook that was
    down is back: neither is part of the schedule. During a rotation's overlap there may be two
    `requests`, each signed with another secret; `signed_with` is the secret of the one whose
    response is kept, None outside of an overlap. `duration_ms` is that of both. `not_before_ms` is
    until when its response asks for a pause, in Unix milliseconds; it is kept on the webhook and
    not in the log.
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
        """How long after a time the response had come: never below 0, since clocks differ."""
        return max(0, self.started_at_ms + self.duration_ms - since_ms)


@dataclass(frozen=True, slots=True)
class Claim:
    """The invocation that makes a delivery's next attempt, alone until its lease ends.

    `count` is how many claims in a row ended without a result, this one among them.
    """

    invocation: str
    until_ms: int
    count: int = 1


class DeliveryKey(NamedTuple):
    """What finds a delivery: whose it is, for which webhook, and its id."""

    account_id: str
    webhook_id: str
    delivery_id: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook. `body` is the exact bytes that every attempt sends and signs.

    A `test` was asked for by the webhook's owner and is of no real event. `next_attempt_at_ms` is
    when an execution is to work on it. Its `generation` grows each time that it is given a new
    execution, so that an older one knows to end; `earlier_attempts` are scheduled ones from before
    an operator had its schedule begin anew. One that is `erased` has only the names of its event
    for a body, and is never sent again. `restarts` is how often the sweep has given it a new
    execution since its last attempt. The next attempt of one that is `short` belongs to the machine
    of short delays; one that is `unstarted` could not be given its execution. One that is waiting
    and `expiring` is near the end of its retention, and its owner was notified.
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
        """The latest time that the delivery has to do with: it is kept from then on.

        Therefore one that waits for its next attempt is there then, and an exhausted one outlives
        the dead-letter message that names it. What the sweep starts again and again is no activity,
        or it would never end.
        """
        times_ms = [self.created_at_ms]
        times_ms += [attempt.started_at_ms for attempt in self.attempts[-1:]]
        if not self.restarts:
            times_ms.append(self.next_attempt_at_ms or 0)
        return max(times_ms)

    def expiry_notice_at_ms(self, retention_seconds: int) -> int | None:
        """When the owner of a waiting delivery is notified that its retention ends, a day before.

        None for one that is not waiting, or whose owner was notified.
        """
        if self.status is not Status.WAITING or self.expiring:
            return None
        return self.last_active_at_ms + retention_seconds * 1000 - EXPIRY_NOTICE_MS

    @property
    def scheduled_attempts(self) -> int:
        """How many of the schedule's attempts were made."""
        return sum(attempt.scheduled for attempt in self.attempts) - self.earlier_attempts

    @property
    def retrying(self) -> bool:
        """Whether an execution makes the delivery's next attempt."""
        return self.status in {Status.PENDING, Status.RETRYING}

    @property
    def transaction_id(self) -> str | None:
        """The event's transaction, read off the body's beginning, where every event has it."""
        match = _TRANSACTION_ID.match(self.body)
        return str(json.loads(match[1])) if match else None

    @property
    def key(self) -> DeliveryKey:
        """What finds this delivery."""
        return DeliveryKey(self.account_id, self.webhook_id, self.id)

    def is_claimed(self, now_ms: int) -> bool:
        """Tell whether an invocation is making the next attempt at a time, as far as is known."""
        return self.claim is not None and self.claim.until_ms > now_ms

    @property
    def next_attempt(self) -> int:
        """The number of the schedule's next attempt, as the schedule counts."""
        return self.scheduled_attempts + 1

    def after(
        self,
        attempt: Attempt,
        status: Status,
        next_attempt_at_ms: int | None = None,
        *,
        short: bool = False,
    ) -> Delivery:
        """Return the delivery with one more attempt and what follows from it.

        An attempt besides the schedule leaves the schedule's next one, and who has claimed it.
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
        """Return the delivery with nothing under way for its next attempt."""
        return replace(self, short=short, unstarted=False, claim=None)

    def defer(self, reason: str) -> Delivery:
        """Return the delivery as one that waits until its webhook can take it, and why."""
        return self._set_aside(Status.WAITING, reason)

    def cancel(self, reason: str) -> Delivery:
        """Return the delivery as one that is never sent, and why."""
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
        """Return the delivery with its next attempt at a later time, of the same number.

        The last claim stays, so that those without a result are counted.
        """
        return replace(self.unclaimed(), next_attempt_at_ms=due_ms, claim=self.claim)

    def resumed(self, now_ms: int) -> Delivery:
        """Return the delivery as its next execution finds it, due at once."""
        return replace(
            self.unclaimed(),
            generation=self.generation + 1,
            next_attempt_at_ms=now_ms,
            restarts=0,
            expiring=False,
        )

    def restarted(self, due_ms: int, *, short: bool = False) -> Delivery:
        """Return the delivery as the execution finds it that the sweep gives it, due at a time.

        It is unstarted until the attempt's result, or until its start is seen to. The last claim
        stays, so that those without a result are counted.
        """
        return replace(
            self.resumed(due_ms),
            restarts=self.restarts + 1,
            short=short,
            unstarted=True,
            claim=self.claim,
        )

    def reminded(self, due_ms: int) -> Delivery:
        """Return an exhausted delivery whose dead letter is sent again, due at a time."""
        return replace(self, next_attempt_at_ms=due_ms, restarts=self.restarts + 1, unstarted=True)

    def started(self) -> Delivery:
        """Return the delivery as one whose execution was started."""
        return replace(self, unstarted=False)


_TRANSACTION_ID = re.compile(rb'\{"event":"[^"\\]*","transaction_id":("(?:[^"\\]|\\.)*")')
_TIME_BITS = 48
_REST_BITS = 80


def delivery_id_range(since_ms: int | None, until_ms: int | None) -> tuple[str, str]:
    """Return the lowest and the highest id of deliveries from and to a time, both inclusive."""
    latest = (1 << _TIME_BITS) - 1
    first = min(max(since_ms or 0, 0), latest) << _REST_BITS
    last = min(max(latest if until_ms is None else until_ms, 0), latest) << _REST_BITS
    return str(UUID(int=first)), str(UUID(int=last | (1 << _REST_BITS) - 1))


def delivery_id(event_id: str, occurred_at_ms: int, webhook_id: str) -> str:
    """Return the id that this event has for this webhook, however often the event arrives.

    A UUIDv7 (RFC 9562, section 5.7) whose time is the event's and whose random bits are a hash of
    the event's id and the webhook's: ordered by time, and a repeat collides with the first.
    `occurred_at_ms` must lie in 0 to 2**48 - 1, which `event` sees to.
    """
    digest = hashlib.sha256(f"{event_id}\n{webhook_id}".encode()).digest()
    random_bits = int.from_bytes(digest[:10])
    value = occurred_at_ms << _REST_BITS | random_bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))
