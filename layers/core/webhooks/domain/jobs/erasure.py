"""An erasure: every payload of an account that mentions one address redacted, and how far it is.

The address is nowhere in it: only a salted hash, with which each address of a payload is compared,
and not even that once it has ended.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import Run
from webhooks.domain.payload import parse, serialize
from webhooks.domain.recipient import addresses_of
from webhooks.domain.webhook import webhook_id

PASSES = 2
"""A delivery that was under way during the first pass has been recorded by the second."""

REASON = "recipient_erased"
"""Why a delivery that had not arrived never will."""

SALT_BYTES = 32
_ERASED_EVENT = "erased"


class ErasureStatus(StrEnum):
    """Where an erasure stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class ErasureKey(NamedTuple):
    """What finds an erasure: whose it is, and its id."""

    account_id: str
    erasure_id: str

    @property
    def action(self) -> Action:
        """The action of its steps."""
        return Action.ERASE


@dataclass(frozen=True, slots=True)
class Erasure:
    """The record of an erasure.

    `webhook_id` is whose deliveries are being looked at, None at the beginning of a pass, and
    `position` the id of the last one that it is past. `steps` counts the times that progress was
    recorded, so that of two writers one is too late. `salt` and `digest` are empty at the end. With
    `unreadable` there was a delivery whose record could not be read, and so may still have the
    address: the rest is erased, and then this has failed.
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
    run: Run = Run()  # noqa: RUF009 (frozen)

    @property
    def key(self) -> ErasureKey:
        """What finds this erasure."""
        return ErasureKey(self.account_id, self.id)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status is ErasureStatus.RUNNING

    @property
    def between_passes(self) -> bool:
        """Whether the next pass is yet to begin."""
        return self.passes > 0 and self.webhook_id is None

    def seeks(self, addresses: Iterable[str]) -> bool:
        """Tell whether the address is among these, which `domain.recipient` found."""
        return any(
            hmac.compare_digest(digest(self.salt, address), self.digest) for address in addresses
        )

    def concerns(self, delivery: Delivery) -> bool:
        """Tell whether a delivery, or a response to it, mentions the address and still has it."""
        if delivery.erased:
            return False
        responses = [attempt.response_body for attempt in delivery.attempts]
        return self._mentioned(delivery) or self.seeks(addresses_of(responses))

    def erase(self, delivery: Delivery) -> Delivery:
        """Return a delivery as it stays: without the payload and the responses to it.

        Its generation grows, so that what still works with the payload comes to its end. Where only
        a response mentions the address, the response bodies go and the delivery goes on.
        """
        silent = tuple(replace(attempt, response_body="") for attempt in delivery.attempts)
        if not self._mentioned(delivery):
            return replace(delivery, attempts=silent)
        document: dict[str, object] = {"event": delivery.event_type}
        transaction_id = delivery.transaction_id
        if transaction_id is not None and not self.seeks(addresses_of(transaction_id)):
            document["transaction_id"] = transaction_id
        settled = delivery.status.settled
        return replace(
            delivery,
            event_id=(
                _ERASED_EVENT if self.seeks(addresses_of(delivery.event_id)) else delivery.event_id
            ),
            body=serialize(document),
            attempts=silent,
            status=delivery.status if settled else Status.CANCELLED,
            reason=delivery.reason if settled else REASON,
            next_attempt_at_ms=None,
            generation=delivery.generation + 1,
            erased=True,
        )

    def _mentioned(self, delivery: Delivery) -> bool:
        return self.seeks(addresses_of([delivery.event_id, parse(delivery.body)]))

    def past(
        self, position: str | None, examined: int, erased: int, *, unreadable: bool = False
    ) -> Erasure:
        """Return the erasure after more deliveries of its webhook."""
        return replace(
            self,
            position=position,
            examined=self.examined + examined,
            erased=self.erased + erased,
            unreadable=self.unreadable or unreadable,
        )

    def turned_to(self, webhook_id: str | None) -> Erasure:
        """Return the erasure at the beginning of a webhook; None: of the pass after this one."""
        passes = self.passes + (webhook_id is None)
        return replace(self, webhook_id=webhook_id, position=None, passes=passes)

    def recorded(self, now_ms: int) -> Erasure:
        """Return the erasure as a step leaves it: ended after its last pass."""
        after = replace(self, steps=self.steps + 1, updated_at_ms=now_ms)
        if self.passes < PASSES:
            return after
        if self.unreadable:
            return after.ended(ErasureStatus.FAILED, now_ms, "internal_error")
        return after.ended(ErasureStatus.COMPLETED, now_ms)

    def ended(self, status: ErasureStatus, now_ms: int, reason: str | None = None) -> Erasure:
        """Return the erasure as it is when it does not go on: nothing tells the address any more.

        The hash of something as guessable as an address could be found by trying.
        """
        return replace(
            self, status=status, reason=reason, updated_at_ms=now_ms, salt=b"", digest=b""
        )


def digest(salt: bytes, address: str) -> bytes:
    """Return what stands for an address: HMAC-SHA256, keyed with the erasure's own salt."""
    return hmac.digest(salt, address.encode(), "sha256")


def erasure_id(now_ns: int, random_bytes: bytes) -> str:
    """Return the id of an erasure asked for at this moment: a UUIDv7, made as a webhook's is."""
    return webhook_id(now_ns, random_bytes)
