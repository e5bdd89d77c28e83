#!/usr/bin/env bash
# event-ruler (PyPI), made to test EventBridge patterns, refuses the operators that make them patterns.
#
# Surprising: prefix, numeric, suffix, wildcard and a single anything-but are "invalid pattern" errors, and
#   1 does not match 1.0. Only exact values, exists and a list in anything-but work.
# Matters: a sender tests its rules with it ({"prefix": "email."} is the first one anybody writes) and
#   concludes from the error that the rule is wrong, while EventBridge takes it.
# Expected because: the package's description says that it tests EventBridge patterns locally, in place of
#   the TestEventPattern API, and names no operator that is missing. prefix is as old as EventBridge.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Version 0.3.0 has wheels up to Python 3.11.
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check event-ruler==0.3.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import event_ruler

patterns = {
    "exact value": ('{"type": ["email.sent"]}', '{"type": "email.sent"}'),
    "exists": ('{"type": [{"exists": true}]}', '{"type": "email.sent"}'),
    "prefix": ('{"type": [{"prefix": "email."}]}', '{"type": "email.sent"}'),
    "suffix": ('{"type": [{"suffix": ".sent"}]}', '{"type": "email.sent"}'),
    "anything-but": ('{"type": [{"anything-but": "sms"}]}', '{"type": "email.sent"}'),
    "numeric": ('{"size": [{"numeric": [">", 1]}]}', '{"size": 2}'),
}


def result(pattern, event):
    try:
        return event_ruler.test_event_pattern(event, pattern)
    except RuntimeError as error:
        return str(error)


seen = {name: result(*texts) for name, texts in patterns.items()}
print("Software: event-ruler 0.3.0 (PyPI)")
print(f"Expected: every one matches: {', '.join(patterns)}")
print(f"Seen: {seen}")
working = {"exact value", "exists"}
sys.exit(any(seen[name] != (True if name in working else "invalid pattern") for name in seen))
PYTHON
