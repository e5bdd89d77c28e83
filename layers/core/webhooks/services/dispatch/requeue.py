"""Puts the unfinished work of a batch's messages back on the queue."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from webhooks.domain.errors import UnavailableError
from webhooks.domain.resending import Outgoing
from webhooks.domain.shard import MAX_QUEUED_BYTES, MOST_AT_ONCE, to_messages
from webhooks.services.concurrency import (
    SECONDS_FOR_ONE_ATTEMPT,
    SECONDS_FOR_ONE_CALL,
    NoTimeLeftError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence, Set
    from concurrent.futures import Executor, Future

    from webhooks.domain.shard import Part
    from webhooks.ports import EventQueue, Telemetry
    from webhooks.services.concurrency import Deadline
    from webhooks.services.dispatch.messages import QueueMessage

_MESSAGES_OF_A_REQUEST = 10
_MOST_REQUESTS_AT_ONCE = 8
_UNLIMITED = 1 << 62


class Requeue:
    """The work of one batch that goes back to the queue.

    It is on the queue before its messages are done. If such a message comes back after a crash, its
    deliveries are found by their ids, like those of any repeat. `threads` do nothing else: they
    never wait for attempts.
    """

    def __init__(
        self, queue: EventQueue, telemetry: Telemetry, deadline: Deadline, threads: Executor
    ) -> None:
        self._queue = queue
        self._telemetry = telemetry
        self._deadline = deadline
        self._threads = threads
        self._sending: list[tuple[Set[str], Future[None]]] = []

    def send_parts(
        self,
        source: QueueMessage,
        message_ids: Set[str],
        parts: Sequence[tuple[Part, int]],
        *,
        most_deliveries: int,
        delay_seconds: int = 0,
        delays: int = 0,
        paced: int = 0,
        metric: str | None = None,
    ) -> None:
        """Begin to send parts of one account, each with its number of deliveries.

        A message holds at most `most_deliveries`, or as many as its bytes allow once there is no
        time for attempts left. `metric` counts the messages. They have no suspicions, because the
        dispatcher of their source got this far. `delays` and `paced` say which limit held them back
        (see `QueueMessage`).
        """

        def most() -> int:
            seconds = self._deadline.remaining_seconds()
            return most_deliveries if seconds >= SECONDS_FOR_ONE_ATTEMPT else _UNLIMITED

        account_id = parts[0][0].event.account_id
        texts = (text for text, _ in to_messages(parts, most))
        at_once = -(-sum(number for _, number in parts) // MOST_AT_ONCE)
        like = empty_copy(source)._replace(
            group=account_id,
            delay_seconds=delay_seconds,
            suspicions=0,
            delays=delays,
            paced=paced,
        )
        self._begin(message_ids, (like._replace(body=text) for text in texts), metric, at_once)

    def send_texts(
        self, source: QueueMessage, texts: Sequence[str], group: str | None, delay_seconds: int
    ) -> None:
        """Begin to send a message's text, or documents of it, in the original form."""
        like = empty_copy(source)._replace(
            group=group, delay_seconds=delay_seconds, delays=source.delays, paced=source.paced
        )
        self._begin({source.id}, (like._replace(body=text) for text in texts))

    def put(self, messages: Iterable[Outgoing]) -> set[int]:
        """Put messages on the queue now; return the places of the messages that it took.

        After a refusal, or after the time for reads of one kind (see `Deadline.in_time`), the rest
        are not tried, because the batch's other messages wait for this.
        """
        put = self._deadline.in_time(self._queue.put)
        taken: set[int] = set()
        begin = 0
        for request in _requests(messages):
            try:
                refused = put(request)
            except NoTimeLeftError:
                break
            taken.update(begin + place for place in range(len(request)) if place not in refused)
            if refused:
                break
            begin += len(request)
        return taken

    def call(self, message_ids: Set[str], call: Callable[[], None]) -> None:
        """Begin another call of AWS that messages wait for, if there is time for it."""

        def call_in_time() -> None:
            self._check_time()
            call()

        self._sending.append((message_ids, self._threads.submit(call_in_time)))

    def finish(self) -> Iterable[tuple[Set[str], BaseException]]:
        """Wait for the queue; return the messages that it did not fully take, with the errors."""
        errors: dict[frozenset[str], BaseException] = {}
        for message_ids, sending in self._sending:
            error = sending.exception()
            if error is not None:
                errors.setdefault(frozenset(message_ids), error)
        return errors.items()

    def _begin(
        self,
        message_ids: Set[str],
        messages: Iterable[Outgoing],
        metric: str | None = None,
        at_once: int = 1,
    ) -> None:
        requests, lock = _requests(messages), Lock()
        for _ in range(min(at_once, _MOST_REQUESTS_AT_ONCE)):
            sending = self._threads.submit(self._put_all, requests, lock, metric)
            self._sending.append((message_ids, sending))

    def _put_all(self, requests: Iterator[list[Outgoing]], lock: Lock, metric: str | None) -> None:
        while True:
            # Made one by one: all requests of a large message would not fit in memory.
            with lock:
                request = next(requests, None)
            if request is None:
                return
            self._put(request, metric)

    def _put(self, request: Sequence[Outgoing], metric: str | None) -> None:
        self._check_time()
        refused = self._queue.put(request)
        if metric is not None:
            self._telemetry.count(metric, len(request) - len(refused))
        if refused:
            msg = "the events queue did not take every part of a message"
            raise UnavailableError(msg)

    def _check_time(self) -> None:
        if self._deadline.remaining_seconds() < SECONDS_FOR_ONE_CALL:
            msg = "no time left to send the unfinished work of a message"
            raise UnavailableError(msg)


def _requests(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Divide messages into requests, each as large as the queue takes."""
    request: list[Outgoing] = []
    size = 0
    for message in messages:
        full = len(request) == _MESSAGES_OF_A_REQUEST
        if request and (full or size + message.size_bytes > MAX_QUEUED_BYTES):
            yield request
            request, size = [], 0
        request.append(message)
        size += message.size_bytes
    yield request


def empty_copy(source: QueueMessage) -> Outgoing:
    """Return a message like another, with the same counts and times but without its body."""
    return Outgoing(
        "",
        source.group,
        arrived_at_ms=source.arrived_at_ms,
        tries=source.tries,
        suspicions=source.suspicions,
    )
