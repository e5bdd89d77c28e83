#!/usr/bin/env bash
# standardwebhooks (PyPI) signs the wall clock of the datetime it is given, not its instant.
#
# Surprising: two equal, timezone-aware datetimes get different signatures, because sign() replaces
#   the timezone by UTC instead of converting to it.
# Matters: a sender that passes datetime.now(ZoneInfo("Europe/Berlin")) and puts the right Unix time
#   in the header signs a time two hours off; every receiver refuses every delivery.
# Expected because: the Standard Webhooks specification signs "id.timestamp.body" with the Unix time
#   of the webhook-timestamp header, and sign() takes a datetime.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check standardwebhooks==1.1.0

"$folder/venv/bin/python" - <<'PYTHON'
import base64
import sys
from datetime import datetime, timedelta, timezone

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook("whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode())
utc = datetime.now(timezone.utc)
berlin = utc.astimezone(timezone(timedelta(hours=2)))
assert utc == berlin


def accepted(moment):
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": webhook.sign("msg_1", moment, "{}"),
    }
    try:
        webhook.verify("{}", headers)
    except WebhookVerificationError as error:
        return str(error)
    return "accepted"


seen = [accepted(utc), accepted(berlin)]
print("Software: standardwebhooks 1.1.0 (PyPI)")
print("Expected: a signature made at 12:00+02:00 is the one made at 10:00 UTC: both accepted")
print(f"Seen: signed at UTC: {seen[0]}; signed at the same instant in +02:00: {seen[1]}")
sys.exit(seen != ["accepted", "No matching signature found"])
PYTHON
