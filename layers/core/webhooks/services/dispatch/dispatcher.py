"""A batch of event messages in three steps: read, deliver, record.

The order holds through a crash: attempt, record, schedule, and only then is the message done. Only
a crash between the attempt and its record sends the same delivery twice, with the same id and
bytes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from webhooks.services.concurrency import Deadline
from webhooks.services.dispatch.batch import Batch, Threads
from webhooks.services.dispatch.deliver import DeliverStep
from webhooks.services.dispatch.match import Matcher
from webhooks.services.dispatch.read import ReadStep
from webhooks.services.dispatch.record import RecordStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from webhooks.domain.ses import AccountChooser
    from webhooks.ports import (
        DeliveryStore,
        DestinationStore,
        EventQueue,
        RejectedMessages,
        Telemetry,
    )
    from webhooks.services.deliverer import Deliverer
    from webhooks.services.dispatch.event_limits import EventLimits
    from webhooks.services.dispatch.messages import QueueMessage
    from webhooks.services.health import WebhookHealthService
    from webhooks.services.host_limits import HostLimits
    from webhooks.services.pauses import Pauses
    from webhooks.services.retries import Retries

_SENDING_THREADS = 8
"""Concurrent requests to the events queue, and as many concurrent reports and retries."""


class Dispatcher:
    """Handles batches of messages; kept between invocations, with its threads.

    Attempts up to `max_threads` deliveries at once. `clock` gives Unix seconds. Without
    `event_limits` or `host_limits` that limit does not exist. `ses_headers` are the names of the
    email headers that go into the events of SES records.
    """

    def __init__(
        self,
        *,
        destinations: DestinationStore,
        deliveries: DeliveryStore,
        deliverer: Deliverer,
        health: WebhookHealthService,
        pauses: Pauses,
        retries: Retries,
        queue: EventQueue,
        rejected: RejectedMessages,
        telemetry: Telemetry,
        ses_accounts: AccountChooser,
        clock: Callable[[], float],
        max_threads: int,
        ses_headers: Sequence[str] = (),
        event_limits: EventLimits | None = None,
        host_limits: HostLimits | None = None,
    ) -> None:
        self._queue = queue
        self._rejected = rejected
        self._telemetry = telemetry
        self._host_limits = host_limits if host_limits and host_limits.rate else None
        self.threads = Threads(
            ThreadPoolExecutor(max_threads, thread_name_prefix="deliver"),
            ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="requeue"),
            ThreadPoolExecutor(_SENDING_THREADS, thread_name_prefix="follow"),
        )
        self.read_step = ReadStep(
            deliveries=deliveries,
            telemetry=telemetry,
            ses_accounts=ses_accounts,
            ses_headers=ses_headers,
            clock=clock,
            event_limits=event_limits,
        )
        self._matcher = Matcher(
            destinations=destinations,
            deliveries=deliveries,
            telemetry=telemetry,
            clock=clock,
        )
        self._record = RecordStep(
            deliveries=deliveries,
            health=health,
            retries=retries,
            telemetry=telemetry,
        )
        self._deliver = DeliverStep(
            deliverer=deliverer,
            health=health,
            pauses=pauses,
            record=self._record,
        )

    def dispatch(
        self, messages: Sequence[QueueMessage], remaining_seconds: Callable[[], float]
    ) -> list[str]:
        """Handle a batch; return the ids of the messages to be received again.

        These failed through a fault on our own side, never through a receiver. Work that does not
        fit into `remaining_seconds` goes back to the queue on its own.
        """
        batch = Batch(
            messages,
            Deadline(remaining_seconds),
            self._queue,
            self._rejected,
            self._telemetry,
            self.threads,
        )
        events = self.read_step.read(batch)
        tasks = self._matcher.tasks(events, batch)
        if self._host_limits is not None:
            tasks = self._host_limits.admitted(tasks, batch)
        attempts = self._deliver.begin(tasks, batch)
        self._record.record(attempts, batch)
        return batch.finish()
