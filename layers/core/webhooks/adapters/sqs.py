"""Queues on SQS."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.domain.errors import UnavailableError
from webhooks.domain.resending import ARRIVED_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from webhooks.domain.ingest import RejectedMessage
    from webhooks.domain.resending import Outgoing

MAX_BATCH_ENTRIES = 10
MAX_BATCH_BYTES = 1_048_576
"""Limits of one request ("SendMessageBatch" in its API reference). A single message may be as
large, its attributes included."""

_REFUSED = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""The characters that SQS refuses in any text ("SendMessage" in its API reference)."""

_TRIES = 3
_PAUSE_SECONDS = 0.1


class SQSEventQueue:
    """The events queue, written to in batches."""

    def __init__(
        self, client: SQSClient, queue_url: str, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._client = client
        self._queue_url = queue_url
        self._sleep = sleep

    def put(self, messages: Sequence[Outgoing]) -> Sequence[int]:
        """Send messages to the queue; returns the indexes of failed ones.

        After a call without a response, the rest are not tried: the SDK has tried three times by
        then, and a caller waits. A message that is too large for SQS is not sent.
        """
        sizes = [message.size_bytes for message in messages]
        too_large = [place for place, size in enumerate(sizes) if size > MAX_BATCH_BYTES]
        pending = [place for place in range(len(messages)) if place not in too_large]
        for attempt in range(1, _TRIES + 1):
            try:
                for batch in list(_batches(pending, sizes)):
                    sent = self._send(batch, messages)
                    pending = [place for place in pending if place not in sent]
            except UnavailableError:
                break
            if not pending or attempt == _TRIES:
                break
            self._sleep(_PAUSE_SECONDS * attempt)
        return sorted(pending + too_large)

    def _send(self, batch: Sequence[int], messages: Sequence[Outgoing]) -> set[int]:
        """Send one batch; returns the indexes of the accepted messages."""
        entries: list[Any] = [{"Id": str(place), **_entry(messages[place])} for place in batch]
        with unavailable_on_failure("publishing events"):
            answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return {int(entry["Id"]) for entry in answer.get("Successful", [])}


def _entry(message: Outgoing) -> dict[str, object]:
    entry: dict[str, object] = {"MessageBody": message.body}
    if message.group is not None:
        entry["MessageGroupId"] = message.group
    if message.delay_seconds:
        entry["DelaySeconds"] = message.delay_seconds
    attributes = message.attributes
    if attributes:
        entry["MessageAttributes"] = {name: _number(value) for name, value in attributes.items()}
    return entry


def _batches(places: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Divide messages of these sizes, in bytes, into batches within SQS's limits."""
    batch: list[int] = []
    size = 0
    for place in places:
        length = sizes[place]
        if batch and (len(batch) == MAX_BATCH_ENTRIES or size + length > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += length
    if batch:
        yield batch


class SQSReceivedMessages:
    """The events queue, from which messages are deleted before their batch is done."""

    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def delete(self, receipt_handles: Sequence[str]) -> None:
        """Delete messages, ten at most. Raises UnavailableError if any may be left."""
        entries: list[Any] = [
            {"Id": str(place), "ReceiptHandle": handle}
            for place, handle in enumerate(receipt_handles)
        ]
        with unavailable_on_failure("deleting messages"):
            answer = self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        if answer.get("Failed"):
            msg = f"deleting messages: {answer['Failed'][0].get('Code')}"
            raise UnavailableError(msg)


class SQSRejectedMessages:
    """The events dead-letter queue: each message as it came, the reason in its attributes."""

    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        """Send messages one at a time, since two may be too large for one batch.

        Returns the ids of failed ones.
        """
        return [message.message_id for message in messages if not self._put(message)]

    def _put(self, message: RejectedMessage) -> bool:
        # SQS refuses an empty body, and never delivers one either.
        body = _clean(message.body) or " "
        attributes = {
            "reason": _text(message.reason),
            "detail": _text(_clean(message.detail)),
            "message_id": _text(message.message_id),
        }
        if message.arrived_at_ms is not None:
            attributes[ARRIVED_AT] = _number(message.arrived_at_ms)
        size = len(body.encode()) + sum(
            len(name.encode() + one["DataType"].encode() + one["StringValue"].encode())
            for name, one in attributes.items()
        )
        if size > MAX_BATCH_BYTES:
            # The message has the maximum size: there is no room for the reason, which is logged.
            attributes = {}
        group: Any = {} if message.group is None else {"MessageGroupId": message.group}
        try:
            with unavailable_on_failure("rejecting a message"):
                self._client.send_message(
                    QueueUrl=self._queue_url,
                    MessageBody=body,
                    MessageAttributes=attributes,
                    **group,
                )
        except UnavailableError:
            return False
        return True


def _clean(text: str) -> str:
    """Return a text with JSON escapes for the characters that SQS refuses."""
    # Compiled (and cached by `re`) when the first message is rejected: it takes 6 ms.
    return re.sub(_REFUSED, lambda match: f"\\u{ord(match[0]):04x}", text)


def _text(value: str) -> MessageAttributeValueTypeDef:
    return {"DataType": "String", "StringValue": value}


def _number(value: int | str) -> MessageAttributeValueTypeDef:
    return {"DataType": "Number", "StringValue": str(value)}
