"""Retries while Step Functions does not respond: each start takes a call's nine seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from support import samples
from unit.services.dispatch.dispatch_fixture import REFUSED, DispatchFixture, TimedDispatchFixture
from webhooks.domain.delivery import Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.services.concurrency import SECONDS_FOR_ONE_CALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from webhooks.domain.delivery import Delivery, DeliveryKey


class HungStartFixture(TimedDispatchFixture):
    """Step Functions responds to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.scheduler.start = self.start  # type: ignore[method-assign]
        self.sender.answer = lambda *_: REFUSED
        self.one_thread()

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        """Take a call's time, and fail."""
        self.begun += 1
        self.remaining -= SECONDS_FOR_ONE_CALL
        raise UnavailableError(f"starting {delivery.id} in {delay_seconds} seconds")


def test_what_there_is_no_time_to_start_is_the_sweeps() -> None:
    services = HungStartFixture()
    services.add(*range(1, 31))
    assert services.invoke(services.messages(samples.event_text())) == []
    assert services.begun == 5
    assert services.remaining >= SECONDS_FOR_ONE_CALL
    assert len(services.stored()) == 30
    assert all(one.unstarted and one.status is Status.RETRYING for one in services.stored())
    assert services.telemetry.counts["UnstartedRetries"] == 30


def test_what_there_is_no_time_to_mark_either_comes_again() -> None:
    services = HungStartFixture()
    services.add(*range(1, 31))
    services.slow(services.deliveries, "mark_unstarted", SECONDS_FOR_ONE_CALL)
    assert services.invoke(services.messages(samples.event_text())) == ["m0"]
    assert services.remaining >= 0
    assert len(services.stored()) == 30

    # It finds the records, and continues from its end.
    services.deliveries.__dict__.pop("mark_unstarted")
    assert services.invoke(services.messages(samples.event_text())) == []
    assert len(services.sender.posts) == 30


def test_a_start_that_hangs_keeps_no_success_from_its_record() -> None:
    services = DispatchFixture()
    services.add(1, 2)
    failed, recorded = threading.Event(), threading.Event()
    put_settled = services.deliveries.put_settled

    def record(deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        unwritten = put_settled(deliveries)
        recorded.set()
        return unwritten

    def answer(url: str, _: Mapping[str, str]) -> Outcome:
        if url == samples.webhook(1).url:
            return REFUSED
        failed.wait(10)
        return Outcome(status_code=200)

    def start(delivery: Delivery, *, delay_seconds: float) -> None:
        assert (delivery.webhook_id, delay_seconds > 0) == (samples.webhook(1).id, True)
        failed.set()
        seen.append(recorded.wait(10))

    seen: list[bool] = []
    services.deliveries.put_settled = record  # type: ignore[method-assign]
    services.sender.answer = answer
    services.scheduler.start = start  # type: ignore[method-assign]
    assert services.send(samples.event_text()) == []
    assert seen == [True]
