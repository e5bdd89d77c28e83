"""Pauses: the time that a receiver asks to be left alone (`Retry-After`, contract 2.5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from webhooks.domain.retry import JITTER, asked_seconds
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from webhooks.domain.delivery import Attempt, Outcome

RETRY_AFTER = "retry_after"
"""The reason why a first attempt waits during a pause."""

UNSUBSCRIBED = "unsubscribed"
"""The reason why a delivery is cancelled: the owner removed its type from the webhook."""

LEAST_MOVE_MS = 1000
"""A pause is written only if it ends at least this much later than the known pause."""

NOTICE_MS = 15 * 60_000
"""A webhook's owner is notified of a pause longer than this."""

_MOST_SPREAD_SECONDS = 60.0
"""Retries delayed by a pause are spread over at most this time after its end."""


def asked_until_ms(outcome: Outcome, now_ms: int) -> int | None:
    """Return the end of the pause that a response asks for, in Unix milliseconds, or None.

    The pause is in whole seconds from `now_ms`, rounded up, and 24 hours at most.
    """
    seconds = math.ceil(asked_seconds(outcome))
    return now_ms + seconds * MILLISECONDS if seconds > 0 else None


def asks(attempt: Attempt | None) -> bool:
    """Whether an attempt's response asks for a pause."""
    return attempt is not None and attempt.not_before_ms is not None


def asked(attempts: Iterable[Attempt]) -> int | None:
    """Return the latest end of the pauses that attempts' responses ask for; None without any.

    An accepted request ends the pauses that were asked for before it was sent. A request that was
    on its way when the receiver asked for a pause says nothing about it.
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
    """Whether a pause until `until_ms` is written, given the end of the known pause.

    A pause that has not ended is written only if it moves the end by `LEAST_MOVE_MS`. A pause of
    one second is partly over when it is written; no delivery may wait for an unwritten pause.
    """
    return until_ms > now_ms and until_ms - (known_ms or 0) >= LEAST_MOVE_MS


def is_notified(before_ms: int | None, until_ms: int, now_ms: int) -> bool:
    """Whether the owner is notified of a pause that replaces the one until `before_ms`.

    A pause longer than `NOTICE_MS` was already notified; moving it causes no further notice.
    """
    return until_ms - now_ms > NOTICE_MS >= (before_ms or 0) - now_ms


def retry_seconds(until_ms: int, now_ms: int, random: float) -> float:
    """Return the seconds to a retry that a pause delays: never before the pause's end.

    `random` is from 0 to 1. It spreads such retries over a tenth of the wait, a minute at most.
    """
    seconds = max(0, until_ms - now_ms) / MILLISECONDS
    return seconds + random * min(JITTER * seconds, _MOST_SPREAD_SECONDS)
