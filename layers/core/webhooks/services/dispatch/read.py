"""The read step: the messages of a batch become the events to deliver now."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from webhooks.domain.errors import InvalidEventError, UnavailableError
from webhooks.domain.ingest import read_message
from webhooks.domain.ses_kinds import NO_COMPLAINTS
from webhooks.domain.shard import ALL
from webhooks.services.concurrency import SECONDS_FOR_ONE_READ
from webhooks.services.dispatch.fair_queueing import FairQueueing
from webhooks.services.dispatch.first_times import FirstTimes
from webhooks.services.dispatch.messages import ReceivedEvent
from webhooks.services.dispatch.rejecting import refused, rejected_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.ingest import RejectedMessage
    from webhooks.domain.ses import AccountChooser
    from webhooks.domain.shard import Part, Shard
    from webhooks.ports import DeliveryStore, Telemetry
    from webhooks.services.dispatch.batch import Batch
    from webhooks.services.dispatch.event_limits import EventLimits
    from webhooks.services.dispatch.messages import QueueMessage


class ReadStep:
    """Reads batches; kept between invocations, with the counts of its limits.

    `ses_headers` are the names of the email headers that go into the events of SES records. `clock`
    gives Unix seconds. Without `event_limits` an account may have any number of events.
    """

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        telemetry: Telemetry,
        ses_accounts: AccountChooser,
        ses_headers: Sequence[str],
        clock: Callable[[], float],
        event_limits: EventLimits | None,
    ) -> None:
        self._telemetry = telemetry
        self._parse = partial(read_message, ses_accounts=ses_accounts, ses_headers=ses_headers)
        self._first_times = FirstTimes(deliveries, self._parse, clock)
        self._event_limits = event_limits if event_limits and event_limits.limit else None
        self._fair_queueing = FairQueueing(telemetry=telemetry, clock=clock)

    def read(self, batch: Batch) -> list[ReceivedEvent]:
        """Return the events to deliver now.

        The others are back on the queue: there was no time for them, a limit delays them, or they
        are in their account's group now. Unreadable messages are dead-lettered with their reason,
        while the others are delivered.
        """
        rejected: list[RejectedMessage] = []
        events: list[ReceivedEvent] = []
        for message in batch.messages:
            # The account of an SES record may be read from a table.
            if batch.deadline.remaining_seconds() < SECONDS_FOR_ONE_READ:
                batch.leftovers.add_texts(message, [message.body], message.group)
                continue
            try:
                events += self._events_of(message, rejected)
            except InvalidEventError as error:
                rejected.append(rejected_message(message, error))
            except UnavailableError as error:
                batch.fail([message.id], error)
            self._telemetry.annotate("message_ids", message.id)
        for event_id in dict.fromkeys(received.event.id for received in events):
            self._telemetry.annotate("event_ids", event_id)
        if not all(received.event.id_fixes_time for received in events):
            events = self._first_times.settle(events, rejected, batch)
        if rejected:
            batch.reject(rejected)
        if self._event_limits is not None:
            events = self._event_limits.admitted(events, batch)
        return self._fair_queueing.ungrouped(events, batch)

    def _events_of(
        self, message: QueueMessage, rejected: list[RejectedMessage]
    ) -> list[ReceivedEvent]:
        parsed = self._parse(message.body, sent_at_ms=message.arrived_at_ms)
        for name in parsed.ignored_types:
            self._telemetry.count("IgnoredEvents")
            if name in NO_COMPLAINTS:
                self._telemetry.count("Ignored" + name.title().replace("-", ""))
        if parsed.refusals:
            rejected += refused(message, parsed)
        if parsed.parts:
            return [
                ReceivedEvent(
                    message,
                    part.event,
                    part.arrived_at_ms,
                    _shard(part),
                    part.webhook_ids,
                    admitted=not message.delays,
                )
                for part in parsed.parts
            ]
        return [
            ReceivedEvent(message, event, message.arrived_at_ms, place=place)
            for event, place in zip(parsed.events, parsed.places, strict=True)
        ]


def _shard(part: Part) -> Shard | None:
    """Return the shard to query, None for the whole account."""
    return None if part.shard == ALL else part.shard
