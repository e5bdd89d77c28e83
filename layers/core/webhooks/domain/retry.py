"""Retry delays. All timing of attempts is decided here and in `drain_rate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from webhooks.domain.status_codes import may_pause

if TYPE_CHECKING:
    from webhooks.domain.delivery import Outcome

DEFAULT_SCHEDULE = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds to wait after attempt 1, 2, 3 ...: ten attempts over 75.6 hours (contract 2.5)."""

DEFAULT_RECOVERY_SCHEDULE = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
"""Seconds before probe 1, 2, 3 ... of a webhook that is down; the last repeats."""

JITTER = 0.1
"""The largest share of a delay that is added at random, to spread failures. Never subtracted."""

MAX_RETRY_AFTER_SECONDS = 86400.0
"""The most by which a receiver's `Retry-After` moves the next attempt (contract 2.5)."""

SHORT_DELAY_SECONDS = 60.0
"""The longest delay, jitter and `Retry-After` included, of the state machine of short delays.

An Express execution lasts five minutes at most and is billed by its duration: at 95 seconds it
costs as much as a Standard one.
"""

RESTART_SECONDS = 600.0
"""Delay of the sweep's second restart of a delivery in a row; it doubles with each further one."""

MAX_RESTART_SECONDS = 86400.0
"""The longest delay of a restart."""


def next_delay(
    schedule: Sequence[float],
    attempt_number: int,
    outcome: Outcome | None,
    random: float | Callable[[], float],
) -> float | None:
    """Return the seconds from failed attempt `attempt_number` to the next, or None: exhausted.

    `schedule[n - 1]` is the wait after attempt n. `random` is a number from 0 to 1, or a function
    that returns one; it spreads the delay over the 10 % after the scheduled time. A `Retry-After`
    on 429 or 503 moves the attempt later, never earlier, and by no more than 24 hours.
    """
    if attempt_number > len(schedule):
        return None
    spread = random() if callable(random) else random
    planned = schedule[attempt_number - 1] * (1 + JITTER * spread)
    return max(planned, asked_seconds(outcome))


def next_wait(
    schedule: Sequence[float],
    attempt_number: int,
    outcome: Outcome | None,
    random: float | Callable[[], float],
) -> int | None:
    """Return `next_delay` in whole seconds, the unit in which Step Functions waits.

    The schedule's delay is rounded down: its own seconds are whole, so it is never early. A
    `Retry-After` is rounded up, never earlier than the receiver asks for.
    """
    planned = next_delay(schedule, attempt_number, None, random)
    if planned is None:
        return None
    return max(int(planned), math.ceil(asked_seconds(outcome)))


def asked_seconds(outcome: Outcome | None) -> float:
    """Return the seconds of a `Retry-After` on 429 or 503, 24 hours at most; otherwise 0."""
    if outcome is None or outcome.retry_after_seconds is None:
        return 0.0
    if not may_pause(outcome.status_code):
        return 0.0
    return min(outcome.retry_after_seconds, MAX_RETRY_AFTER_SECONDS)


def probe_delay(
    schedule: Sequence[float], probe_number: int, random: float | Callable[[], float]
) -> float:
    """Return the seconds until probe `probe_number` of a webhook that is down, from 1 on.

    The schedule's last delay repeats for as long as the webhook stays down.
    """
    spread = random() if callable(random) else random
    return schedule[min(probe_number, len(schedule)) - 1] * (1 + JITTER * spread)


def restart_delay(restarts: int) -> float:
    """Return the seconds between a restart by the sweep and the delivery's attempt.

    `restarts` counts earlier ones since its last attempt. The first restart most likely makes up
    for a lost execution, at once. Repeated restarts mean a lasting fault of ours; retrying every
    half an hour would not end it sooner.
    """
    if restarts == 0:
        return 0.0
    # Ten doublings exceed the maximum by far, and avoid a float overflow.
    return min(RESTART_SECONDS * 2.0 ** min(restarts - 1, 10), MAX_RESTART_SECONDS)


def parse_schedule(text: str) -> tuple[float, ...]:
    """Read a schedule of whole seconds with commas between, such as `5,300,1800`.

    Raises ValueError, saying what is wrong, unless it has 1 to 50 numbers from 0 to 9,999,999
    (Step Functions waits whole seconds, and an execution lives a year).
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 50 or not all(part.isdecimal() and len(part) <= 7 for part in parts):
        msg = "the schedule must be 1 to 50 delays in whole seconds with commas, such as 5,300,1800"
        raise ValueError(msg)
    return tuple(float(part) for part in parts)
