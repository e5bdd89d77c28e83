#!/usr/bin/env bash
# MiniStack's Step Functions never match a Choice rule that compares text or time with another path.
#
# Surprising: StringLessThanPath and TimestampLessThanPath (and the others of their kind, but
#   StringEqualsPath) are accepted and are always false, so the machine takes its Default without an error;
#   NumericLessThanPath works.
# Matters: a machine that gives up a delivery once its next attempt lies after its deadline, two
#   timestamps of the input, retries for ever in the local run.
# Expected because: Step Functions' guide to the Choice state lists them among its operators, and the
#   package's documentation promises a full interpreter of the States Language.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ministack==1.5.33 boto3==1.43.106
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder"
TMPDIR=$folder BIND_HOST=127.0.0.1 GATEWAY_PORT=$port venv/bin/ministack >log 2>&1 &
server=$!

venv/bin/python - "$port" <<'PYTHON'
import json
import socket
import sys
import time

import boto3

for _ in range(60):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(1)
states = boto3.client(
    "stepfunctions",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="eu-west-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
)


def less(operator, values):
    definition = {
        "StartAt": "Compare",
        "States": {
            "Compare": {
                "Type": "Choice",
                "Choices": [{"Variable": "$[0]", operator: "$[1]", "Next": "Less"}],
                "Default": "Default",
            },
            "Less": {"Type": "Pass", "Result": True, "End": True},
            "Default": {"Type": "Pass", "Result": False, "End": True},
        },
    }
    machine = states.create_state_machine(
        name=operator, definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/example"
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(values))["executionArn"]
    for _ in range(60):
        described = states.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            break
        time.sleep(0.5)
    return described.get("output")


seen = [
    less("NumericLessThanPath", [1, 2]),
    less("StringLessThanPath", ["a", "b"]),
    less("TimestampLessThanPath", ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
]
print("Software: MiniStack 1.5.33 (PyPI)")
print("Expected: true for the numbers, true for the strings, true for the timestamps")
print(f"Seen: {seen[0]} for the numbers, {seen[1]} for the strings, {seen[2]} for the timestamps")
sys.exit(seen != ["true", "false", "false"])
PYTHON
