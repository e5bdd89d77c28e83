"""What the sweep does about a delivery that the index of what is due names."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status
from webhooks.domain.retry import SHORT_DELAY_SECONDS

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery

GRACE_SECONDS = 600.0
"""How late an attempt on Standard is overdue: as long as its execution's tries usually take."""

SHORT_GRACE_SECONDS = 60.0
"""How late an attempt is overdue whose delay was short: there is no execution to look at."""

MAX_CLAIMS = 3
"""Claims in a row without a result, after which a delivery goes on alone, on Standard."""

MOST_CLAIMS = 6
"""Claims in a row without a result, after which a delivery is a dead letter. Each time that the
sweep starts it again it gets one more, so that it arrives once the fault is over."""

_MILLISECONDS = 1000


class Overdue(StrEnum):
    """Why a delivery is the sweep's, and what follows."""

    NOT = "not"
    """It is not overdue, or is worked on."""
    UNSTARTED = "unstarted"
    """Its execution could not be started: that is made up for."""
    SHORT = "short"
    """Its execution is lost: it gets another one."""
    LONG = "long"
    """Its execution, which may be looked at, may have ended: then it gets another one."""
    EXPIRING = "expiring"
    """It waits, and its retention ends within a day: its owner is notified."""


def overdue(delivery: Delivery, now_ms: int, retention_seconds: int) -> Overdue:
    """Tell whether a delivery, as the table has it, is the sweep's at a time.

    One that is claimed is left to its invocation until the claim's lease is over.
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
    if now_ms - due_ms <= grace_seconds * _MILLISECONDS:
        return Overdue.NOT
    return Overdue.SHORT if delivery.short else Overdue.LONG


def given_another_execution(delivery: Delivery, now_ms: int, delay_seconds: float) -> Delivery:
    """Return an overdue delivery as it is recorded before its new execution is started.

    It is unstarted until an attempt has a result, or the sweep has seen to its start: a sweep that
    is cut off between the two leaves it to the next one. Its generation is a new one, except where
    it is exhausted: both of its messages to the dead-letter queue then name the same. A delivery
    that was claimed often enough without a result is not short any more, and one that is a dead
    letter for it may be claimed once more.
    """
    due_ms = now_ms + int(delay_seconds * _MILLISECONDS)
    if delivery.status is Status.EXHAUSTED:
        return delivery.reminded(due_ms)
    stays = delivery.short and not _given_up(delivery)
    again = delivery.restarted(due_ms, short=stays and delay_seconds <= SHORT_DELAY_SECONDS)
    if again.claim is None or again.claim.count < MOST_CLAIMS:
        return again
    return replace(again, claim=replace(again.claim, count=MOST_CLAIMS - 1))


def _given_up(delivery: Delivery) -> bool:
    """Tell whether Express has had enough of a delivery's claims, without a result of any."""
    claims = delivery.claim.count if delivery.claim else 0
    return delivery.short and claims >= MAX_CLAIMS
