"""The long form: each condition set of the template makes a stack that delivers."""

from __future__ import annotations

import json
from uuid import uuid4

import boto3
import pytest

from e2e.test_ses import ses_record
from ministack.conftest import new_account
from ministack.engine import STACK, Engine
from support.receiver import Receiver

SECONDS = 60
TOPIC = "arn:aws:sns:us-east-1:123456789012:operations"

CONDITIONS = {
    "tracing": {"Tracing": "true"},
    "former-names-and-tracing": {"FormerNames": "true", "Tracing": "true"},
    "ses": {"ConnectSes": "true"},
    "alarms-and-a-topic": {
        "AlarmEmail": "operations@example.com",
        "OperationalEventsTopicArn": TOPIC,
    },
    "topic-and-no-dashboard": {"MetricsDashboard": "false", "OperationalEventsTopicArn": TOPIC},
    "x86": {"Architecture": "x86_64", "DocsPage": "false"},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CONDITIONS)
def test_a_new_stack_delivers(name: str) -> None:
    with Engine() as engine, Receiver() as receiver:
        boto3.client("sns").create_topic(Name=TOPIC.rpartition(":")[2])
        engine.deploy(**CONDITIONS[name])
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        account = new_account(engine)
        account.register(receiver.url)
        account.publish()
        account.stack.events.send(json.dumps(ses_record("delivery", account.id, uuid4().hex)))
        receiver.wait_for(2, SECONDS)
        assert engine.denied == []
