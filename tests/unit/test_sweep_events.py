"""Operational events that could not be published are kept, and the sweep publishes them."""

from __future__ import annotations

import pytest

from support import samples
from support.service_fixture import World
from webhooks.domain.health import FAILURES_TO_OPEN
from webhooks.domain.operational_event import (
    KEPT_SECONDS,
    LATE_SECONDS,
    KeptEventKey,
    OperationalEvent,
    OperationalEventType,
)
from webhooks.services.jobs.sweep_events import SWEPT_AT_ONCE

MINUTE_MS = 60_000


@pytest.fixture
def world() -> World:
    world = World()
    world.add()
    return world


def event(number: int, at_ms: int = samples.NOW_MS) -> OperationalEvent:
    return OperationalEvent(
        OperationalEventType.DELIVERY_EXHAUSTED,
        "acc_1",
        samples.WEBHOOK_ID,
        at_ms + number,
        {"delivery_id": f"d{number:04}", "attempts": 2},
    )


def keep(world: World, number: int) -> list[OperationalEvent]:
    events = [event(each) for each in range(number)]
    for each in events:
        world.kept_events.keep(each)
    return events


def sweep(world: World) -> int:
    return world.sweep_job.sweep(lambda: world.remaining).operational_events


def test_an_event_that_the_bus_does_not_take_is_kept_and_published_by_the_sweep(
    world: World,
) -> None:
    world.operational_events.failures.plan("publish", True)
    world.health.report(world.webhook(), [samples.attempt(n) for n in range(FAILURES_TO_OPEN)])
    assert world.operational_events.published == []
    assert world.telemetry.counts["KeptOperationalEvents"] == 1
    assert "LostOperationalEvents" not in world.telemetry.counts
    [line] = world.telemetry.logged("operational_event_kept")
    assert (line["type"], line["webhook_id"]) == ("webhook.down", samples.WEBHOOK_ID)
    happened_ms = world.now_ms
    world.now_ms += MINUTE_MS
    assert sweep(world) == 1
    [published] = world.operational_events.published
    # Unchanged, with the time at which it happened.
    assert (published.type, published.at_ms) == (OperationalEventType.WEBHOOK_DOWN, happened_ms)
    assert published.facts["failures"] == FAILURES_TO_OPEN
    assert world.kept_events.events == {}
    assert sweep(world) == 0


def test_partly_published_events_stay_in_part(world: World) -> None:
    events = keep(world, 25)
    world.operational_events.refuse = [events[3], events[24]]
    assert sweep(world) == 23
    assert list(world.kept_events.events.values()) == world.operational_events.refuse
    world.operational_events.refuse = []
    assert sweep(world) == 2
    assert sorted(world.operational_events.published, key=lambda one: one.at_ms) == events


def test_a_bus_that_does_not_answer_fails_no_sweep_and_is_asked_once(world: World) -> None:
    keep(world, 25)
    world.operational_events.failures.plan("publish_all", True)
    assert sweep(world) == 0
    assert len(world.kept_events.events) == 25
    # The sweep completed, which its own alarm watches.
    assert world.telemetry.counts["OverdueDeliveries"] == 0
    assert "OverdueOperationalEvents" not in world.telemetry.counts
    assert sweep(world) == 25


def test_what_waits_for_long_is_counted_for_an_alarm(world: World) -> None:
    keep(world, 15)
    world.now_ms += LATE_SECONDS * 1000 + 100
    world.operational_events.failures.plan("publish_all", True)
    sweep(world)
    assert world.telemetry.counts["OverdueOperationalEvents"] == 15


@pytest.mark.parametrize("answers", [True, False])
def test_after_four_days_an_event_is_given_up_and_the_log_has_all_of_it(
    world: World, *, answers: bool
) -> None:
    old = keep(world, 12)
    young = event(0, samples.NOW_MS + MINUTE_MS)
    world.kept_events.keep(young)
    world.now_ms += KEPT_SECONDS * 1000 + 100
    world.operational_events.refuse = [*old, young]
    world.operational_events.failures.plan("publish_all", not answers)
    assert sweep(world) == 0
    assert list(world.kept_events.events.values()) == [young]
    assert world.telemetry.counts["LostOperationalEvents"] == 12
    lines = world.telemetry.logged("operational_event_lost")
    assert [line["at_ms"] for line in lines] == [one.at_ms for one in old]
    assert [line["facts"] for line in lines] == [dict(one.facts) for one in old]


def test_an_event_whose_removal_fails_is_published_again_and_never_lost(world: World) -> None:
    [only] = keep(world, 1)
    world.kept_events.failures.plan("forget", True)
    with pytest.raises(Exception, match="forget"):
        sweep(world)
    assert sweep(world) == 1
    assert world.operational_events.published == [only, only]


def test_a_sweep_publishes_so_many_and_leaves_time_for_deliveries(world: World) -> None:
    keep(world, SWEPT_AT_ONCE + 30)
    assert sweep(world) == SWEPT_AT_ONCE
    world.remaining = 9.0
    assert sweep(world) == 0
    world.remaining = 60.0
    assert sweep(world) == 30


def test_one_that_cannot_be_read_is_named_and_the_others_are_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(world, 3)
    page = world.kept_events.page
    monkeypatch.setattr(
        world.kept_events,
        "page",
        lambda *args: page(*args)._replace(unreadable=[KeptEventKey("odd")]),
    )
    assert sweep(world) == 3
    assert world.telemetry.counts["UnreadableRecords"] == 1
    assert world.telemetry.logged("record_unreadable") == [{"kept_event_id": "odd"}]
    # The sweep completed.
    assert world.telemetry.counts["OverdueDeliveries"] == 0
