"""The adapters of the queues on every SQS: their messages as they arrive, and the refusals.

On moto, and on ElasticMQ where it runs (`make test-elasticmq`). The batches that they make are in
`test_event_queue`; the engines' own behaviour is in `test_what_queues_allow`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.engines import unique
from support.stack import eventually
from webhooks.adapters.sqs import (
    MAX_BATCH_BYTES,
    SQSEventQueue,
    SQSReceivedMessages,
    SQSRejectedMessages,
)
from webhooks.domain.errors import UnavailableError
from webhooks.domain.ingest import RejectedMessage
from webhooks.domain.resending import ARRIVED_AT, DELAYS, PACED, SUSPICIONS, TRIES, Outgoing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs import SQSClient

ARRIVED_MS = 1_766_313_000_000


class Queue:
    """A queue of a test's own, and both adapters that send to it."""

    def __init__(self, sqs: SQSClient, **attributes: str) -> None:
        self.sqs = sqs
        given: Any = attributes
        self.url = sqs.create_queue(QueueName=unique("queue"), Attributes=given)["QueueUrl"]
        self.events = SQSEventQueue(sqs, self.url)
        self.rejected = SQSRejectedMessages(sqs, self.url)

    @property
    def arn(self) -> str:
        return self.attribute("QueueArn")

    def attribute(self, name: Any) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return answer["Attributes"][name]

    def receive(self) -> list[Any]:
        answer: Any = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        return list(answer.get("Messages", []))

    def take(self) -> list[Any]:
        """Receive everything that can be received now, and delete it."""
        found: list[Any] = []
        while messages := self.receive():
            handles = [one["ReceiptHandle"] for one in messages]
            SQSReceivedMessages(self.sqs, self.url).delete(handles)
            found += messages
        return found


@pytest.fixture
def queue(sqs: SQSClient) -> Queue:
    return Queue(sqs)


def texts(message: Any) -> Mapping[str, str]:
    return {name: one["StringValue"] for name, one in message["MessageAttributes"].items()}


def test_messages_arrive_in_their_accounts_group(queue: Queue) -> None:
    messages = [str(at) for at in range(25)]
    assert queue.events.put([Outgoing(one, "acc_1") for one in messages]) == []
    received = queue.take()
    assert sorted(one["Body"] for one in received) == sorted(messages)
    assert {one["Attributes"]["MessageGroupId"] for one in received} == {"acc_1"}


def test_every_account_id_is_a_group(queue: Queue) -> None:
    account_id = "a.b_c:d@e-" + "f" * 54
    assert queue.events.put([Outgoing("{}", account_id)]) == []
    [received] = queue.take()
    assert received["Attributes"]["MessageGroupId"] == account_id


def test_a_message_carries_what_it_has_of_the_one_that_it_comes_of(queue: Queue) -> None:
    message = Outgoing("a", None, 0, ARRIVED_MS, tries=7, suspicions=2, delays=3, paced=1)
    assert queue.events.put([message]) == []
    [received] = queue.take()
    assert texts(received) == {
        ARRIVED_AT: str(ARRIVED_MS),
        TRIES: "7",
        SUSPICIONS: "2",
        DELAYS: "3",
        PACED: "1",
    }
    assert {one["DataType"] for one in received["MessageAttributes"].values()} == {"Number"}
    assert "MessageGroupId" not in received["Attributes"]


def test_a_message_that_is_sent_again_waits_with_its_group(queue: Queue) -> None:
    """A message of the same batch without a delay is there at once."""
    before_ms = int(time.time() * 1000)
    messages = [Outgoing("later", "acc_1", delay_seconds=1, tries=1), Outgoing("now", "acc_1")]
    assert queue.events.put(messages) == []
    assert [one["Body"] for one in queue.take()] == ["now"]
    assert queue.attribute("ApproximateNumberOfMessagesDelayed") == "1"
    assert queue.attribute("ApproximateNumberOfMessagesNotVisible") == "0"
    [later] = eventually(queue.take, "the delay is over", timeout=5.0)
    assert later["Attributes"]["MessageGroupId"] == "acc_1"
    assert texts(later) == {TRIES: "1"}
    # Its delay is no part of its time.
    assert before_ms <= int(later["Attributes"]["SentTimestamp"]) < before_ms + 1000


def test_messages_as_large_as_sqs_takes_arrive_whole(queue: Queue) -> None:
    sizes = [1, MAX_BATCH_BYTES, 300 * 1024, 300 * 1024, 300 * 1024, 300 * 1024]
    assert queue.events.put([Outgoing("x" * size, "acc_1") for size in sizes]) == []
    assert sorted(len(one["Body"]) for one in queue.take()) == sorted(sizes)


def test_a_message_that_is_too_large_is_named_and_the_others_arrive(queue: Queue) -> None:
    messages = [
        Outgoing("a", "acc_1"),
        Outgoing("x" * (MAX_BATCH_BYTES + 1), "acc_1"),
        Outgoing("é" * (MAX_BATCH_BYTES // 2), "acc_1", arrived_at_ms=ARRIVED_MS),
        Outgoing("b", "acc_1"),
    ]
    assert queue.events.put(messages) == [1, 2]
    assert sorted(one["Body"] for one in queue.take()) == ["a", "b"]


def test_a_queue_that_is_gone_takes_nothing(queue: Queue) -> None:
    queue.sqs.delete_queue(QueueUrl=queue.url)
    assert queue.events.put([Outgoing("a", "acc_1")]) == [0]
    assert queue.rejected.put([RejectedMessage("m0", "a", "not_json", "")]) == ["m0"]
    with pytest.raises(UnavailableError):
        SQSReceivedMessages(queue.sqs, queue.url).delete(["handle"])


def test_what_is_done_is_deleted_and_what_may_be_left_is_told(queue: Queue) -> None:
    queue.events.put([Outgoing("a", "acc_1"), Outgoing("b", "acc_1")])
    received = SQSReceivedMessages(queue.sqs, queue.url)
    received.delete([one["ReceiptHandle"] for one in queue.receive()])
    assert queue.attribute("ApproximateNumberOfMessagesNotVisible") == "0"
    assert queue.attribute("ApproximateNumberOfMessages") == "0"
    with pytest.raises(UnavailableError, match="ReceiptHandleIsInvalid"):
        received.delete(["unknown"])


def test_a_rejected_message_keeps_its_group_and_its_first_arrival(queue: Queue) -> None:
    rejects = [
        RejectedMessage("m0", "a", "gave_up", "for days", "acc_1", ARRIVED_MS),
        RejectedMessage("m1", "x" * (MAX_BATCH_BYTES - 10), "killed", "", None, 1),
    ]
    assert queue.rejected.put(rejects) == []
    received = {one["Body"][:1]: one for one in queue.take()}
    assert texts(received["a"]) == {
        "reason": "gave_up",
        "detail": "for days",
        "message_id": "m0",
        ARRIVED_AT: str(ARRIVED_MS),
    }
    assert received["a"]["Attributes"]["MessageGroupId"] == "acc_1"
    # No room for any.
    assert "MessageAttributes" not in received["x"]


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ("", " "),
        ("a\x00b", r"a\u0000b"),
        ("\ud800", r"\ud800"),
        ("\ufffe\uffff\x1f", r"\ufffe\uffff\u001f"),
        ("\t\r\n \x7f\u0085\ud7ff\ue000\ufffd\U0001f600", "\t\r\n \x7f\u0085\ud7ff\ue000\ufffd😀"),
        ("é" * (MAX_BATCH_BYTES // 2), "é" * (MAX_BATCH_BYTES // 2)),
    ],
    ids=["nothing", "NUL", "a lone surrogate", "no characters", "what SQS takes", "the largest"],
)
def test_any_body_can_be_rejected(queue: Queue, came: str, kept: str) -> None:
    rejected = RejectedMessage("m", came, "not_json", f"body: {came[:20]}")
    assert queue.rejected.put([rejected]) == []
    [received] = queue.take()
    assert received["Body"] == kept


def test_what_is_received_too_often_lies_in_the_dead_letter_queue_as_it_was_sent(
    sqs: SQSClient,
) -> None:
    """SQS moves it by itself: with its group, its attributes and its sending time."""
    dead = Queue(sqs)
    policy = {"deadLetterTargetArn": dead.arn, "maxReceiveCount": "2"}
    queue = Queue(sqs, VisibilityTimeout="0", RedrivePolicy=json.dumps(policy))
    queue.events.put([Outgoing("a", "acc_1", arrived_at_ms=ARRIVED_MS, tries=3)])
    times = []
    for count in ("1", "2"):
        [received] = eventually(queue.receive, "it is received again", timeout=5.0)
        assert received["Attributes"]["ApproximateReceiveCount"] == count
        times.append(received["Attributes"]["SentTimestamp"])
    assert eventually(lambda: not queue.receive(), "it is received no more", timeout=5.0)
    [moved] = dead.take()
    assert moved["Body"] == "a"
    assert moved["Attributes"]["MessageGroupId"] == "acc_1"
    assert texts(moved) == {ARRIVED_AT: str(ARRIVED_MS), TRIES: "3"}
    assert {*times} == {moved["Attributes"]["SentTimestamp"]}
