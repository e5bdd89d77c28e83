"""Instants as the contract writes them: UTC with milliseconds and `Z`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC) - _EPOCH) // timedelta(
    milliseconds=1
)
"""The last instant whose year in UTC has four digits."""


def to_text(unix_ms: int) -> str:
    """Write Unix milliseconds as `2025-12-21T23:25:12.006Z`."""
    instant = _EPOCH + timedelta(milliseconds=unix_ms)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03d}Z"


MILLISECONDS = 1000
"""Milliseconds of a second."""


def to_ms(unix_seconds: float) -> int:
    """Return Unix seconds as whole Unix milliseconds, rounded down."""
    return int(unix_seconds * MILLISECONDS)
