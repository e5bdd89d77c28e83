#!/usr/bin/env bash
# cloudevents (PyPI) sends an event whose data is a JSON array with Python's own notation as its body.
#
# Surprising: an event that came in with the body ["a",null,true] goes out, in binary mode and still as
#   application/json, with ['a', None, True]. An object goes out as JSON, and so does the array in
#   structured mode.
# Matters: a relay that reads an event and passes it on sends a body that no receiver can parse, as soon
#   as a sender uses an array.
# Expected because: CloudEvents' HTTP binding says that in binary mode the body is the data, in the form
#   that datacontenttype names; the package's own reader takes the array for JSON.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event

HEADERS = {
    "ce-id": "1",
    "ce-source": "/orders",
    "ce-type": "com.example.order",
    "ce-specversion": "1.0",
    "content-type": "application/json",
}


def relay(body):
    event = from_http_event(HTTPMessage(HEADERS, body))
    assert event.get_data() == json.loads(body)
    assert json.loads(to_structured_event(event).body)["data"] == json.loads(body)
    message = to_binary_event(event)
    assert message.headers["content-type"] == "application/json"
    return message.body.decode()


seen = [relay(b'{"a":[1,null]}'), relay(b'["a",null,true]')]
print("Software: cloudevents 2.2.0 (PyPI)")
print('Expected: {"a": [1, null]} and ["a", null, true]')
print(f"Seen: {seen[0]} and {seen[1]}")
sys.exit(seen != ['{"a": [1, null]}', "['a', None, True]"])
PYTHON
