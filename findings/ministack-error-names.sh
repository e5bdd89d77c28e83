#!/usr/bin/env bash
# MiniStack names every error of a Python function `Runtime.HandlerError`, so no Catch finds its class.
#
# Surprising: a state machine whose Catch takes the class of an exception that its function raises goes on
#   as if it were another error. Functions in a runtime of their own (provided.al2023) keep the name.
# Matters: a machine that retries what is its own side's fault for hours, and takes any other error for a
#   bug, ends in the wrong way in the local run; tests of both ways pass, by the rule for all errors.
# Expected because: Lambda's guide says that the errorType of a Python function is the exception's class,
#   Step Functions' guide to error handling that it is the error's name, and MiniStack's own code says so too.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ministack==1.5.33 boto3==1.43.106
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cd "$folder"
TMPDIR=$folder BIND_HOST=127.0.0.1 GATEWAY_PORT=$port LAMBDA_EXECUTOR=local venv/bin/ministack >log 2>&1 &
server=$!

venv/bin/python - "$port" <<'PYTHON'
import io
import json
import socket
import sys
import time
import zipfile

import boto3

for _ in range(60):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        break
    except OSError:
        time.sleep(1)


def client(service):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


code = io.BytesIO()
with zipfile.ZipFile(code, "w") as archive:
    archive.writestr(
        "app.py",
        "class Busy(Exception):\n    pass\n\n\ndef handler(event, context):\n    raise Busy('try again')\n",
    )
function = client("lambda").create_function(
    FunctionName="busy",
    Runtime="python3.13",
    Handler="app.handler",
    Role="arn:aws:iam::000000000000:role/example",
    Code={"ZipFile": code.getvalue()},
)["FunctionArn"]
definition = {
    "StartAt": "Call",
    "States": {
        "Call": {
            "Type": "Task",
            "Resource": function,
            "Catch": [
                {"ErrorEquals": ["Busy"], "Next": "Busy"},
                {"ErrorEquals": ["States.ALL"], "Next": "Other"},
            ],
            "End": True,
        },
        "Busy": {"Type": "Pass", "Result": "Busy", "End": True},
        "Other": {"Type": "Pass", "InputPath": "$.Error", "End": True},
    },
}
states = client("stepfunctions")
machine = states.create_state_machine(
    name="machine", definition=json.dumps(definition), roleArn="arn:aws:iam::000000000000:role/example"
)["stateMachineArn"]
execution = states.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
for _ in range(120):
    described = states.describe_execution(executionArn=execution)
    if described["status"] != "RUNNING":
        break
    time.sleep(0.5)
seen = json.loads(described.get("output", "null"))
print("Software: MiniStack 1.5.33 (PyPI)")
print("Expected: the Catch for Busy takes an exception of the class Busy")
print(f"Seen: the error's name is {seen}")
sys.exit(seen != "Runtime.HandlerError")
PYTHON
