"""The sweep on short delays, refused starts, dead letters and expiring deliveries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.fakes import RETENTION_SECONDS
from unit.services.jobs.sweep_fixture import DUE_MS, SweepFixture, given
from webhooks.domain.delivery import Claim, Delivery, Outcome, Status
from webhooks.domain.errors import DeliveryInterruptedError, UnavailableError
from webhooks.domain.overdue import MOST_CLAIMS
from webhooks.domain.timestamps import to_text
from webhooks.services.jobs.sweep import Swept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from webhooks.domain.delivery import DeliveryKey


@pytest.fixture
def services() -> SweepFixture:
    return SweepFixture()


def test_an_unstarted_delivery_is_started_as_soon_as_it_is_due(services: SweepFixture) -> None:
    unstarted = services.put(replace(services.delivery, short=True, unstarted=True))
    services.now_ms = DUE_MS
    assert services.sweep_job.sweep(lambda: 45) == Swept()
    services.now_ms = DUE_MS + 1
    assert services.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert services.starts == [(unstarted, 0)]
    assert services.stored() == replace(unstarted, unstarted=False), "the same generation"
    assert services.telemetry.counts["OverdueDeliveries"] == 0, "no alarm"
    assert services.telemetry.counts["UnstartedDeliveries"] == 1


def test_one_that_stays_unstarted_in_an_outage_is_tried_every_minute_without_a_write(
    services: SweepFixture,
) -> None:
    unstarted = services.put(replace(services.delivery, short=True, unstarted=True))
    services.scheduler.failures.plan("start", *[True] * 30)
    services.now_ms = DUE_MS + 1
    for _ in range(30):
        with pytest.raises(UnavailableError):
            services.sweep()
        services.now_ms += 60_000
    assert services.stored() == unstarted
    assert services.deliveries.writes == []
    assert services.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)


def test_a_short_delivery_that_was_lost_is_started_again_without_a_look(
    services: SweepFixture,
) -> None:
    services.put(replace(services.delivery, short=True))
    services.scheduler.failures.plan("running", True)
    services.now_ms = DUE_MS + 60_000
    assert services.sweep() == (0, 0)
    services.now_ms += 1
    assert services.sweep() == (1, 0)
    assert services.stored().short
    assert services.stored().generation == 1
    assert services.starts == [(services.stored(), 0)]


def test_a_claim_that_died_is_the_sweeps_once_its_lease_is_over(services: SweepFixture) -> None:
    claim = Claim("dead", DUE_MS + 90_000)
    services.put(replace(services.delivery, short=True, claim=claim))
    services.now_ms = DUE_MS + 89_999
    assert services.sweep() == (0, 0)
    services.now_ms = DUE_MS + 90_000
    assert services.sweep() == (1, 0)
    assert services.stored().claim == claim, "it is counted"


def test_one_that_was_claimed_thrice_in_vain_goes_on_on_standard(services: SweepFixture) -> None:
    given(services, short=True, claim=Claim("dead", DUE_MS, 3))
    assert services.sweep() == (1, 0)
    assert not services.stored().short


def test_an_attempt_that_claims_meanwhile_is_left_alone(services: SweepFixture) -> None:
    delivery = given(services, short=True)
    get_many = services.deliveries.get_many

    def meanwhile(keys: Sequence[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        found = get_many(keys)
        services.put(replace(delivery, claim=Claim("alive", services.now_ms + 90_000)))
        return found

    services.deliveries.get_many = meanwhile  # type: ignore[method-assign, assignment]
    assert services.sweep() == (0, 0)
    assert services.scheduler.calls == 0


def test_an_exhausted_delivery_that_is_due_is_handed_over_in_its_generation(
    services: SweepFixture,
) -> None:
    untold = given(services, status=Status.EXHAUSTED, generation=2)
    services.scheduler.start(untold, delay_seconds=0)
    assert services.sweep() == (0, 0), "it goes on: the dead-letter queue may not take it yet"
    services.scheduler.stop(untold)
    assert services.sweep() == (1, 0)
    assert services.stored() == replace(
        untold, next_attempt_at_ms=services.now_ms, restarts=1, unstarted=True
    )
    assert services.scheduler.running(services.stored()), "under another name, which is free"


def test_a_sweep_that_is_cut_off_before_a_start_leaves_it_to_the_next_one(
    services: SweepFixture,
) -> None:
    given(services, short=True)
    remaining = [45.0]
    update = services.deliveries.update

    def last(delivery: Delivery, *, before: Delivery) -> bool:
        remaining[0] = 9.0
        return update(delivery, before=before)

    services.deliveries.update = last  # type: ignore[method-assign]
    services.sweep_job.sweep(lambda: remaining[0])
    assert services.scheduler.calls == 0
    assert services.stored().generation == 1
    services.deliveries.update = update  # type: ignore[method-assign]
    services.now_ms += 60_000
    assert services.sweep_job.sweep(lambda: 45) == Swept(unstarted_deliveries=1)
    assert services.stored().generation == 1
    assert [delivery.generation for delivery, _ in services.starts] == [1]


def test_one_that_dies_each_time_is_started_again_less_and_less_often(
    services: SweepFixture,
) -> None:
    """A short delay whose executions never reach their claim."""
    delivery = given(services, short=True)
    starts = []
    start = services.scheduler.start

    def seen(delivery: Delivery, *, delay_seconds: float) -> None:
        starts.append(services.now_ms)
        start(delivery, delay_seconds=delay_seconds)

    services.scheduler.start = seen  # type: ignore[method-assign]
    begin_ms = services.now_ms
    for _ in range(24 * 60):
        services.sweep()
        services.scheduler.stop(services.stored())
        services.now_ms += 60_000
    assert [at - begin_ms for at in starts[:4]] == [0, 60_000, 120_000, 780_000]
    assert len(starts) < 25
    assert delivery.key in services.deliveries.deliveries


def test_a_waiting_delivery_whose_retention_ends_has_its_owner_notified_once(
    services: SweepFixture,
) -> None:
    waiting = services.put(services.delivery.defer("webhook_disabled"))
    kept_until_ms = waiting.last_active_at_ms + RETENTION_SECONDS * 1000
    services.now_ms = kept_until_ms - 86_400_000
    assert services.sweep_job.sweep(lambda: 45) == Swept()
    services.now_ms += 1
    assert services.sweep_job.sweep(lambda: 45) == Swept(expiring_deliveries=1)
    assert services.sweep_job.sweep(lambda: 45) == Swept()
    assert services.stored() == replace(waiting, expiring=True)
    [event] = services.operational_events.published
    assert (event.type, event.webhook_id) == ("delivery.expiring", waiting.webhook_id)
    assert event.facts == {
        "delivery_id": waiting.id,
        "event_id": waiting.event_id,
        "event_type": waiting.event_type,
        "reason": "webhook_disabled",
        "expires_at": to_text(kept_until_ms),
    }
    assert services.telemetry.counts["ExpiringDeliveries"] == 1


def test_an_expiring_delivery_is_drained_as_any_other(services: SweepFixture) -> None:
    services.put(replace(services.delivery.defer("webhook_disabled"), expiring=True))
    assert services.retrier.drain(services.destination(), services.stored()) is not None
    assert services.stored().status is Status.SUCCEEDED
    assert not services.stored().expiring


def test_an_interrupted_delivery_is_attempted_once_by_each_execution_that_it_is_given(
    services: SweepFixture,
) -> None:
    delivery = given(services, claim=Claim("dead", DUE_MS, MOST_CLAIMS))
    answers: dict[str, Outcome] = {}
    services.sender.answer = lambda url, _: answers[url]
    for generation in (1, 2):
        assert services.sweep() == (1, 0)
        with pytest.raises(KeyError):
            services.retry(delivery.key, 2, generation)
        with pytest.raises(DeliveryInterruptedError):
            services.retry(delivery.key, 2, generation)
        assert len(services.sender.posts) == generation
        services.now_ms += 86_400_000
        # The sweep starts it, which clears the mark.
        assert services.sweep() == (0, 0)
        services.scheduler.stop(services.stored())

    services.sender.answer = None
    assert services.sweep() == (1, 0)
    services.retry(delivery.key, 2, 3)
    assert services.stored().status is Status.SUCCEEDED, "the fault is over"


def test_an_expiring_delivery_that_changed_meanwhile_is_no_notice(services: SweepFixture) -> None:
    given(services, status=Status.WAITING, next_attempt_at_ms=None)
    services.now_ms = services.delivery.last_active_at_ms + (RETENTION_SECONDS - 3_600) * 1_000
    services.deliveries.note_expiring = lambda delivery: delivery is None  # type: ignore[method-assign]
    assert services.sweep_job.sweep(lambda: 45) == Swept()
    assert services.operational_events.published == []
