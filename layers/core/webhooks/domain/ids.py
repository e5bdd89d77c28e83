"""The form that ids have in the API's paths."""

from __future__ import annotations

import re

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID as this API writes them; what is none, no table has."""
    return _UUID.fullmatch(text) is not None
