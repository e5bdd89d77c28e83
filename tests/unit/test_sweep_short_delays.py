"""The sweep on short delays, refused starts, dead letters and expiring deliveries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.fakes import RETENTION_SECONDS
from support.sweeping import DUE_MS, World, given
from webhooks.domain.delivery import Claim, Delivery, Outcome, Status
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.overdue import MOST_CLAIMS
from webhooks.domain.timestamps import to_text
from webhooks.services.jobs.sweep import Swept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from webhooks.domain.delivery import DeliveryKey


@pytest.fixture
def world() -> World:
    return World()


def test_an_unstarted_delivery_is_started_as_soon_as_it_is_due(world: World) -> None:
    unstarted = world.put(replace(world.delivery, short=True, unstarted=True))
    world.now_ms = DUE_MS
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    world.now_ms = DUE_MS + 1
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert world.starts == [(unstarted, 0)]
    assert world.stored() == replace(unstarted, unstarted=False), "the same generation"
    assert world.telemetry.counts["OverdueDeliveries"] == 0, "no alarm"
    assert world.telemetry.counts["UnstartedDeliveries"] == 1


def test_one_that_stays_unstarted_in_an_outage_is_tried_every_minute_without_a_write(
    world: World,
) -> None:
    unstarted = world.put(replace(world.delivery, short=True, unstarted=True))
    world.scheduler.failures.plan("start", *[True] * 30)
    world.now_ms = DUE_MS + 1
    for _ in range(30):
        with pytest.raises(UnavailableError):
            world.sweep()
        world.now_ms += 60_000
    assert world.stored() == unstarted
    assert world.deliveries.writes == []
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)


def test_a_short_delivery_that_was_lost_is_started_again_without_a_look(world: World) -> None:
    world.put(replace(world.delivery, short=True))
    world.scheduler.failures.plan("running", True)
    world.now_ms = DUE_MS + 60_000
    assert world.sweep() == (0, 0)
    world.now_ms += 1
    assert world.sweep() == (1, 0)
    assert world.stored().short
    assert world.stored().generation == 1
    assert world.starts == [(world.stored(), 0)]


def test_a_claim_that_died_is_the_sweeps_once_its_lease_is_over(world: World) -> None:
    claim = Claim("dead", DUE_MS + 90_000)
    world.put(replace(world.delivery, short=True, claim=claim))
    world.now_ms = DUE_MS + 89_999
    assert world.sweep() == (0, 0)
    world.now_ms = DUE_MS + 90_000
    assert world.sweep() == (1, 0)
    assert world.stored().claim == claim, "it is counted"


def test_one_that_was_claimed_thrice_in_vain_goes_on_on_standard(world: World) -> None:
    given(world, short=True, claim=Claim("dead", DUE_MS, 3))
    assert world.sweep() == (1, 0)
    assert not world.stored().short


def test_an_attempt_that_claims_meanwhile_is_left_alone(world: World) -> None:
    delivery = given(world, short=True)
    get_many = world.deliveries.get_many

    def meanwhile(keys: Sequence[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        found = get_many(keys)
        world.put(replace(delivery, claim=Claim("alive", world.now_ms + 90_000)))
        return found

    world.deliveries.get_many = meanwhile  # type: ignore[method-assign, assignment]
    assert world.sweep() == (0, 0)
    assert world.scheduler.calls == 0


def test_an_exhausted_delivery_that_is_due_is_handed_over_in_its_generation(
    world: World,
) -> None:
    untold = given(world, status=Status.EXHAUSTED, generation=2)
    world.scheduler.start(untold, delay_seconds=0)
    assert world.sweep() == (0, 0), "it goes on: the dead-letter queue may not take it yet"
    world.scheduler.stop(untold)
    assert world.sweep() == (1, 0)
    assert world.stored() == replace(
        untold, next_attempt_at_ms=world.now_ms, restarts=1, unstarted=True
    )
    assert world.scheduler.running(world.stored()), "under another name, which is free"


def test_a_sweep_that_is_cut_off_before_a_start_leaves_it_to_the_next_one(world: World) -> None:
    given(world, short=True)
    remaining = [45.0]
    update = world.deliveries.update

    def last(delivery: Delivery, *, before: Delivery) -> bool:
        remaining[0] = 9.0
        return update(delivery, before=before)

    world.deliveries.update = last  # type: ignore[method-assign]
    world.sweep_job.sweep(lambda: remaining[0])
    assert world.scheduler.calls == 0
    assert world.stored().generation == 1
    world.deliveries.update = update  # type: ignore[method-assign]
    world.now_ms += 60_000
    assert world.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert world.stored().generation == 1
    assert [delivery.generation for delivery, _ in world.starts] == [1]


def test_one_that_dies_each_time_is_started_again_less_and_less_often(world: World) -> None:
    """A short delay whose executions never reach their claim."""
    delivery = given(world, short=True)
    starts = []
    start = world.scheduler.start

    def seen(delivery: Delivery, *, delay_seconds: float) -> None:
        starts.append(world.now_ms)
        start(delivery, delay_seconds=delay_seconds)

    world.scheduler.start = seen  # type: ignore[method-assign]
    begin_ms = world.now_ms
    for _ in range(24 * 60):
        world.sweep()
        world.scheduler.stop(world.stored())
        world.now_ms += 60_000
    assert [at - begin_ms for at in starts[:4]] == [0, 60_000, 120_000, 780_000]
    assert len(starts) < 25
    assert delivery.key in world.deliveries.deliveries


def test_a_waiting_delivery_whose_retention_ends_has_its_owner_notified_once(
    world: World,
) -> None:
    waiting = world.put(world.delivery.defer("webhook_disabled"))
    kept_until_ms = waiting.last_active_at_ms + RETENTION_SECONDS * 1000
    world.now_ms = kept_until_ms - 86_400_000
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    world.now_ms += 1
    assert world.sweep_job.sweep(lambda: 45) == Swept(expiring_deliveries=1)
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    assert world.stored() == replace(waiting, expiring=True)
    [event] = world.operational_events.published
    assert (event.type, event.webhook_id) == ("delivery.expiring", waiting.webhook_id)
    assert event.facts == {
        "delivery_id": waiting.id,
        "event_id": waiting.event_id,
        "event_type": waiting.event_type,
        "reason": "webhook_disabled",
        "expires_at": to_text(kept_until_ms),
    }
    assert world.telemetry.counts["ExpiringDeliveries"] == 1


def test_an_expiring_delivery_is_drained_as_any_other(world: World) -> None:
    world.put(replace(world.delivery.defer("webhook_disabled"), expiring=True))
    assert world.retrier.drain(world.destination(), world.stored()) is not None
    assert world.stored().status is Status.SUCCEEDED
    assert not world.stored().expiring


def test_an_interrupted_delivery_is_attempted_once_by_each_execution_that_it_is_given(
    world: World,
) -> None:
    delivery = given(world, claim=Claim("dead", DUE_MS, MOST_CLAIMS))
    answers: dict[str, Outcome] = {}
    world.sender.answer = lambda url, _: answers[url]
    for generation in (1, 2):
        assert world.sweep() == (1, 0)
        with pytest.raises(KeyError):
            world.retry(delivery.key, 2, generation)
        with pytest.raises(DeliveryInterruptedError):
            world.retry(delivery.key, 2, generation)
        assert len(world.sender.posts) == generation
        world.now_ms += 86_400_000
        # The sweep starts it, which clears the mark.
        assert world.sweep() == (0, 0)
        world.scheduler.stop(world.stored())

    world.sender.answer = None
    assert world.sweep() == (1, 0)
    world.retry(delivery.key, 2, 3)
    assert world.stored().status is Status.SUCCEEDED, "the fault is over"


def test_an_expiring_delivery_that_changed_meanwhile_is_no_notice(world: World) -> None:
    given(world, status=Status.WAITING, next_attempt_at_ms=None)
    world.now_ms = world.delivery.last_active_at_ms + (RETENTION_SECONDS - 3_600) * 1_000
    world.deliveries.note_expiring = lambda delivery: delivery is None  # type: ignore[method-assign]
    assert world.sweep_job.sweep(lambda: 45) == Swept()
    assert world.operational_events.published == []
