#!/usr/bin/env bash
# pyaslengine (PyPI) ignores the Result of a Pass state when it is empty, false or 0.
#
# Surprising: a Pass state with "Result": [] puts out its own input; "Result": ["a"] replaces the input.
# Matters: a state that sets "failed": [] or resets a counter hands the old value on instead, and the
#   loop that it should end goes on, only in the local run.
# Expected because: the Amazon States Language treats Result as the output of the state's virtual task,
#   whatever JSON value it is; only a state without Result passes its input through.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyaslengine==0.8.0

cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import sys

from pyaslengine.data import WorkflowInput
from pyaslengine.workflows import StateMachine

RESULTS = [["a"], [], {}, 0, False]


def run(result):
    with open("machine.json", "w") as file:
        json.dump({"StartAt": "Set", "States": {"Set": {"Type": "Pass", "Result": result, "End": True}}}, file)
    machine = StateMachine.load_definition_file("machine.json")
    return json.dumps(machine.run(workflow_input=WorkflowInput(data="the input")).data)


seen = [run(result) for result in RESULTS]
print("Software: pyaslengine 0.8.0 (PyPI)")
print(f"Expected: {', '.join(json.dumps(result) for result in RESULTS)}")
print(f"Seen: {', '.join(seen)}")
sys.exit(seen != ['["a"]'] + ['"the input"'] * 4)
PYTHON
