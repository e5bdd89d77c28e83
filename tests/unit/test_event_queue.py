"""The events queue on SQS: batches that SQS takes, and what happens to those it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from webhooks.adapters.sqs import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, SQSEventQueue

if TYPE_CHECKING:
    import pytest


class StubSqs:
    """SQS whose failures a test writes: for each call, the entries that fail, or an error."""

    def __init__(self, *failures: set[str] | Exception) -> None:
        self.failures = list(failures)
        self.batches: list[list[dict[str, str]]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: Any) -> dict[str, Any]:
        self.batches.append(Entries)
        failing = self.failures.pop(0) if self.failures else set()
        if isinstance(failing, Exception):
            raise failing
        ids = [entry["Id"] for entry in Entries]
        return {
            "Successful": [{"Id": each} for each in ids if each not in failing],
            "Failed": [{"Id": each, "Code": "InternalError"} for each in ids if each in failing],
        }

    @property
    def sent(self) -> list[list[str]]:
        return [[entry["MessageBody"] for entry in batch] for batch in self.batches]


def make_queue(sqs: Any) -> tuple[SQSEventQueue, list[float]]:
    pauses: list[float] = []
    return SQSEventQueue(sqs, "url", sleep=pauses.append), pauses


def throttled() -> ClientError:
    return ClientError({"Error": {"Code": "RequestThrottled"}}, "SendMessageBatch")


def test_only_the_entries_that_failed_are_sent_again() -> None:
    sqs = StubSqs({"1"}, {"1"})
    queue, pauses = make_queue(sqs)
    assert queue.put("acc_1", ["a", "b", "c"]) == []
    assert sqs.sent == [["a", "b", "c"], ["b"], ["b"]]
    assert len(pauses) == 2


def test_what_fails_three_times_is_told() -> None:
    sqs = StubSqs({"0", "2"}, {"0", "2"}, {"2"})
    queue, _ = make_queue(sqs)
    assert queue.put("acc_1", ["a", "b", "c"]) == [2]
    assert sqs.sent == [["a", "b", "c"], ["a", "c"], ["a", "c"]]


def test_a_queue_that_does_not_answer_is_not_asked_for_the_rest() -> None:
    sqs = StubSqs(set(), throttled())
    queue, _ = make_queue(sqs)
    assert queue.put("acc_1", [str(at) for at in range(35)]) == list(range(10, 35))
    assert len(sqs.batches) == 2


@given(
    st.lists(st.sampled_from([1, 1000, 150_000, 400_000, MAX_BATCH_BYTES]), min_size=1, max_size=40)
)
def test_every_batch_is_one_that_sqs_takes(sizes: list[int]) -> None:
    messages = ["x" * size for size in sizes]
    sqs = StubSqs()
    queue, _ = make_queue(sqs)
    assert queue.put("acc_1", messages) == []
    assert [message for batch in sqs.sent for message in batch] == messages
    for batch in sqs.sent:
        assert len(batch) <= MAX_BATCH_ENTRIES
        assert sum(map(len, batch)) <= MAX_BATCH_BYTES


def test_messages_arrive_in_their_accounts_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="events")["QueueUrl"]
        messages = [str(at) for at in range(12)]
        assert SQSEventQueue(sqs, url).put("acc_1", messages) == []
        received = [
            message
            for _ in "12"
            for message in sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            )["Messages"]
        ]
    assert sorted(message["Body"] for message in received) == sorted(messages)
    assert {message["Attributes"]["MessageGroupId"] for message in received} == {"acc_1"}
