"""Pauses: until when a receiver asks to be sent nothing (`Retry-After`, contract 2.5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from webhooks.domain.retry import JITTER, asked_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.delivery import Attempt, Outcome

RETRY_AFTER = "retry_after"
"""Why a first attempt waits during a pause."""

UNSUBSCRIBED = "unsubscribed"
"""Why a delivery is cancelled whose type its webhook's owner took off the webhook."""

LEAST_MOVE_MS = 1000
"""A pause is written only where it ends so much later than the known one."""

NOTICE_MS = 15 * 60_000
"""A webhook's owner is notified of a pause longer than this."""

_MOST_SPREAD_SECONDS = 60.0
"""The longest time over which the retries that a pause held up are spread after its end."""

_MILLISECONDS = 1000


def asked_until_ms(outcome: Outcome, now_ms: int) -> int | None:
    """Return until when a response asks for a pause, in Unix milliseconds; None where it does not.

    Whole seconds after `now_ms`, a part of one counted as one, and 24 hours at most.
    """
    seconds = math.ceil(asked_seconds(outcome))
    return now_ms + seconds * _MILLISECONDS if seconds > 0 else None


def asks(attempt: Attempt | None) -> bool:
    """Tell whether an attempt's response asks for a pause."""
    return attempt is not None and attempt.not_before_ms is not None


def asked(attempts: Iterable[Attempt]) -> int | None:
    """Return until when attempts' responses ask for a pause; None where none does.

    A request that was taken ends the pauses asked for before it was sent. One that was on its way
    while the receiver asked for a pause says nothing about it.
    """
    made = [*attempts]
    taken_ms = max((each.started_at_ms for each in made if each.error is None), default=-1)
    return max(
        (
            each.not_before_ms
            for each in made
            if each.not_before_ms is not None and each.started_at_ms + each.duration_ms >= taken_ms
        ),
        default=None,
    )


def moves(known_ms: int | None, until_ms: int, now_ms: int) -> bool:
    """Tell whether a pause until `until_ms` is to be written, beside the one that is known.

    One that goes on is, however soon it ends: of one second a part is over when it is written, and
    nothing may wait for a pause that is not.
    """
    return until_ms > now_ms and until_ms - (known_ms or 0) >= LEAST_MOVE_MS


def is_notified(before_ms: int | None, until_ms: int, now_ms: int) -> bool:
    """Tell whether the owner is to be notified of a pause that took the place of `before_ms`'s.

    One that is moved while it is longer than `NOTICE_MS` was notified already.
    """
    return until_ms - now_ms > NOTICE_MS >= (before_ms or 0) - now_ms


def retry_seconds(until_ms: int, now_ms: int, random: float) -> float:
    """Return the seconds to a retry that a pause holds up: never before its end.

    `random` is from 0 to 1. It spreads such retries over a tenth of the wait, a minute at most.
    """
    seconds = max(0, until_ms - now_ms) / _MILLISECONDS
    return seconds + random * min(JITTER * seconds, _MOST_SPREAD_SECONDS)
