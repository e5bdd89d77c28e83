from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import samples
from unit.services.jobs.recovery_fixture import (
    DRAINING,
    FIRST,
    KEY,
    REFUSED,
    RecoveryFixture,
    settled,
)
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import FAILURES_TO_OPEN, NOTICE_MS, WARN_AFTER_MS, Circuit
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.webhook import Secrets
from webhooks.ports import Page, UnstartedRecovery, WebhookChanges
from webhooks.services.jobs.recovery import SECONDS_FOR_A_STEP

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.delivery import Delivery

GONE = Outcome(FailureReason.HTTP_STATUS, status_code=410)


@pytest.fixture
def services() -> RecoveryFixture:
    return RecoveryFixture()


def test_a_webhook_that_is_down_is_probed_with_the_oldest_that_waits(
    services: RecoveryFixture,
) -> None:
    oldest, second, _ = services.wait_for(3)
    services.sender.answer = lambda *_: REFUSED

    assert services.step() == RecoveryState(60.0, probe=2, after=oldest.id)

    assert services.sent() == [oldest.id]
    assert services.stored(oldest) == oldest.after(
        samples.attempt(probe=True, duration_ms=0, response_body=""), Status.WAITING
    )
    assert services.stored(second) == second
    assert services.webhook().health.failures == FAILURES_TO_OPEN + 1


def test_each_probe_is_of_another_delivery_and_then_of_the_oldest_again(
    services: RecoveryFixture,
) -> None:
    first, second, third = services.wait_for(3)
    services.sender.answer = lambda *_: REFUSED
    step: RecoveryState | None = FIRST
    for _ in range(5):
        assert step is not None
        step = services.step(step)
    assert services.sent() == [first.id, second.id, third.id, first.id, second.id]


def test_the_last_delay_of_the_schedule_repeats_for_as_long_as_the_webhook_is_down(
    services: RecoveryFixture,
) -> None:
    services.wait_for(1)
    services.sender.answer = lambda *_: REFUSED
    delays = [services.step(RecoveryState(0, probe)) for probe in (1, 2, 500)]
    assert [step and step.seconds for step in delays] == [60.0, 60.0, 60.0]


def test_probes_are_jittered_and_never_early(services: RecoveryFixture) -> None:
    services.random = 1.0
    step = services.step()
    assert step is not None
    assert step.seconds == pytest.approx(66.0)


def test_with_nothing_to_probe_with_it_waits_for_what_comes(services: RecoveryFixture) -> None:
    step = services.step(RecoveryState(0, 1, "an-id-that-is-gone"))
    assert step == RecoveryState(60.0, probe=2)
    assert services.sent() == []


def test_a_probe_that_is_taken_begins_to_drain_at_once(services: RecoveryFixture) -> None:
    oldest, *_ = services.wait_for(3)
    assert services.step() == DRAINING
    assert services.stored(oldest).status is Status.SUCCEEDED
    assert services.stored(oldest).reason is None
    assert services.webhook().health.circuit is Circuit.DRAINING
    assert services.operational_events.types == ["webhook.recovered"]


def test_a_probe_that_says_gone_ends_in_a_webhook_that_is_disabled(
    services: RecoveryFixture,
) -> None:
    [oldest] = services.wait_for(1)
    services.sender.answer = lambda *_: GONE
    assert services.step() is not None
    assert services.webhook().disabled_reason == "gone"
    assert services.stored(oldest).status is Status.WAITING
    assert services.step() is None
    assert services.webhook().health.recovery_id is None
    assert len(services.sent()) == 1


def test_a_webhook_that_was_down_for_five_days_is_disabled_unprobed(
    services: RecoveryFixture,
) -> None:
    services.wait_for(1)
    services.sender.answer = lambda *_: REFUSED
    services.now_ms += WARN_AFTER_MS
    assert services.step() is not None
    assert len(services.sent()) == 1
    services.sender.posts.clear()

    services.now_ms += NOTICE_MS
    assert services.step() == RecoveryState(1)
    assert services.webhook().disabled_reason == "failing"
    assert services.step() is None
    assert services.sent() == []
    assert services.operational_events.types == ["webhook.failing", "webhook.disabled"]


def test_what_the_index_has_and_is_no_more_so_keeps_nothing_from_its_turn(
    services: RecoveryFixture,
) -> None:
    """An item past its time to live is in the index for days, and no store returns it."""
    oldest, second = services.wait_for(2)
    batch = services.reader.oldest_first

    def expired_first(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([], oldest.id) if oldest in found.items else found

    services.reader.oldest_first = expired_first  # type: ignore[method-assign]
    services.recovery_rate = 1
    assert services.step() == DRAINING
    assert services.sent() == [second.id]
    assert services.step(settled(services)) is None


def test_a_probe_goes_past_what_is_no_more_so_page_by_page(services: RecoveryFixture) -> None:
    """One at a time it would end before the first that still waits."""
    *expired, living = services.wait_for(7)
    batch = services.reader.oldest_first

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    services.reader.oldest_first = without_expired  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, *[SECONDS_FOR_A_STEP - 1] * 9])
    assert services.recovery_job.advance(KEY, FIRST, lambda: next(left)) == DRAINING
    assert services.sent() == [living.id]
    assert len(expired) == 2 * services.recovery_rate


def test_a_long_walk_past_what_is_no_more_so_stops_in_time(services: RecoveryFixture) -> None:
    services.drain()
    services.reader.oldest_first = lambda *_: Page([], "more")  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, SECONDS_FOR_A_STEP - 1])
    assert services.recovery_job.advance(KEY, FIRST, lambda: next(left)) == RecoveryState(
        1, probe=0, past="more"
    )


def test_a_walk_that_takes_more_than_a_step_goes_on_where_it_was(services: RecoveryFixture) -> None:
    """With a new start each time it would never reach the deliveries at its end."""
    *expired, living = services.wait_for(7)
    services.drain()
    batch = services.reader.oldest_first

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    services.reader.oldest_first = without_expired  # type: ignore[method-assign]

    def short_step(before: RecoveryState) -> RecoveryState | None:
        left = iter([60.0, SECONDS_FOR_A_STEP - 1])
        return services.recovery_job.advance(KEY, before, lambda: next(left))

    step: RecoveryState | None = FIRST
    steps = []
    for _ in range(5):
        assert step is not None
        step = short_step(step)
        steps.append(step)
    third, sixth = expired[2].id, expired[5].id
    whole_way = [DRAINING._replace(past=third), DRAINING._replace(past=sixth)]
    # Then it is sent; nothing more is there; and all of it once more, in a while.
    assert steps == [*whole_way, whole_way[1], RecoveryState(60.0, probe=0), whole_way[0]]
    assert services.sent() == [living.id]
    assert services.webhook().health.circuit is Circuit.DRAINING


def test_a_recovery_whose_place_was_taken_ends_and_touches_nothing(
    services: RecoveryFixture,
) -> None:
    services.wait_for(1)
    services.health_store.replace(KEY, "another", services.now_ms)
    assert services.step() is None
    assert services.sent() == []
    assert services.webhook().health.recovery_id == "another"


def test_a_recovery_of_a_webhook_that_is_disabled_ends_and_keeps_what_waits(
    services: RecoveryFixture,
) -> None:
    [kept] = services.wait_for(1)
    changes = WebhookChanges(active=False)
    services.store.update("acc_1", samples.WEBHOOK_ID, changes, services.now_ms)
    assert services.step() is None
    assert services.sent() == []
    assert services.stored(kept) == kept
    assert services.webhook().health.recovery_id is None


def test_what_waits_for_a_deleted_webhook_is_cancelled_bit_by_bit(
    services: RecoveryFixture,
) -> None:
    deliveries = services.wait_for(60)
    services.store.delete("acc_1", samples.WEBHOOK_ID)
    assert services.step() == RecoveryState(1)
    assert [services.stored(one).status for one in deliveries].count(Status.CANCELLED) == 50
    assert services.step() == RecoveryState(1)
    assert {services.stored(one).reason for one in deliveries} == {"webhook_deleted"}
    assert services.step() is None
    assert services.sent() == []


def test_a_long_cancellation_is_not_overdue_while_it_goes_on(services: RecoveryFixture) -> None:
    services.wait_for(60)
    left = UnstartedRecovery(KEY.recovery_id, services.now_ms)
    services.store.delete("acc_1", samples.WEBHOOK_ID, unstarted=left)
    services.now_ms += 60_000
    assert services.health_store.overdue(services.now_ms, 10) == [KEY]
    services.step()
    assert services.health_store.overdue(services.now_ms, 10) == []
    services.now_ms += 3_600_000
    assert services.health_store.overdue(services.now_ms, 10) == [KEY]


def test_a_cancellation_that_takes_more_than_a_step_goes_on_where_it_was(
    services: RecoveryFixture,
) -> None:
    services.store.delete("acc_1", samples.WEBHOOK_ID)
    services.remaining = SECONDS_FOR_A_STEP - 1
    after: list[str | None] = []

    def expired(*values: Any) -> Page[Delivery]:
        after.append(values[-1])
        return Page([], "far" if len(after) < 3 else None)

    services.reader.oldest_first = expired  # type: ignore[assignment]
    step = services.step()
    assert step == RecoveryState(1, past="far")
    assert services.step(step) == step
    assert services.step(step) is None
    assert after == [None, "far", "far"]


def test_a_webhook_without_a_secret_is_waited_for_unsent(services: RecoveryFixture) -> None:
    services.wait_for(1)
    services.store.add(services.webhook(), Secrets(None))
    assert services.step(RecoveryState(0, 4, "after")) == RecoveryState(60.0, 4, "after")
    assert services.sent() == []
    assert services.telemetry.counts["SecretMissing"] == 1


def test_too_little_time_is_our_own_trouble_and_sends_nothing(services: RecoveryFixture) -> None:
    services.wait_for(1)
    services.remaining = SECONDS_FOR_A_STEP - 0.1
    with pytest.raises(UnavailableError, match="too few"):
        services.step()
    assert services.sent() == []


@pytest.mark.parametrize("broken", ["walk", "record"])
def test_a_step_that_our_own_side_broke_off_is_made_again(
    services: RecoveryFixture, broken: str
) -> None:
    deliveries = services.wait_for(2)
    services.drain()
    services.sender.answer = lambda *_: REFUSED
    if broken == "record":
        services.deliveries.failures.plan("update", True, True)
    else:
        services.reader.failures.plan("oldest_first", True)
    with pytest.raises(UnavailableError):
        services.step()
    assert services.step() == DRAINING
    assert [len(services.stored(one).attempts) for one in deliveries] == [1, 1]


def test_one_whose_execution_could_not_be_started_is_found_by_the_sweeper(
    services: RecoveryFixture,
) -> None:
    [delivery] = services.wait_for(1)
    services.drain()
    services.sender.answer = lambda *_: REFUSED
    services.scheduler.failures.plan("start", True)
    assert services.step() is not None
    assert services.stored(delivery).unstarted
    services.now_ms += 700_000
    services.sweep_job.sweep(lambda: services.remaining)
    assert services.scheduler.running(services.stored(delivery))


def test_its_next_step_is_noted_far_enough_ahead_to_be_noted_seldom(
    services: RecoveryFixture,
) -> None:
    deliveries = services.wait_for(30)
    services.drain()
    steps = 0
    while services.stored(deliveries[-1]).status is Status.WAITING:
        services.step()
        services.now_ms += 1000
        steps += 1
    assert steps == 10
    assert services.health_store.writes.count("keep") == 1
    assert services.webhook().health.recovery_due_at_ms > services.now_ms


@pytest.mark.parametrize(("schedule", "second"), [((0.0,), 1.0), ((30.0, 60.0, 0.0), 60.0)])
def test_no_schedule_has_a_webhook_probed_without_a_pause(
    schedule: tuple[float, ...], second: float
) -> None:
    services = RecoveryFixture(recovery_schedule=schedule)
    services.wait_for(3)
    services.sender.answer = lambda *_: REFUSED
    delays = [services.step(RecoveryState(0, probe)) for probe in (1, 2, 3, 500)]
    assert [step and step.seconds for step in delays] == [second, 1.0, 1.0, 1.0]


def test_no_schedule_has_a_missing_secret_looked_for_without_a_pause() -> None:
    services = RecoveryFixture(recovery_schedule=(30.0, 0.0))
    services.store.add(services.webhook(), Secrets(None))
    assert services.step(RecoveryState(0, 500)) == RecoveryState(1, 500)


def test_no_schedule_has_a_long_way_gone_anew_without_a_pause() -> None:
    services = RecoveryFixture(recovery_schedule=(30.0, 0.0))
    services.drain()
    assert services.step(RecoveryState(0, past="far")) == DRAINING
