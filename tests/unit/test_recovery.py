from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import samples
from support.recovering import DRAINING, FIRST, KEY, REFUSED, World, settled
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
def world() -> World:
    return World()


def test_a_webhook_that_is_down_is_probed_with_the_oldest_that_waits(world: World) -> None:
    oldest, second, _ = world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED

    assert world.step() == RecoveryState(60.0, probe=2, after=oldest.id)

    assert world.sent() == [oldest.id]
    assert world.stored(oldest) == oldest.after(
        samples.attempt(probe=True, duration_ms=0, response_body=""), Status.WAITING
    )
    assert world.stored(second) == second
    assert world.webhook().health.failures == FAILURES_TO_OPEN + 1


def test_each_probe_is_of_another_delivery_and_then_of_the_oldest_again(world: World) -> None:
    first, second, third = world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED
    step: RecoveryState | None = FIRST
    for _ in range(5):
        assert step is not None
        step = world.step(step)
    assert world.sent() == [first.id, second.id, third.id, first.id, second.id]


def test_the_last_delay_of_the_schedule_repeats_for_as_long_as_the_webhook_is_down(
    world: World,
) -> None:
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    delays = [world.step(RecoveryState(0, probe)) for probe in (1, 2, 500)]
    assert [step and step.seconds for step in delays] == [60.0, 60.0, 60.0]


def test_probes_are_jittered_and_never_early(world: World) -> None:
    world.random = 1.0
    step = world.step()
    assert step is not None
    assert step.seconds == pytest.approx(66.0)


def test_with_nothing_to_probe_with_it_waits_for_what_comes(world: World) -> None:
    step = world.step(RecoveryState(0, 1, "an-id-that-is-gone"))
    assert step == RecoveryState(60.0, probe=2)
    assert world.sent() == []


def test_a_probe_that_is_taken_begins_to_drain_at_once(world: World) -> None:
    oldest, *_ = world.wait_for(3)
    assert world.step() == DRAINING
    assert world.stored(oldest).status is Status.SUCCEEDED
    assert world.stored(oldest).reason is None
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.operational_events.types == ["webhook.recovered"]


def test_a_probe_that_says_gone_ends_in_a_webhook_that_is_disabled(world: World) -> None:
    [oldest] = world.wait_for(1)
    world.sender.answer = lambda *_: GONE
    assert world.step() is not None
    assert world.webhook().disabled_reason == "gone"
    assert world.stored(oldest).status is Status.WAITING
    assert world.step() is None
    assert world.webhook().health.recovery_id is None
    assert len(world.sent()) == 1


def test_a_webhook_that_was_down_for_five_days_is_disabled_unprobed(world: World) -> None:
    world.wait_for(1)
    world.sender.answer = lambda *_: REFUSED
    world.now_ms += WARN_AFTER_MS
    assert world.step() is not None
    assert len(world.sent()) == 1
    world.sender.posts.clear()

    world.now_ms += NOTICE_MS
    assert world.step() == RecoveryState(1)
    assert world.webhook().disabled_reason == "failing"
    assert world.step() is None
    assert world.sent() == []
    assert world.operational_events.types == ["webhook.failing", "webhook.disabled"]


def test_what_the_index_has_and_is_no_more_so_keeps_nothing_from_its_turn(world: World) -> None:
    """An item past its time to live is in the index for days, and no store returns it."""
    oldest, second = world.wait_for(2)
    batch = world.reader.oldest_first

    def expired_first(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([], oldest.id) if oldest in found.items else found

    world.reader.oldest_first = expired_first  # type: ignore[method-assign]
    world.recovery_rate = 1
    assert world.step() == DRAINING
    assert world.sent() == [second.id]
    assert world.step(settled(world)) is None


def test_a_probe_goes_past_what_is_no_more_so_page_by_page(world: World) -> None:
    """One at a time it would end before the first that still waits."""
    *expired, living = world.wait_for(7)
    batch = world.reader.oldest_first

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    world.reader.oldest_first = without_expired  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, *[SECONDS_FOR_A_STEP - 1] * 9])
    assert world.recovery_job.advance(KEY, FIRST, lambda: next(left)) == DRAINING
    assert world.sent() == [living.id]
    assert len(expired) == 2 * world.recovery_rate


def test_a_long_walk_past_what_is_no_more_so_stops_in_time(world: World) -> None:
    world.drain()
    world.reader.oldest_first = lambda *_: Page([], "more")  # type: ignore[method-assign]
    left = iter([60.0, 60.0, 60.0, SECONDS_FOR_A_STEP - 1])
    assert world.recovery_job.advance(KEY, FIRST, lambda: next(left)) == RecoveryState(
        1, probe=0, past="more"
    )


def test_a_walk_that_takes_more_than_a_step_goes_on_where_it_was(world: World) -> None:
    """With a new start each time it would never reach the deliveries at its end."""
    *expired, living = world.wait_for(7)
    world.drain()
    batch = world.reader.oldest_first

    def without_expired(*values: Any, **more: Any) -> Page[Delivery]:
        found = batch(*values, **more)
        return Page([one for one in found.items if one is living], found.next)

    world.reader.oldest_first = without_expired  # type: ignore[method-assign]

    def short_step(before: RecoveryState) -> RecoveryState | None:
        left = iter([60.0, SECONDS_FOR_A_STEP - 1])
        return world.recovery_job.advance(KEY, before, lambda: next(left))

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
    assert world.sent() == [living.id]
    assert world.webhook().health.circuit is Circuit.DRAINING


def test_a_recovery_whose_place_was_taken_ends_and_touches_nothing(world: World) -> None:
    world.wait_for(1)
    world.health_store.replace(KEY, "another", world.now_ms)
    assert world.step() is None
    assert world.sent() == []
    assert world.webhook().health.recovery_id == "another"


def test_a_recovery_of_a_webhook_that_is_disabled_ends_and_keeps_what_waits(world: World) -> None:
    [kept] = world.wait_for(1)
    changes = WebhookChanges(active=False)
    world.store.update("acc_1", samples.WEBHOOK_ID, changes, world.now_ms)
    assert world.step() is None
    assert world.sent() == []
    assert world.stored(kept) == kept
    assert world.webhook().health.recovery_id is None


def test_what_waits_for_a_deleted_webhook_is_cancelled_bit_by_bit(world: World) -> None:
    deliveries = world.wait_for(60)
    world.store.delete("acc_1", samples.WEBHOOK_ID)
    assert world.step() == RecoveryState(1)
    assert [world.stored(one).status for one in deliveries].count(Status.CANCELLED) == 50
    assert world.step() == RecoveryState(1)
    assert {world.stored(one).reason for one in deliveries} == {"webhook_deleted"}
    assert world.step() is None
    assert world.sent() == []


def test_a_long_cancellation_is_not_overdue_while_it_goes_on(world: World) -> None:
    world.wait_for(60)
    left = UnstartedRecovery(KEY.recovery_id, world.now_ms)
    world.store.delete("acc_1", samples.WEBHOOK_ID, unstarted=left)
    world.now_ms += 60_000
    assert world.health_store.overdue(world.now_ms, 10) == [KEY]
    world.step()
    assert world.health_store.overdue(world.now_ms, 10) == []
    world.now_ms += 3_600_000
    assert world.health_store.overdue(world.now_ms, 10) == [KEY]


def test_a_cancellation_that_takes_more_than_a_step_goes_on_where_it_was(world: World) -> None:
    world.store.delete("acc_1", samples.WEBHOOK_ID)
    world.remaining = SECONDS_FOR_A_STEP - 1
    after: list[str | None] = []

    def expired(*values: Any) -> Page[Delivery]:
        after.append(values[-1])
        return Page([], "far" if len(after) < 3 else None)

    world.reader.oldest_first = expired  # type: ignore[assignment]
    step = world.step()
    assert step == RecoveryState(1, past="far")
    assert world.step(step) == step
    assert world.step(step) is None
    assert after == [None, "far", "far"]


def test_a_webhook_without_a_secret_is_waited_for_unsent(world: World) -> None:
    world.wait_for(1)
    world.store.add(world.webhook(), Secrets(None))
    assert world.step(RecoveryState(0, 4, "after")) == RecoveryState(60.0, 4, "after")
    assert world.sent() == []
    assert world.telemetry.counts["SecretMissing"] == 1


def test_too_little_time_is_our_own_trouble_and_sends_nothing(world: World) -> None:
    world.wait_for(1)
    world.remaining = SECONDS_FOR_A_STEP - 0.1
    with pytest.raises(UnavailableError, match="too few"):
        world.step()
    assert world.sent() == []


@pytest.mark.parametrize("broken", ["walk", "record"])
def test_a_step_that_our_own_side_broke_off_is_made_again(world: World, broken: str) -> None:
    deliveries = world.wait_for(2)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    if broken == "record":
        world.deliveries.failures.plan("update", True, True)
    else:
        world.reader.failures.plan("oldest_first", True)
    with pytest.raises(UnavailableError):
        world.step()
    assert world.step() == DRAINING
    assert [len(world.stored(one).attempts) for one in deliveries] == [1, 1]


def test_one_whose_execution_could_not_be_started_is_found_by_the_sweeper(world: World) -> None:
    [delivery] = world.wait_for(1)
    world.drain()
    world.sender.answer = lambda *_: REFUSED
    world.scheduler.failures.plan("start", True)
    assert world.step() is not None
    assert world.stored(delivery).unstarted
    world.now_ms += 700_000
    world.sweep_job.sweep(lambda: world.remaining)
    assert world.scheduler.running(world.stored(delivery))


def test_its_next_step_is_noted_far_enough_ahead_to_be_noted_seldom(world: World) -> None:
    deliveries = world.wait_for(30)
    world.drain()
    steps = 0
    while world.stored(deliveries[-1]).status is Status.WAITING:
        world.step()
        world.now_ms += 1000
        steps += 1
    assert steps == 10
    assert world.health_store.writes.count("keep") == 1
    assert world.webhook().health.recovery_due_at_ms > world.now_ms


@pytest.mark.parametrize(("schedule", "second"), [((0.0,), 1.0), ((30.0, 60.0, 0.0), 60.0)])
def test_no_schedule_has_a_webhook_probed_without_a_pause(
    schedule: tuple[float, ...], second: float
) -> None:
    world = World(recovery_schedule=schedule)
    world.wait_for(3)
    world.sender.answer = lambda *_: REFUSED
    delays = [world.step(RecoveryState(0, probe)) for probe in (1, 2, 3, 500)]
    assert [step and step.seconds for step in delays] == [second, 1.0, 1.0, 1.0]


def test_no_schedule_has_a_missing_secret_looked_for_without_a_pause() -> None:
    world = World(recovery_schedule=(30.0, 0.0))
    world.store.add(world.webhook(), Secrets(None))
    assert world.step(RecoveryState(0, 500)) == RecoveryState(1, 500)


def test_no_schedule_has_a_long_way_gone_anew_without_a_pause() -> None:
    world = World(recovery_schedule=(30.0, 0.0))
    world.drain()
    assert world.step(RecoveryState(0, past="far")) == DRAINING
