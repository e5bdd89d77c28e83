"""Publishes events over HTTP: checks them, then puts them on the queue that other producers use."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, cast

from webhooks.domain.errors import InvalidEventError, InvalidInputError, UnavailableError
from webhooks.domain.event import accept
from webhooks.domain.resending import Outgoing
from webhooks.domain.timestamps import to_ms
from webhooks.domain.webhook import subscribes
from webhooks.services.failures import log_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from webhooks.ports import EventQueue, Subscriptions, Telemetry
    from webhooks.services.rate_limits import RateLimits

MAX_EVENTS = 100
"""Events in one request (contract 2.2)."""

_READS_AT_ONCE = 4
"""Calls that count webhooks at once: a deployed function has one call at a time."""


class Published(NamedTuple):
    """The result of one document: the ids of the event that the queue took, or the error.

    `transaction_id` is None if it will be derived from the time at which SQS took the message. It
    is `shared` if another event of the same call, with another id, has it too: a receiver that
    deduplicates by it takes only one of them. `webhooks` counts the account's webhooks that are
    subscribed to the type, including disabled ones and webhooks that are down; None if they could
    not be counted.
    """

    event_id: str | None = None
    transaction_id: str | None = None
    error: InvalidEventError | UnavailableError | None = None
    shared: bool = False
    webhooks: int | None = None


class Publisher:
    """Checks documents (contract 2.4) and puts the events among them on the queue.

    `clock` gives Unix seconds. Without `rate_limits` an account may publish any number; without
    `subscriptions` no result counts its webhooks.
    """

    def __init__(
        self,
        queue: EventQueue,
        telemetry: Telemetry,
        *,
        rate_limits: RateLimits | None = None,
        clock: Callable[[], float] = time.time,
        subscriptions: Subscriptions | None = None,
    ) -> None:
        self._queue = queue
        self._telemetry = telemetry
        self._rate_limits = rate_limits
        self._clock = clock
        self._subscriptions = subscriptions
        self._threads = ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="count")

    def publish(self, account_id: str, documents: Sequence[object]) -> list[Published]:
        """Publish an account's documents, parsed by `payload.parse`; return a result for each.

        A document names this account, or none. It is checked here and queued with nothing added but
        its account: the values derived later are the same as for a producer that sends it to the
        queue itself. Raises InvalidInputError for no documents or too many at once. Raises
        TooManyEventsError if the account's limit of a minute has no room for all the events among
        them: then none is published.
        """
        if not 1 <= len(documents) <= MAX_EVENTS:
            raise InvalidInputError("body", f"Send 1 to {MAX_EVENTS} events.")
        now_ms = to_ms(self._clock())
        results = [_checked(document, account_id, now_ms) for document in documents]
        places = [place for place, result in enumerate(results) if result.error is None]
        if self._rate_limits is not None:
            self._rate_limits.publish(account_id, len(places))
        messages = [
            Outgoing(_message(documents[place], account_id), account_id) for place in places
        ]
        # In parallel with the queue's call, so that it adds no time.
        counting = self._threads.submit(self._read_subscriptions, account_id) if messages else None
        not_taken = self._queue.put(messages) if messages else ()
        for index in not_taken:
            results[places[index]] = Published(
                error=UnavailableError("the events queue did not take it")
            )
        if counting is not None and (found := counting.result()) is not None:
            types = {place: _type(documents[place]) for place in places}
            results = _with_webhooks(results, types, found)
        results = _with_shared(results)
        shared = sum(result.shared for result in results)
        if shared:
            self._telemetry.count("SharedTransactionIds", shared)
        self._telemetry.log(
            "info",
            "events_published",
            account_id=account_id,
            accepted=len(places) - len(not_taken),
            invalid=len(documents) - len(places),
            not_taken=len(not_taken),
        )
        return results

    def _read_subscriptions(self, account_id: str) -> Sequence[Sequence[str]] | None:
        """Return the subscriptions of the account's webhooks; None if they cannot be read.

        The events are accepted nevertheless.
        """
        if self._subscriptions is None:
            return None
        try:
            return self._subscriptions.subscriptions(account_id)
        except UnavailableError as error:
            log_failure(self._telemetry, "webhooks_not_counted", error, account_id=account_id)
            return None


def _with_webhooks(
    results: Sequence[Published], types: Mapping[int, str], found: Sequence[Sequence[str]]
) -> list[Published]:
    """Count the webhooks of each accepted event, whose type is in `types` by its place."""
    numbers = {each: sum(subscribes(one, each) for one in found) for each in set(types.values())}
    return [
        one if one.error else one._replace(webhooks=numbers[types[place]])
        for place, one in enumerate(results)
    ]


def _type(document: object) -> str:
    return str(_fields(document)["event"])


def _with_shared(results: list[Published]) -> list[Published]:
    """Mark accepted events whose transaction id another event has; a copy is not another event."""
    ids = {(one.transaction_id, one.event_id) for one in results if one.transaction_id is not None}
    times: Counter[str | None] = Counter(transaction_id for transaction_id, _ in ids)
    return [one._replace(shared=times[one.transaction_id] > 1) for one in results]


def _checked(document: object, account_id: str, now_ms: int) -> Published:
    try:
        event = accept(document, sent_at_ms=now_ms, account_id=account_id)
    except InvalidEventError as error:
        return Published(error=error)
    fields = _fields(document)
    if fields.get("timestamp") is None and fields.get("transaction_id") is None:
        return Published(event.id)
    return Published(event.id, event.transaction_id)


def _message(document: object, account_id: str) -> str:
    """Return the queue's message for a document that is an event.

    ASCII, since SQS refuses some characters that JSON may hold (U+FFFE, U+FFFF).
    """
    return json.dumps({**_fields(document), "account_id": account_id}, separators=(",", ":"))


def _fields(document: object) -> dict[str, object]:
    return cast("dict[str, object]", document)
