"""An erasure: redacts every payload of an account that mentions one address; with its progress.

It does not contain the address: only a salted hash, to compare with each address of a payload, and
not even that after it has ended.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.cpu import NO_CPU_LIMIT, CpuLimit, CpuLimitReachedError
from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import Run
from webhooks.domain.payload import parse, serialize
from webhooks.domain.recipient import find_addresses
from webhooks.domain.webhook import webhook_id

PASSES = 2
"""The second pass finds deliveries that were in progress during the first."""

REASON = "recipient_erased"
"""The reason of a delivery that was erased before it arrived."""

MAX_UNSEARCHED = 100
"""Deliveries that an erasure lists as not searched; further ones are only counted."""

SEARCH_CPU_SECONDS = 0.08
"""CPU time after which the search of a delivery stops. The longest piece of work between two looks
at the clock takes 14 ms, so that a delivery costs at most 100."""

CLOCKS_DIFFER_MS = 300_000
"""Other processes, with other clocks, register webhooks and record deliveries."""

SALT_BYTES = 32
_ERASED_EVENT = "erased"


class ErasureStatus(StrEnum):
    """The state of an erasure."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Mention(StrEnum):
    """The part of a delivery that mentions an address."""

    NOWHERE = "nowhere"
    RESPONSES = "responses"
    PAYLOAD = "payload"
    UNKNOWN = "unknown"
    """It could not be searched, or not within its CPU time."""


class Unsearched(NamedTuple):
    """A delivery that an erasure could not search."""

    webhook_id: str
    delivery_id: str


class ErasureKey(NamedTuple):
    """Primary key of an erasure."""

    account_id: str
    erasure_id: str

    @property
    def action(self) -> Action:
        """The worker's action for each step of an erasure."""
        return Action.ERASE


@dataclass(frozen=True, slots=True)
class Erasure:
    """The record of an erasure.

    A pass goes through each webhook's deliveries from the newest to the oldest, and so away from
    new ones. It covers the webhooks and deliveries that existed at its beginning, `began_at_ms`. It
    ends at `floor_ms`: the event's time of the oldest delivery when the pass reached the webhook.

    `webhook_id` is the webhook in progress, None at the beginning of a pass; `position` is the id
    of its last finished delivery. `steps` counts recorded steps, so that of two concurrent writers
    one is refused. `salt` and `digest` are empty at the end. `unreadable` means that a delivery's
    record could not be read and may still have the address: the rest is erased, and then the
    erasure fails.

    `unsearched` are the first deliveries that could not be searched in their CPU time, of
    `unsearched_count`: in this pass, or in both if they are erased with `include_unsearched`.
    """

    account_id: str
    id: str
    created_at_ms: int
    updated_at_ms: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    status: ErasureStatus = ErasureStatus.RUNNING
    passes: int = 0
    webhook_id: str | None = None
    position: str | None = None
    examined: int = 0
    erased: int = 0
    steps: int = 0
    reason: str | None = None
    unreadable: bool = False
    include_unsearched: bool = False
    unsearched: tuple[Unsearched, ...] = ()
    unsearched_count: int = 0
    began_at_ms: int | None = None
    floor_ms: int | None = None
    run: Run = Run()  # noqa: RUF009 (frozen)

    @property
    def key(self) -> ErasureKey:
        """The erasure's primary key."""
        return ErasureKey(self.account_id, self.id)

    @property
    def running(self) -> bool:
        """Whether the erasure has not ended."""
        return self.status is ErasureStatus.RUNNING

    @property
    def between_passes(self) -> bool:
        """Whether the next pass has not begun yet."""
        return self.passes > 0 and self.webhook_id is None

    def seeks(self, addresses: Iterable[str]) -> bool:
        """Whether the address is among these, which `domain.recipient` found."""
        return any(
            hmac.compare_digest(digest(self.salt, address), self.digest) for address in addresses
        )

    def search(self, delivery: Delivery, limit: CpuLimit) -> Mention:
        """Find where a delivery still mentions the address, within a limit of CPU time."""
        if delivery.erased:
            return Mention.NOWHERE
        responses = [attempt.response_body for attempt in delivery.attempts]
        try:
            if self.seeks(find_addresses([delivery.event_id, parse(delivery.body)], limit)):
                return Mention.PAYLOAD
            if self.seeks(find_addresses(responses, limit)):
                return Mention.RESPONSES
        except (CpuLimitReachedError, ValueError):
            # Only a body that was edited by hand is not JSON.
            return Mention.UNKNOWN
        return Mention.NOWHERE

    def concerns(self, mention: Mention) -> bool:
        """Whether a delivery with such a mention has something to erase."""
        if mention is Mention.UNKNOWN:
            return self.include_unsearched
        return mention is not Mention.NOWHERE

    def erase(
        self,
        delivery: Delivery,
        mention: Mention = Mention.PAYLOAD,
        limit: CpuLimit = NO_CPU_LIMIT,
    ) -> Delivery:
        """Return a delivery without its payload and the responses to it.

        Its generation grows, so that executions that still use the payload end. If only a response
        mentions the address, the response bodies are removed and the delivery continues. An event's
        id that cannot be searched within the limit is removed too.
        """
        silent = tuple(replace(attempt, response_body="") for attempt in delivery.attempts)
        if mention is Mention.RESPONSES:
            return replace(delivery, attempts=silent)
        document: dict[str, object] = {"event": delivery.event_type}
        transaction_id = delivery.transaction_id
        if transaction_id is not None and self._is_absent(transaction_id, limit):
            document["transaction_id"] = transaction_id
        settled = delivery.status.settled
        return replace(
            delivery,
            event_id=(
                delivery.event_id if self._is_absent(delivery.event_id, limit) else _ERASED_EVENT
            ),
            body=serialize(document),
            attempts=silent,
            status=delivery.status if settled else Status.CANCELLED,
            reason=delivery.reason if settled else REASON,
            next_attempt_at_ms=None,
            generation=delivery.generation + 1,
            erased=True,
        )

    def _is_absent(self, text: str, limit: CpuLimit) -> bool:
        try:
            return not self.seeks(find_addresses(text, limit))
        except CpuLimitReachedError:
            return False

    def begun(self, now_ms: int) -> Erasure:
        """Return the erasure at the beginning of a pass; unchanged if the pass has begun."""
        if self.began_at_ms is not None:
            return self
        # Deliveries that the last pass erased unsearched are not found again: keep them listed.
        if self.include_unsearched:
            return replace(self, began_at_ms=now_ms)
        return replace(self, began_at_ms=now_ms, unsearched=(), unsearched_count=0)

    def covers(self, created_at_ms: int, clocks_differ_ms: int = CLOCKS_DIFFER_MS) -> bool:
        """Whether a webhook or delivery created at this time existed when the pass began."""
        return created_at_ms <= (self.began_at_ms or 0) + clocks_differ_ms

    def past(self, delivery: Delivery, mention: Mention, *, erased: bool) -> Erasure:
        """Return the erasure after one more delivery of its webhook."""
        after = replace(
            self, position=delivery.id, examined=self.examined + 1, erased=self.erased + erased
        )
        if mention is not Mention.UNKNOWN:
            return after
        unsearched = (*self.unsearched, Unsearched(delivery.webhook_id, delivery.id))
        return replace(
            after,
            unsearched=unsearched[:MAX_UNSEARCHED],
            unsearched_count=self.unsearched_count + 1,
        )

    def turned_to(self, webhook_id: str | None) -> Erasure:
        """Return the erasure at the beginning of a webhook; with None, at the end of the pass."""
        if webhook_id is not None:
            return replace(self, webhook_id=webhook_id, position=None, floor_ms=None)
        return replace(
            self,
            webhook_id=None,
            position=None,
            floor_ms=None,
            began_at_ms=None,
            passes=self.passes + 1,
        )

    def recorded(self, now_ms: int) -> Erasure:
        """Return the erasure to record after a step; after its last pass it has ended."""
        after = replace(self, steps=self.steps + 1, updated_at_ms=now_ms)
        if self.passes < PASSES:
            return after
        if self.unreadable:
            return after.ended(ErasureStatus.FAILED, now_ms, "internal_error")
        return after.ended(ErasureStatus.COMPLETED, now_ms)

    def ended(self, status: ErasureStatus, now_ms: int, reason: str | None = None) -> Erasure:
        """Return the erasure as ended, without the address's hash and salt.

        An address can be guessed, and a guess confirmed with the hash.
        """
        return replace(
            self, status=status, reason=reason, updated_at_ms=now_ms, salt=b"", digest=b""
        )


def digest(salt: bytes, address: str) -> bytes:
    """Return the hash of an address: HMAC-SHA256, keyed with the erasure's own salt."""
    return hmac.digest(salt, address.encode(), "sha256")


def erasure_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the id of an erasure requested at this moment: a UUIDv7, made as a webhook's is."""
    return webhook_id(now_ns, random_bytes)
