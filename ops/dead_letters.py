"""The messages of a dead-letter queue: each one once, in batches, in several threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.domain.timestamps import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

THREADS = 16
"""Batches in parallel. At 10 ms per request they redrive over 300 deliveries per second, each with
a read, a write and a start. Events, ten to a request, are several times as fast.
"""

BATCH = 10
"""SQS's limit of messages in one request."""

_VISIBILITY_SECONDS = 120
_WAIT_SECONDS = 1
_ANSWERS_WITH_NOTHING_NEW = 20
_TRIES = 3
_SECONDS_BETWEEN_WORDS = 1.0


class OutcomeCounts:
    """Counts of the messages' outcomes, reported now and then; safe to use from threads.

    `tell` reports them, `clock` gives seconds.
    """

    def __init__(
        self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell
        self._clock = clock
        self._began = self._told = clock()
        self._lock = threading.Lock()

    def add(self, outcomes: Iterable[str]) -> None:
        """Count the outcomes of some messages."""
        with self._lock:
            self.counts.update(outcomes)
            now = self._clock()
            if now - self._told >= _SECONDS_BETWEEN_WORDS:
                self._told = now
                self._tell(self._text(now))

    def end(self) -> Counter[str]:
        """Report the final counts and return them."""
        with self._lock:
            self._tell(self._text(self._clock()))
            return self.counts

    def _text(self, now: float) -> str:
        total = self.counts.total()
        rate = total / max(now - self._began, 1.0)
        parts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        return f"{total:,} messages, {rate:,.0f} per second: {parts or 'none'}"


class DeadLetters:
    """The messages of one queue, for one pass over them.

    Messages that arrive after the start are left: a redriven message may fail again at once, and
    the pass would never end.
    """

    def __init__(self, sqs: Any, queue_url: str, threads: int = THREADS) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._threads = threads
        self._began_ms = to_ms(time.time())
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._held: dict[str, str] = {}
        self._nothing_new = 0

    def each_batch(self, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        """Pass each message to `work` once, in batches of at most ten, from several threads.

        `work` returns the finished messages, and only those are deleted. All others become visible
        in the queue again when this method ends, also when `work` raises an error.
        """
        try:
            with ThreadPoolExecutor(self._threads) as threads:
                running = [threads.submit(self._until_empty, work) for _ in range(self._threads)]
                try:
                    for one in running:
                        one.result()
                finally:
                    # Also if this thread is interrupted.
                    self._stopping.set()
        finally:
            self._release()

    def _until_empty(self, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        try:
            # A long run receives messages again that it left at its beginning: that is not the end.
            while not self._stopping.is_set() and self._nothing_new < _ANSWERS_WITH_NOTHING_NEW:
                messages = self._receive()
                if not messages:
                    return
                fresh = self._fresh(messages)
                if fresh:
                    self._delete(work(fresh))
        except BaseException:
            self._stopping.set()
            raise

    def _receive(self) -> Sequence[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=_VISIBILITY_SECONDS,
            WaitTimeSeconds=_WAIT_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        messages: Sequence[Any] = answer.get("Messages", [])
        return messages

    def _fresh(self, messages: Sequence[Any]) -> list[Any]:
        """Return the messages not received before that were in the queue at the beginning."""
        with self._lock:
            fresh = [one for one in messages if one["MessageId"] not in self._held]
            # Only the handle of the latest receive is valid.
            self._held |= {one["MessageId"]: one["ReceiptHandle"] for one in messages}
            self._nothing_new = 0 if fresh else self._nothing_new + 1
        return [one for one in fresh if int(one["Attributes"]["SentTimestamp"]) <= self._began_ms]

    def _delete(self, messages: Sequence[Any]) -> None:
        left = {str(place): one for place, one in enumerate(messages)}
        for _ in range(_TRIES):
            if not left:
                break
            entries = [
                {"Id": place, "ReceiptHandle": one["ReceiptHandle"]} for place, one in left.items()
            ]
            answer = self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
            failed = {entry["Id"] for entry in answer.get("Failed", [])}
            left = {place: one for place, one in left.items() if place in failed}
        # A message that could not be deleted is finished too. If redriven again, it is the same
        # event.
        with self._lock:
            for one in messages:
                self._held.pop(one["MessageId"], None)

    def _release(self) -> None:
        """Make the remaining messages visible in the queue at once."""
        handles = list(self._held.values())
        batches = [handles[start : start + BATCH] for start in range(0, len(handles), BATCH)]
        with ThreadPoolExecutor(self._threads) as threads:
            list(threads.map(self._show, batches))

    def _show(self, handles: Sequence[str]) -> None:
        entries = [
            {"Id": str(place), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for place, handle in enumerate(handles)
        ]
        try:
            self._sqs.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)
        except ClientError:
            # The messages become visible anyway when their visibility timeout ends.
            return


def texts_of(message: Any) -> dict[str, str]:
    """Return a message's attributes as texts, numbers included."""
    return {
        name: value.get("StringValue", "")
        for name, value in message.get("MessageAttributes", {}).items()
    }


def group_of(message: Any) -> str | None:
    """Return a message's group for fair queueing; None if it has none."""
    group: str | None = message.get("Attributes", {}).get("MessageGroupId")
    return group
