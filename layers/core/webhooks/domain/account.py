"""The format of account ids. The operator assigns accounts; no table lists them."""

from __future__ import annotations

import re

ACCOUNT_ID_RULE = "must be 1 to 64 letters, digits, or any of _ . : @ -"
_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,64}", re.ASCII)

is_account_id = _ID.fullmatch
"""Match a text against `ACCOUNT_ID_RULE`; it excludes `#`, the separator in table keys."""
