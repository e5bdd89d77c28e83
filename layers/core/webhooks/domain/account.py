"""The form of an account's id. Accounts are the operator's own: no table lists them."""

from __future__ import annotations

import re

ACCOUNT_ID_RULE = "must be 1 to 64 letters, digits, or any of _ . : @ -"
_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,64}", re.ASCII)

is_account_id = _ID.fullmatch
"""Match a text that keeps `ACCOUNT_ID_RULE`: no `#`, which the tables' keys put behind it."""
