"""Operational events in their form at a rule of EventBridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from support import samples
from webhooks.adapters.eventbridge import EventBridgeOperationalEvents
from webhooks.domain.errors import UnavailableError
from webhooks.domain.operational_event import OperationalEvent, OperationalEventType

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "us-east-1"
DOWN = OperationalEvent(
    OperationalEventType.WEBHOOK_DOWN,
    "acc_1",
    samples.WEBHOOK_ID,
    samples.NOW_MS,
    {"failing_since": "2025-12-21T10:29:00.000Z", "failures": 10},
)


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield


class Answering:
    """An EventBridge that answers in one way."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self._answer = answer

    def put_events(self, **_: Any) -> dict[str, Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def routed(pattern: dict[str, Any], *published: OperationalEvent) -> list[dict[str, Any]]:
    """Publish events, and return the messages of a rule with this pattern."""
    sqs = boto3.client("sqs", region_name=REGION)
    events = boto3.client("events", region_name=REGION)
    url = sqs.create_queue(QueueName="told")["QueueUrl"]
    [arn] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
        "Attributes"
    ].values()
    events.put_rule(Name="told", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="told", Targets=[{"Id": "queue", "Arn": arn}])
    operational_events = EventBridgeOperationalEvents(events, "my-stack")
    for event in published:
        operational_events.publish(event)
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_an_operational_event_reaches_a_rule_for_the_stack() -> None:
    [event] = routed({"source": ["sendcomms.webhooks"], "detail": {"stack": ["my-stack"]}}, DOWN)
    assert event["detail-type"] == "webhook.down"
    assert event["detail"] == {
        "version": 1,
        "stack": "my-stack",
        "type": "webhook.down",
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "at": "2025-12-21T10:30:00.000Z",
        "failing_since": "2025-12-21T10:29:00.000Z",
        "failures": 10,
    }


def test_a_rule_can_take_one_type_alone() -> None:
    disabled = OperationalEvent(OperationalEventType.WEBHOOK_DISABLED, "acc_1", "w", samples.NOW_MS)
    told = routed({"detail-type": ["webhook.disabled"]}, DOWN, disabled)
    assert [event["detail"]["type"] for event in told] == ["webhook.disabled"]


@pytest.mark.parametrize(
    "answer",
    [
        {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]},
        ClientError({"Error": {"Code": "ThrottlingException"}}, "PutEvents"),
    ],
)
def test_an_operational_event_that_is_not_taken_is_our_own_failure(
    answer: dict[str, Any] | Exception,
) -> None:
    with pytest.raises(UnavailableError):
        EventBridgeOperationalEvents(Answering(answer), "my-stack").publish(DOWN)


def test_of_several_events_those_that_are_not_taken_are_named() -> None:
    entries = [{"EventId": "1"}, {"ErrorCode": "ThrottlingException"}, {"EventId": "2"}]
    bus = EventBridgeOperationalEvents(
        Answering({"FailedEntryCount": 1, "Entries": entries}), "my-stack"
    )
    assert bus.publish_all([DOWN] * 3) == [1]


def test_several_events_reach_a_rule_in_one_request() -> None:
    recovered = OperationalEvent(
        OperationalEventType.WEBHOOK_RECOVERED, "acc_1", "w", samples.NOW_MS
    )
    sqs = boto3.client("sqs", region_name=REGION)
    assert [one["detail-type"] for one in routed({"source": ["sendcomms.webhooks"]}, DOWN)] == [
        "webhook.down"
    ]
    events = boto3.client("events", region_name=REGION)
    assert EventBridgeOperationalEvents(events, "my-stack").publish_all([DOWN, recovered]) == []
    url = sqs.get_queue_url(QueueName="told")["QueueUrl"]
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    types = [json.loads(message["Body"])["detail-type"] for message in answer["Messages"]]
    assert types == ["webhook.down", "webhook.recovered"]
