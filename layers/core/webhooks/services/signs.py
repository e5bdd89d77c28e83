"""The signs of a receiver's health in its attempts: which attempts count, and their tally."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Tally
from webhooks.domain.status_codes import is_rate_limited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.domain.health import Health
    from webhooks.domain.webhook import Webhook


def is_news(webhook: Webhook, attempts: Sequence[Attempt]) -> bool:
    """Return whether attempts change a webhook's health; successes of a healthy one do not."""
    attempts = signs(attempts)
    if not attempts:
        return False
    failed = all(attempt.error is not None for attempt in attempts)
    if failed or webhook.health.changed_by_success:
        return True
    now_ms = max(attempt.started_at_ms for attempt in attempts)
    return is_counted(webhook.health, attempts, now_ms)


def signs_of_health(before: Delivery, after: Delivery) -> list[Attempt]:
    """Return the attempts between `before` and `after`, in the form in which health is reported.

    All attempts of a test count as asked for, and so do those of a delivery whose schedule an
    operator started again: it has used up one schedule already, and another failure says more about
    the delivery than about its receiver.
    """
    made = after.attempts[len(before.attempts) :]
    asked = before.test or before.earlier_attempts > 0
    return [replace(attempt, manual=attempt.manual or asked) for attempt in made]


def signs(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that say something about a receiver's health.

    A manual attempt does so only if it succeeded: an owner asks for it because the delivery failed,
    and may ask for the same again and again.
    """
    return [attempt for attempt in attempts if not (attempt.manual and attempt.error)]


def tally_of(attempts: Sequence[Attempt]) -> Tally:
    """Count attempts except manual ones: no failure of these counts, so no success may."""
    counted = [attempt for attempt in attempts if not attempt.manual]
    failed = sum(attempt.error is not None for attempt in counted)
    return Tally(failed, len(counted) - failed)


def is_counted(health: Health, attempts: Sequence[Attempt], now_ms: int) -> bool:
    """Return whether attempts are counted in a window.

    A 429 is about the rate: on probation it says neither that a receiver is back nor that it is
    not.
    """
    tally = tally_of(attempts)
    if not any(tally):
        return False
    if health.on_probation and any(is_rate_limited(one.status_code) for one in attempts):
        return False
    return health.counts(tally, now_ms)


def opens(health: Health) -> bool:
    """Return whether a webhook's failures, in a row or by their share, open its circuit."""
    if health.circuit is Circuit.OPEN:
        return False
    window = health.window
    if health.failures >= FAILURES_TO_OPEN or (window is not None and window.opens):
        return True
    return window is not None and health.on_probation and window.fails_probation
