"""The event source mapping: Lambda's poller of a queue, with its batches and its failures."""

from __future__ import annotations

import base64
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.constants import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueOutputTypeDef, MessageTypeDef

    from local.functions import LocalFunction

_LOG = logging.getLogger(__name__)
_MAX_MESSAGES_A_RECEIVE = 10
_WAIT_SECONDS = 1
_PAUSE_AFTER_ERROR_SECONDS = 0.5
_KNOWN_PROPERTIES = {
    "BatchSize",
    "EventSourceArn",
    "FunctionName",
    "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds",
    "ScalingConfig",
}


@dataclass(frozen=True, slots=True)
class EventSource:
    """A queue, its function, and the settings of the template's event source mapping."""

    queue_url: str
    function: LocalFunction
    batch_size: int = 10
    batching_window_seconds: int = 0
    max_concurrency: int = 10
    reports_item_failures: bool = False

    @property
    def queue_arn(self) -> str:
        """The queue's ARN, which the function's records contain."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.queue_url.rsplit('/', 1)[1]}"

    @classmethod
    def from_properties(
        cls, properties: Mapping[str, Any], queue_url: str, function: LocalFunction
    ) -> EventSource:
        """Read the properties of an `AWS::Lambda::EventSourceMapping`, except its references.

        Raises ValueError for a property that works in AWS and would be ignored here.
        """
        unknown = set(properties) - _KNOWN_PROPERTIES
        if unknown:
            msg = f"the local stack does not know the mapping's {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        default = cls(queue_url, function)
        concurrency = properties.get("ScalingConfig", {}).get("MaximumConcurrency")
        return cls(
            queue_url,
            function,
            batch_size=int(properties.get("BatchSize", default.batch_size)),
            batching_window_seconds=int(properties.get("MaximumBatchingWindowInSeconds", 0)),
            max_concurrency=int(concurrency or default.max_concurrency),
            reports_item_failures="ReportBatchItemFailures"
            in properties.get("FunctionResponseTypes", []),
        )


class Poller:
    """Polls a queue and invokes the function with its messages, until it is stopped.

    A message is deleted after an invocation has processed it. All others come back when their
    visibility timeout ends, as with Lambda.
    """

    def __init__(self, source: EventSource, sqs: SQSClient) -> None:
        self._source = source
        self._sqs = sqs
        self._stopping = threading.Event()
        self._slots = threading.Semaphore(source.max_concurrency)
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling; invocations under way continue."""
        self._stopping.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the invocations under way to end, at most `timeout_seconds`."""
        deadline = time.monotonic() + timeout_seconds
        self._thread.join(max(0.0, timeout_seconds))
        for _ in range(self._source.max_concurrency):
            if not self._slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return

    def _poll(self) -> None:
        while not self._stopping.is_set():
            if not self._slots.acquire(timeout=_WAIT_SECONDS):
                continue
            try:
                messages = self._receive()
            except (BotoCoreError, ClientError):
                if not self._stopping.is_set():
                    _LOG.exception("cannot receive from %s", self._source.queue_url)
                    self._stopping.wait(_PAUSE_AFTER_ERROR_SECONDS)
                messages = []
            if messages and not self._stopping.is_set():
                threading.Thread(target=self._invoke, args=(messages,), daemon=True).start()
            else:
                self._slots.release()

    def _receive(self) -> list[MessageTypeDef]:
        """Return a batch: the messages there now, or all within the batching window."""
        deadline: float | None = None
        batch: list[MessageTypeDef] = []
        while not self._stopping.is_set():
            answer = self._sqs.receive_message(
                QueueUrl=self._source.queue_url,
                MaxNumberOfMessages=min(
                    _MAX_MESSAGES_A_RECEIVE, self._source.batch_size - len(batch)
                ),
                WaitTimeSeconds=_WAIT_SECONDS,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            batch += answer.get("Messages", [])
            if batch and deadline is None:
                deadline = time.monotonic() + self._source.batching_window_seconds
            if deadline is None or time.monotonic() >= deadline:
                break
            if len(batch) >= self._source.batch_size:
                break
        return batch

    def _invoke(self, messages: Sequence[MessageTypeDef]) -> None:
        try:
            records = [to_record(message, self._source.queue_arn) for message in messages]
            result = self._source.function.invoke({"Records": records})
            failed = (
                {message["MessageId"] for message in messages}
                if result.failed
                else self._failed_ids(result.payload, messages)
            )
            self._delete([m for m in messages if m["MessageId"] not in failed])
        except (BotoCoreError, ClientError):
            if not self._stopping.is_set():
                _LOG.exception("cannot delete from %s", self._source.queue_url)
        finally:
            self._slots.release()

    def _failed_ids(self, answer: Any, messages: Sequence[MessageTypeDef]) -> set[str]:
        return failed_ids(answer, messages) if self._source.reports_item_failures else set()

    def _delete(self, messages: Sequence[MessageTypeDef]) -> None:
        for start in range(0, len(messages), _MAX_MESSAGES_A_RECEIVE):
            self._sqs.delete_message_batch(
                QueueUrl=self._source.queue_url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                    for index, message in enumerate(
                        messages[start : start + _MAX_MESSAGES_A_RECEIVE]
                    )
                ],
            )


def failed_ids(answer: Any, messages: Sequence[MessageTypeDef]) -> set[str]:
    """Return the ids that a response with `batchItemFailures` reports.

    A response of another form, or with an unknown id, fails the whole batch; an empty response
    fails nothing (Lambda's guide, "Reporting batch item failures").
    """
    known = {message["MessageId"] for message in messages}
    if not answer:
        return set()
    try:
        failures = answer["batchItemFailures"] or []
        named = {failure["itemIdentifier"] for failure in failures}
    except (KeyError, TypeError):
        return known
    return named if named <= known else known


def to_record(message: MessageTypeDef, queue_arn: str) -> dict[str, Any]:
    """Return a message in the form in which Lambda passes it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _attribute(value: MessageAttributeValueOutputTypeDef) -> dict[str, Any]:
    record: dict[str, Any] = {
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    }
    if "StringValue" in value:
        record["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        record["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return record
