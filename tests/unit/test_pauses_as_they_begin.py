"""Pauses as they begin: while time goes on, next to a recovery, and among other responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support import samples
from support.dispatching import World
from support.recovering import KEY, settled
from support.recovering import World as Recovering
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


def slow_records(world: World | Recovering, milliseconds: int) -> None:
    """Let each record of a first attempt take some time."""
    create = world.deliveries.create

    def slow(delivery: Delivery) -> Delivery:
        world.now_ms += milliseconds
        return create(delivery)

    world.deliveries.create = slow  # type: ignore[method-assign]


def test_a_pause_of_a_second_is_written_though_a_part_of_it_is_over() -> None:
    world = World(dispatcher_threads=1)
    world.add()
    slow_records(world, 8)
    world.sender.answer = lambda *_: asks(1)
    assert world.send(*events(5)) == []
    assert len(world.sender.posts) == 1
    assert world.webhook().health.not_before_ms == NOW_MS + 1000
    assert [one.status for one in world.stored()].count(Status.WAITING) == 4


def test_nothing_waits_for_a_pause_that_is_over_when_it_is_to_be_written() -> None:
    world = World(dispatcher_threads=1)
    world.add()
    slow_records(world, 1200)
    world.sender.answer = lambda *_: asks(1)
    assert world.send(*events(3)) == []
    assert {one.status for one in world.stored()} == {Status.RETRYING}
    assert "pause" not in world.health_store.writes


def test_a_recovery_that_is_about_to_end_strands_nothing_of_a_pause_of_a_second() -> None:
    world = Recovering(dispatcher_threads=1)
    world.drain()
    slow_records(world, 8)
    world.sender.answer = lambda *_: asks(1)
    create = world.deliveries.create
    last = settled(world)

    def ends_before(delivery: Delivery) -> Delivery:
        if delivery.status is Status.WAITING:
            # Its last step, which finds no waiting delivery.
            world.recovery_job.advance(KEY, last, lambda: 60.0)
        return create(delivery)

    world.deliveries.create = ends_before  # type: ignore[method-assign]
    assert world.send(*events(2)) == []
    statuses = [one.status for one in world.deliveries.deliveries.values()]
    assert Status.WAITING in statuses
    assert world.webhook().health.recovery_id is not None


def test_another_failure_before_a_success_keeps_no_pause_that_is_over() -> None:
    world = World(dispatcher_threads=1)
    world.add()
    world.pauses.pause(world.webhook(), NOW_MS + 5000)
    world.now_ms += 6000
    answers = [REFUSED, TAKEN]
    world.sender.answer = lambda *_: answers.pop(0)
    assert world.send(*events(2)) == []
    assert world.webhook().health.not_before_ms is None
