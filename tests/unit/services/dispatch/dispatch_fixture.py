"""A dispatcher among fakes."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status
from webhooks.services.dispatch.messages import QueueMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from webhooks.services.dispatch.dispatcher import Dispatcher

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500, duration_ms=7, response_body="no")


class DispatchFixture(ServiceFixture):
    """A dispatcher among fakes."""

    def stored(self) -> list[Delivery]:
        return list(self.deliveries.deliveries.values())

    def only(self) -> Delivery:
        [delivery] = self.stored()
        return delivery


@dataclass
class TimedDispatchFixture(DispatchFixture):
    """A dispatcher with one thread, so that the time of its steps is the time that passes.

    A test sets the seconds of a step; every invocation has 60.
    """

    names: Iterator[int] = field(default_factory=itertools.count)

    def one_thread(self) -> Dispatcher:
        made = self.dispatcher
        for name in ("attempts", "senders", "followers"):
            getattr(made.threads, name).shutdown()
            setattr(made.threads, name, ThreadPoolExecutor(1))
        return made

    def slow(self, owner: Any, name: str, seconds: float) -> None:
        """Let a method take so many seconds of each invocation."""
        method: Callable[..., Any] = getattr(owner, name)

        def slowly(*args: Any) -> Any:
            self.remaining -= seconds
            return method(*args)

        setattr(owner, name, slowly)

    def messages(self, *texts: str) -> list[QueueMessage]:
        return [QueueMessage(f"m{next(self.names)}", text, self.now_ms) for text in texts]

    def invoke(self, messages: list[QueueMessage]) -> list[str]:
        """Handle a batch in its own invocation; returns the ids of the failed messages."""
        self.remaining = 60.0
        return self.dispatcher.dispatch(messages, lambda: self.remaining)

    def taken(self) -> list[QueueMessage]:
        """Take the messages off the queue, in the mapping's form."""
        sent, self.queue.sent = self.queue.sent, []
        return [
            QueueMessage(
                f"q{next(self.names)}",
                one.body,
                self.now_ms if one.arrived_at_ms is None else one.arrived_at_ms,
                group=one.group,
                tries=one.tries,
                suspicions=one.suspicions,
                delays=one.delays,
                paced=one.paced,
            )
            for one in sent
        ]


def event(number: int, **changes: Any) -> str:
    return samples.event_text(transaction_id=f"txn_{number}", **changes)


def assert_each_got_each_event_once(
    services: TimedDispatchFixture, webhooks: int, events: int
) -> None:
    sent = [(url, headers["webhook-id"]) for url, _, headers in services.sender.posts]
    assert len(sent) == len(set(sent)) == webhooks * events
    assert {one.status for one in services.stored()} == {Status.SUCCEEDED}
