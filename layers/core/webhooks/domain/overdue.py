"""The sweep's decision about a delivery found in the index of due deliveries."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status
from webhooks.domain.retry import SHORT_DELAY_SECONDS
from webhooks.domain.timestamps import MILLISECONDS, to_ms

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery

GRACE_SECONDS = 600.0
"""An attempt on Standard is overdue after this: its execution's retries usually take as long."""

SHORT_GRACE_SECONDS = 60.0
"""An attempt after a short delay is overdue after this: there is no execution to look at."""

MAX_CLAIMS = 3
"""After this many claims in a row without a result, a short delivery goes on alone, on Standard."""

MOST_CLAIMS = 6
"""After this many claims in a row without a result, a delivery becomes a dead letter. Each restart
by the sweep allows one more claim, so that the delivery arrives once the fault is over."""


class Overdue(StrEnum):
    """The sweep's finding about a delivery, and the action that follows."""

    NOT = "not"
    """It is not overdue, or an invocation works on it: nothing to do."""
    UNSTARTED = "unstarted"
    """Its execution could not be started: the sweep starts it."""
    SHORT = "short"
    """Its execution is lost: the sweep gives it another."""
    LONG = "long"
    """Its execution may have ended: the sweep looks, and gives it another if so."""
    EXPIRING = "expiring"
    """It waits, and its retention ends within a day: its owner is notified."""


def overdue(delivery: Delivery, now_ms: int, retention_seconds: int) -> Overdue:
    """Return the finding for a delivery as stored, at a time in Unix milliseconds.

    A claimed delivery is left to its invocation until the claim's lease is over.
    """
    if delivery.status is Status.WAITING:
        notice_at_ms = delivery.expiry_notice_at_ms(retention_seconds)
        due = notice_at_ms is not None and notice_at_ms < now_ms
        return Overdue.EXPIRING if due else Overdue.NOT
    due_ms = delivery.next_attempt_at_ms
    if due_ms is None or due_ms >= now_ms or delivery.is_claimed(now_ms):
        return Overdue.NOT
    if delivery.unstarted and not _given_up(delivery):
        return Overdue.UNSTARTED
    grace_seconds = SHORT_GRACE_SECONDS if delivery.short else GRACE_SECONDS
    if now_ms - due_ms <= grace_seconds * MILLISECONDS:
        return Overdue.NOT
    return Overdue.SHORT if delivery.short else Overdue.LONG


def given_another_execution(delivery: Delivery, now_ms: int, delay_seconds: float) -> Delivery:
    """Return an overdue delivery in the state to record before its new execution is started.

    - It stays `unstarted` until an attempt has a result or the sweep has confirmed the start: if a
      sweep is cut off between the two, the next sweep continues.
    - It gets a new generation. An exhausted delivery does not, so that both of its messages to the
      dead-letter queue name the same generation.
    - After `MAX_CLAIMS` claims without a result it is no longer `short`; a dead letter for that
      reason may be claimed once more.
    """
    due_ms = now_ms + to_ms(delay_seconds)
    if delivery.status is Status.EXHAUSTED:
        return delivery.reminded(due_ms)
    stays = delivery.short and not _given_up(delivery)
    again = delivery.restarted(due_ms, short=stays and delay_seconds <= SHORT_DELAY_SECONDS)
    if again.claim is None or again.claim.count < MOST_CLAIMS:
        return again
    return replace(again, claim=replace(again.claim, count=MOST_CLAIMS - 1))


def _given_up(delivery: Delivery) -> bool:
    """Whether a short delivery has used up its claims on Express without a result."""
    claims = delivery.claim.count if delivery.claim else 0
    return delivery.short and claims >= MAX_CLAIMS
