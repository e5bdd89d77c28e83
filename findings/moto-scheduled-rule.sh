#!/usr/bin/env bash
# moto delivers every event of an EventBridge bus to the targets of a scheduled rule.
#
# Surprising: a rule that has a schedule and no event pattern counts as a rule that matches everything.
# Matters: a stack with a daily sweep and a bus of its own events, tested on moto, runs the sweep at
#   every event; a test that waits for one message finds two.
# Expected because: EventBridge's guide has two kinds of rules: one matches event patterns, the other
#   runs on a schedule. A rule without a pattern matches no event.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[events,sqs]==5.2.5'

"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys

import boto3
from moto import mock_aws

with mock_aws():
    keys = {"region_name": "eu-west-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    events, sqs = boto3.client("events", **keys), boto3.client("sqs", **keys)
    queue = sqs.create_queue(QueueName="sweeps")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="sweep", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="sweep", Targets=[{"Id": "sweeps", "Arn": attributes["QueueArn"]}])
    entry = {"Source": "shop.orders", "DetailType": "order placed", "Detail": "{}"}
    events.put_events(Entries=[entry])
    messages = sqs.receive_message(QueueUrl=queue).get("Messages", [])

seen = [json.loads(message["Body"])["detail-type"] for message in messages]
print("Software: moto 5.2.5 (PyPI)")
print("Expected: an event that somebody puts on the bus does not start the daily rule: []")
print(f"Seen: the rule's target got {seen}")
sys.exit(seen != ["order placed"])
PYTHON
