#!/usr/bin/env bash
# edwh-uuid7 (PyPI) takes the argument timestamp_ms for seconds.
#
# Surprising: uuid7(timestamp_ms=1767323045000), the milliseconds of 2 January 2026, gives an identifier of
#   another time altogether; uuid7(timestamp_ms=1767323045), the seconds, gives the right one.
# Matters: events that are imported with the time at which they happened get identifiers that sort and
#   expire wrongly, without an error, since the excess bits of the time are cut off.
# Expected because: the argument's name, and the package's own table of the bits, where timestamp_ms is a
#   Unix timestamp in milliseconds; its other argument, timestamp_ns, does take nanoseconds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check edwh-uuid7==0.2.3

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from edwh_uuid7 import uuid7, uuid7_to_datetime

MS = 1767323045000
uuids = [uuid7(timestamp_ns=MS * 1000000), uuid7(timestamp_ms=MS), uuid7(timestamp_ms=MS // 1000)]
seen = [int.from_bytes(uuid.bytes[:6], "big") == MS for uuid in uuids]
times = [uuid7_to_datetime(uuid).isoformat() for uuid in uuids]
print("Software: edwh-uuid7 0.2.3 (PyPI)")
print("Expected: 2026-01-02T03:04:05+00:00 from the nanoseconds, and from the milliseconds")
print(f"Seen: {times[0]} from the nanoseconds, {times[1]} from the milliseconds, {times[2]} from the seconds")
sys.exit(seen != [True, False, True])
PYTHON
