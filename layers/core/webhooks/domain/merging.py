"""Merges the result of an attempt with changes that others recorded on its delivery meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery


def behind(stored: Delivery, before: Delivery, after: Delivery) -> Delivery:
    """Merge the result of an attempt of `before` into `stored`, the delivery's present state."""
    if len(after.attempts) == len(before.attempts):
        return _unattempted_behind(stored, after)
    attempt = replace(after.attempts[-1], number=len(stored.attempts) + 1)
    if stored.erased:
        # A response may quote the payload.
        attempt = replace(attempt, response_body="")
    made_twice = attempt.scheduled and stored.scheduled_attempts > before.scheduled_attempts
    if made_twice and (attempt.error is not None or stored.status is Status.SUCCEEDED):
        # Both are the same attempt of the schedule. The first recorded one decides, except that
        # a success always counts: otherwise the receiver would get the delivery again.
        return stored
    if attempt.error is not None and attempt.scheduled and _claimed_by_another(stored, before):
        return stored
    if attempt.error is None:
        return replace(stored.after(attempt, Status.SUCCEEDED), reason=None)
    if not attempt.scheduled or not stored.retrying:
        return stored.after(attempt, stored.status, stored.next_attempt_at_ms)
    # If another generation's execution has taken over, keep that execution's kind.
    short = after.short if stored.generation == before.generation else stored.short
    recorded = stored.after(attempt, after.status, after.next_attempt_at_ms, short=short)
    return replace(recorded, reason=after.reason)


def _claimed_by_another(stored: Delivery, before: Delivery) -> bool:
    """Whether another invocation has claimed the attempt since, and makes it now."""
    mine = before.claim and before.claim.invocation
    return stored.claim is not None and stored.claim.invocation != mine


def _unattempted_behind(stored: Delivery, after: Delivery) -> Delivery:
    """Return `stored`, deferred or cancelled without an attempt as `after` is.

    It stays unchanged if others settled it, did the same, or gave it another execution.
    """
    if stored.generation != after.generation:
        return stored
    if stored.retrying:
        return replace(
            stored.unclaimed(), status=after.status, next_attempt_at_ms=None, reason=after.reason
        )
    if stored.status is after.status:
        return replace(stored, next_attempt_at_ms=after.next_attempt_at_ms)
    return stored
