"""Instants as the contract writes them: UTC with milliseconds and `Z`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MILLISECONDS = 1000
"""Milliseconds of a second."""

NANOSECONDS = 1_000_000
"""Nanoseconds of a millisecond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // timedelta(
    milliseconds=1
)
"""The last instant whose year in UTC has four digits."""


def to_text(unix_ms: int) -> str:
    """Write Unix milliseconds as `2025-12-21T23:25:12.006Z`."""
    instant = _EPOCH + timedelta(milliseconds=unix_ms)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{unix_ms % MILLISECONDS:03d}Z"


def to_ms(seconds: float) -> int:
    """Return seconds, of Unix time or of a duration, as whole milliseconds, rounded down."""
    return int(seconds * MILLISECONDS)


def ns_to_ms(unix_ns: int) -> int:
    """Return Unix nanoseconds as whole milliseconds, rounded down."""
    return unix_ns // NANOSECONDS
