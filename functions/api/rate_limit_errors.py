"""The error code and the message of each rate limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.domain.errors import (
    TooManyCallsError,
    TooManyEnablesError,
    TooManyErasuresError,
    TooManyEventsError,
    TooManyResendsError,
    TooManyTestsError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.domain.errors import RateLimitExceededError

RATE_LIMITS: Mapping[type[RateLimitExceededError], tuple[str, str]] = {
    TooManyCallsError: (
        "too_many_calls",
        "This account has reached its limit of calls per minute. Wait before you call again.",
    ),
    TooManyEventsError: (
        "too_many_events",
        "This account has reached its limit of events per minute. Wait, then send the same events "
        "again.",
    ),
    TooManyTestsError: (
        "too_many_tests",
        "This webhook has reached its limit of test events per hour. Wait before you send another.",
    ),
    TooManyResendsError: (
        "too_many_resends",
        "This webhook has reached its limit of resends per hour. Wait, or start a replay.",
    ),
    TooManyEnablesError: (
        "too_many_enables",
        "This webhook has reached its limit of enabling per hour. Repair its receiver, then wait.",
    ),
    TooManyErasuresError: (
        "too_many_erasures",
        "This account has reached its limit of erasures per day. Wait before you start another.",
    ),
}
"""By the error that the domain raises."""
