"""Pauses as they begin: while time goes on, next to a recovery, and among other responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import samples
from unit.services.dispatch.dispatch_fixture import DispatchFixture
from unit.services.jobs.recovery_fixture import KEY, RecoveryFixture, settled
from webhooks.domain.delivery import FailureReason, Outcome, Status

if TYPE_CHECKING:
    from webhooks.domain.delivery import Delivery

NOW_MS = samples.NOW_MS
REFUSED = Outcome(FailureReason.HTTP_STATUS, 500, 7)
TAKEN = Outcome(status_code=200)


def asks(seconds: float, status_code: int = 429) -> Outcome:
    return Outcome(FailureReason.HTTP_STATUS, status_code, 7, retry_after_seconds=seconds)


def events(number: int) -> list[str]:
    return [samples.event_text(transaction_id=f"txn_{n}") for n in range(number)]


def slow_records(services: DispatchFixture | RecoveryFixture, milliseconds: int) -> None:
    """Let each record of a first attempt take some time."""
    create = services.deliveries.create

    def slow(delivery: Delivery) -> Delivery:
        services.now_ms += milliseconds
        return create(delivery)

    services.deliveries.create = slow  # type: ignore[method-assign]


def test_a_pause_of_a_second_is_written_though_a_part_of_it_is_over() -> None:
    services = DispatchFixture(dispatcher_threads=1)
    services.add()
    slow_records(services, 8)
    services.sender.answer = lambda *_: asks(1)
    assert services.send(*events(5)) == []
    assert len(services.sender.posts) == 1
    assert services.webhook().health.not_before_ms == NOW_MS + 1000
    assert [one.status for one in services.stored()].count(Status.WAITING) == 4


def test_nothing_waits_for_a_pause_that_is_over_when_it_is_to_be_written() -> None:
    services = DispatchFixture(dispatcher_threads=1)
    services.add()
    slow_records(services, 1200)
    services.sender.answer = lambda *_: asks(1)
    assert services.send(*events(3)) == []
    assert {one.status for one in services.stored()} == {Status.RETRYING}
    assert "pause" not in services.health_store.writes


def test_a_recovery_that_is_about_to_end_strands_nothing_of_a_pause_of_a_second() -> None:
    services = RecoveryFixture(dispatcher_threads=1)
    services.drain()
    slow_records(services, 8)
    services.sender.answer = lambda *_: asks(1)
    create = services.deliveries.create
    last = settled(services)

    def ends_before(delivery: Delivery) -> Delivery:
        if delivery.status is Status.WAITING:
            # Its last step, which finds no waiting delivery.
            services.recovery_job.advance(KEY, last, lambda: 60.0)
        return create(delivery)

    services.deliveries.create = ends_before  # type: ignore[method-assign]
    assert services.send(*events(2)) == []
    statuses = [one.status for one in services.deliveries.deliveries.values()]
    assert Status.WAITING in statuses
    assert services.webhook().health.recovery_id is not None


def test_another_failure_before_a_success_keeps_no_pause_that_is_over() -> None:
    services = DispatchFixture(dispatcher_threads=1)
    services.add()
    services.pauses.pause(services.webhook(), NOW_MS + 5000)
    services.now_ms += 6000
    answers = [REFUSED, TAKEN]
    services.sender.answer = lambda *_: answers.pop(0)
    assert services.send(*events(2)) == []
    assert services.webhook().health.not_before_ms is None
