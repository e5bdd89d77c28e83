"""The format of ids in the API's paths."""

from __future__ import annotations

import re
from uuid import UUID

_TIME_SHIFT = 80
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as this API writes them. Anything else cannot be a key in tables."""
    return _UUID.fullmatch(text) is not None


def time_of_id(text: str) -> int:
    """Return the time of a UUIDv7 (RFC 9562, section 5.7) in Unix milliseconds.

    A webhook's id carries the time of its registration, a delivery's that of its event.
    """
    return UUID(text).int >> _TIME_SHIFT
