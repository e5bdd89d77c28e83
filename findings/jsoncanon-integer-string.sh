#!/usr/bin/env bash
# jsoncanon (PyPI) turns a large integer into a string.
#
# Surprising: the canonical form has another type than the value: from 2**63 on, 9223372036854775808 becomes
#   "9223372036854775808", with the quotation marks.
# Matters: ids of some services are unsigned 64-bit integers. A receiver that canonicalises a body before it
#   compares signatures computes another text than the sender's, and the value changes its type.
# Expected because: RFC 8785, which the package implements, writes a number as a number (or an
#   implementation refuses what IEEE 754 cannot hold). The package only warns about floats.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsoncanon==0.2.4

"$folder/venv/bin/python" - <<'PYTHON'
import sys

from jsoncanon import canonicalize

seen = [canonicalize({"id": 2**number}) for number in (62, 63)]
seen = [text.decode() if isinstance(text, bytes) else text for text in seen]
print("Software: jsoncanon 0.2.4 (PyPI)")
print('Expected: {"id":4611686018427387904} and {"id":9223372036854775808}, or an error')
print(f"Seen: {seen[0]} and {seen[1]}")
sys.exit(seen != ['{"id":4611686018427387904}', '{"id":"9223372036854775808"}'])
PYTHON
