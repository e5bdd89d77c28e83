"""The events queue on SQS: batches that SQS accepts, and the handling of its refusals."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from webhooks.adapters.sqs import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES, SQSEventQueue
from webhooks.domain.resending import ARRIVED_AT, Outgoing


class StubSqs:
    """SQS with a test's failures: for each call, the entries that fail, or an error."""

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


def outgoing(*bodies: str) -> list[Outgoing]:
    return [Outgoing(body, "acc_1") for body in bodies]


def throttled() -> ClientError:
    return ClientError({"Error": {"Code": "RequestThrottled"}}, "SendMessageBatch")


def test_only_the_entries_that_failed_are_sent_again() -> None:
    sqs = StubSqs({"1"}, {"1"})
    queue, pauses = make_queue(sqs)
    assert queue.put(outgoing("a", "b", "c")) == []
    assert sqs.sent == [["a", "b", "c"], ["b"], ["b"]]
    assert len(pauses) == 2


def test_what_fails_three_times_is_told() -> None:
    sqs = StubSqs({"0", "2"}, {"0", "2"}, {"2"})
    queue, _ = make_queue(sqs)
    assert queue.put(outgoing("a", "b", "c")) == [2]
    assert sqs.sent == [["a", "b", "c"], ["a", "c"], ["a", "c"]]


def test_a_queue_that_does_not_answer_is_not_asked_for_the_rest() -> None:
    sqs = StubSqs(set(), throttled())
    queue, _ = make_queue(sqs)
    assert queue.put(outgoing(*map(str, range(35)))) == list(range(10, 35))
    assert len(sqs.batches) == 2


@given(
    st.lists(st.sampled_from([1, 1000, 150_000, 400_000, MAX_BATCH_BYTES]), min_size=1, max_size=40)
)
def test_every_batch_is_one_that_sqs_takes(sizes: list[int]) -> None:
    messages = ["x" * size for size in sizes]
    sqs = StubSqs()
    queue, _ = make_queue(sqs)
    assert queue.put(outgoing(*messages)) == []
    assert [message for batch in sqs.sent for message in batch] == messages
    for batch in sqs.sent:
        assert len(batch) <= MAX_BATCH_ENTRIES
        assert sum(map(len, batch)) <= MAX_BATCH_BYTES


def test_a_delayed_message_waits_on_the_queue_and_a_plain_one_has_no_attributes() -> None:
    sqs = StubSqs()
    queue, _ = make_queue(sqs)
    assert queue.put([Outgoing("a", "acc_1", delay_seconds=900), Outgoing("b", "acc_1")]) == []
    assert sqs.batches == [
        [
            {"Id": "0", "MessageBody": "a", "MessageGroupId": "acc_1", "DelaySeconds": 900},
            {"Id": "1", "MessageBody": "b", "MessageGroupId": "acc_1"},
        ]
    ]


def test_attributes_count_towards_a_batch_and_a_message_past_it_is_not_sent() -> None:
    largest = "x" * (MAX_BATCH_BYTES - len(ARRIVED_AT + "Number" + "1766313000000"))
    sqs = StubSqs()
    queue, _ = make_queue(sqs)
    messages = [
        Outgoing(body, "acc_1", arrived_at_ms=1_766_313_000_000)
        for body in ("a", largest, largest + "x", "é" * (MAX_BATCH_BYTES // 2), "b")
    ]
    assert queue.put(messages) == [2, 3]
    assert sqs.sent == [["a"], [largest], ["b"]]
