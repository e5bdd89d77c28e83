"""How the result of an attempt is merged with what others recorded of its delivery meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery


def behind(stored: Delivery, before: Delivery, after: Delivery) -> Delivery:
    """Return what came of an attempt of `before`, put behind what `stored` has become since."""
    if len(after.attempts) == len(before.attempts):
        return _unattempted_behind(stored, after)
    attempt = replace(after.attempts[-1], number=len(stored.attempts) + 1)
    if stored.erased:
        # A response may quote the payload.
        attempt = replace(attempt, response_body="")
    made_twice = attempt.scheduled and stored.scheduled_attempts > before.scheduled_attempts
    if made_twice and (attempt.error is not None or stored.status is Status.SUCCEEDED):
        # The same attempt of the schedule: the first to record it decides, but for a success, or
        # what the receiver has would be sent to it again.
        return stored
    if attempt.error is not None and attempt.scheduled and _claimed_by_another(stored, before):
        return stored
    if attempt.error is None:
        return replace(stored.after(attempt, Status.SUCCEEDED), reason=None)
    if not attempt.scheduled or not stored.retrying:
        return stored.after(attempt, stored.status, stored.next_attempt_at_ms)
    # Another generation's execution goes on after its own kind.
    short = after.short if stored.generation == before.generation else stored.short
    recorded = stored.after(attempt, after.status, after.next_attempt_at_ms, short=short)
    return replace(recorded, reason=after.reason)


def _claimed_by_another(stored: Delivery, before: Delivery) -> bool:
    """Tell whether the attempt's claim has become another's, who makes the attempt by now."""
    mine = before.claim and before.claim.invocation
    return stored.claim is not None and stored.claim.invocation != mine


def _unattempted_behind(stored: Delivery, after: Delivery) -> Delivery:
    """Return a delivery deferred or cancelled without an attempt, as `stored` has become since.

    Nothing to do where others settled it, did the same, or gave it another execution.
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
