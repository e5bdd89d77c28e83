"""SQS's own move of the events dead-letter queue: on ElasticMQ, and on a fake client.

moto has no such tasks. The fake follows AWS's API reference, failing tasks included.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from ops import moving
from ops.dead_letters import texts_of
from ops.moving import NotMovedError, move
from support.engines import ELASTICMQ, SQS_ENGINES, open_sqs, unique
from webhooks.domain.resending import ARRIVED_AT

if TYPE_CHECKING:
    from collections.abc import Iterator


class MovingSqs:
    """SQS on moto, with the move task as AWS's API reference describes it."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self._sqs = boto3.client("sqs", region_name="us-east-1")
        self.statuses = list(statuses)
        self.tasks: list[tuple[str, str]] = []
        self.dead, self.events = (
            self._sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("dead", "events")
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)

    def send(self, *, carries: bool) -> None:
        arrived: Any = {ARRIVED_AT: {"DataType": "Number", "StringValue": "1766313000000"}}
        self._sqs.send_message(
            QueueUrl=self.dead, MessageBody="one", MessageAttributes=arrived if carries else {}
        )

    def start_message_move_task(self, *, SourceArn: str, DestinationArn: str) -> dict[str, Any]:
        self.tasks.append((SourceArn.rpartition(":")[2], DestinationArn.rpartition(":")[2]))
        return {"TaskHandle": "task"}

    def list_message_move_tasks(self, *, SourceArn: str, MaxResults: int) -> dict[str, Any]:
        return {"Results": [self.statuses.pop(0)]}


RUNNING = {"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 0}
COMPLETED = {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 2}


@pytest.fixture
def sqs() -> Iterator[MovingSqs]:
    with mock_aws():
        yield MovingSqs(RUNNING, COMPLETED)


def moved(sqs: MovingSqs) -> int:
    return move(sqs, sqs.dead, sqs.events, lambda _: None, sleep=lambda _: None)


def test_events_that_all_carry_their_first_arrival_are_moved_to_the_events_queue(
    sqs: MovingSqs,
) -> None:
    sqs.send(carries=True)
    sqs.send(carries=True)
    assert moved(sqs) == 2
    # A destination is named: the dispatcher's own messages have no source to return to.
    assert sqs.tasks == [("dead", "events")]


def test_one_event_without_its_first_arrival_keeps_all_of_them_where_they_are(
    sqs: MovingSqs,
) -> None:
    sqs.send(carries=True)
    sqs.send(carries=False)
    with pytest.raises(NotMovedError, match="1 messages do not carry their first arrival"):
        moved(sqs)
    assert sqs.tasks == []
    answer = sqs.receive_message(QueueUrl=sqs.dead, MaxNumberOfMessages=10)
    assert len(answer["Messages"]) == 2


def test_events_that_another_reader_holds_are_not_moved(sqs: MovingSqs) -> None:
    sqs.send(carries=False)
    sqs.receive_message(QueueUrl=sqs.dead, VisibilityTimeout=60)
    with pytest.raises(NotMovedError, match="are invisible now"):
        moved(sqs)


def test_more_than_can_be_looked_at_together_are_not_moved(
    sqs: MovingSqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOST_TO_LOOK_AT", 1)
    sqs.send(carries=True)
    sqs.send(carries=True)
    with pytest.raises(NotMovedError, match="Leave out --move"):
        moved(sqs)


def test_a_failed_task_is_reported_with_its_reason(sqs: MovingSqs) -> None:
    sqs.statuses = [{"Status": "FAILED", "FailureReason": "AWS.SimpleQueueService.X"}]
    with pytest.raises(NotMovedError, match=r"ended with AWS\.SimpleQueueService\.X"):
        moved(sqs)


@pytest.mark.skipif(ELASTICMQ not in SQS_ENGINES, reason="ElasticMQ does not run here")
@pytest.mark.parametrize("engine", [ELASTICMQ])
def test_sqs_moves_each_message_with_its_group_and_its_attributes(engine: str) -> None:
    """The source is the dead-letter queue of another, as AWS demands it."""
    with open_sqs(engine) as sqs:
        dead = sqs.create_queue(QueueName=unique("dead"))["QueueUrl"]
        answer = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        policy: Any = {"deadLetterTargetArn": arn, "maxReceiveCount": "5"}
        events = sqs.create_queue(
            QueueName=unique("events"), Attributes={"RedrivePolicy": json.dumps(policy)}
        )["QueueUrl"]
        attributes: Any = {ARRIVED_AT: {"DataType": "Number", "StringValue": "1766313000000"}}
        for body in ("a", "b"):
            sqs.send_message(
                QueueUrl=dead, MessageBody=body, MessageAttributes=attributes, MessageGroupId="acc"
            )
        told: list[str] = []
        assert move(sqs, dead, events, told.append, sleep=lambda _: time.sleep(0.1)) == 2
        assert told[-1].startswith("2 of ")
        assert not sqs.receive_message(QueueUrl=dead).get("Messages")
        moved: Any = sqs.receive_message(
            QueueUrl=events,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )["Messages"]
    assert sorted(one["Body"] for one in moved) == ["a", "b"]
    assert {one["Attributes"]["MessageGroupId"] for one in moved} == {"acc"}
    assert [texts_of(one) for one in moved] == [{ARRIVED_AT: "1766313000000"}] * 2
