#!/usr/bin/env bash
# retryhttp (PyPI) drops whole days from a Retry-After date.
#
# Surprising: a date one day and a minute ahead is a wait of one minute, so even a date far beyond the
#   longest wait that the caller allows never falls back.
# Matters: a receiver that is closed for maintenance until tomorrow gets the next attempt in a minute,
#   and so on each day.
# Expected because: RFC 9110 lets Retry-After be a date; the package's documentation takes it for the moment
#   of the next try, and names only one exception: a wait that exceeds wait_max.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check retryhttp==1.5.0 httpx==0.28.1

"$folder/venv/bin/python" - <<'PYTHON'
import email.utils
import sys
from datetime import datetime, timedelta, timezone

import httpx
from retryhttp import wait_retry_after
from tenacity import RetryCallState


def wait(ahead):
    date = email.utils.format_datetime(datetime.now(timezone.utc) + ahead, usegmt=True)
    request = httpx.Request("POST", "https://receiver.example/")
    answer = httpx.Response(429, headers={"Retry-After": date}, request=request)
    state = RetryCallState(None, None, (), {})
    state.set_exception((httpx.HTTPStatusError, httpx.HTTPStatusError("", request=request, response=answer), None))
    return wait_retry_after(wait_max=None)(state)


seen = [wait(timedelta(minutes=1)), wait(timedelta(days=1, minutes=1))]
print("Software: retryhttp 1.5.0 (PyPI)")
print("Expected: about 60 and 86460 seconds")
print(f"Seen: {seen[0]:.0f} and {seen[1]:.0f} seconds")
sys.exit(not all(55 <= seconds <= 60 for seconds in seen))
PYTHON
