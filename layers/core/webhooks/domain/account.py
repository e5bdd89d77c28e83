"""What an account's id looks like. Accounts are the operator's own: no table lists them."""

from __future__ import annotations

import re

ACCOUNT_ID_RULE = "must be 1 to 64 letters, digits, or any of _ . : @ -"
_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,64}", re.ASCII)


def is_account_id(text: str) -> bool:
    """Tell whether a text keeps `ACCOUNT_ID_RULE`: no `#`, which the tables' keys put behind it."""
    return _ID.fullmatch(text) is not None
