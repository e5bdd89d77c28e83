"""The hooks of schemathesis: the run must not revoke its own API keys."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

ABSENT = "0199a5b0-0000-7000-8000-000000000000"
_OWN_KEYS = set(filter(None, os.environ.get("CONFORMANCE_KEY_IDS", "").split(",")))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Aim a revocation of one of the run's own keys at an absent key."""
    if case.path_parameters and case.path_parameters.get("key_id") in _OWN_KEYS:
        case.path_parameters["key_id"] = ABSENT
