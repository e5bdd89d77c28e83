"""What attempts say of a receiver's health: which count, and what they come to together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.drain_rate import TOO_MANY_REQUESTS
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.delivery import Attempt, Delivery
    from webhooks.domain.health import Health
    from webhooks.domain.webhook import Webhook


def is_news(webhook: Webhook, attempts: Sequence[Attempt]) -> bool:
    """Tell whether attempts change a webhook's health: those that a healthy one took do not."""
    attempts = signs(attempts)
    if not attempts:
        return False
    failed = all(attempt.error is not None for attempt in attempts)
    if failed or webhook.health.changed_by_success:
        return True
    now_ms = max(attempt.started_at_ms for attempt in attempts)
    return is_counted(webhook.health, attempts, now_ms)


def signs_of_health(before: Delivery, after: Delivery) -> list[Attempt]:
    """Return a delivery's latest attempts as they are reported, `before` them and `after`.

    All attempts of a test were asked for, and so were those of a delivery that an operator had
    begin its schedule anew: it has used up one already, so that another failure says more about
    the delivery than about its receiver.
    """
    made = after.attempts[len(before.attempts) :]
    asked = before.test or before.earlier_attempts > 0
    return [replace(attempt, manual=attempt.manual or asked) for attempt in made]


def signs(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that say something of a receiver's health.

    An attempt that its owner asked for does only where it was taken: an owner asks for it
    because it failed, and may ask for the same again and again.
    """
    return [attempt for attempt in attempts if not (attempt.manual and attempt.error)]


def tally_of(attempts: Sequence[Attempt]) -> Tally:
    """Count attempts, but for those that an owner asked for: no failure would outweigh them."""
    counted = [attempt for attempt in attempts if not attempt.manual]
    failed = sum(attempt.error is not None for attempt in counted)
    return Tally(failed, len(counted) - failed)


def is_counted(health: Health, attempts: Sequence[Attempt], now_ms: int) -> bool:
    """Tell whether attempts are counted in a window.

    A 429 is a matter of pace: on probation it says neither that a receiver is back nor that it is
    not.
    """
    tally = tally_of(attempts)
    if not any(tally):
        return False
    if health.on_probation and any(one.status_code == TOO_MANY_REQUESTS for one in attempts):
        return False
    return health.counts(tally, now_ms)


def opens(health: Health) -> bool:
    """Tell whether a webhook's failures, in a row or by their share, open its circuit."""
    if health.circuit is Circuit.OPEN:
        return False
    window = health.window
    if health.failures >= FAILURES_TO_OPEN or (window is not None and window.opens):
        return True
    return window is not None and health.on_probation and window.fails_probation
