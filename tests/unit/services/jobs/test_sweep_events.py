"""Operational events that could not be published are kept, and the sweep publishes them."""

from __future__ import annotations

import pytest

from support import samples
from support.service_fixture import ServiceFixture
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
def services() -> ServiceFixture:
    services = ServiceFixture()
    services.add()
    return services


def event(number: int, at_ms: int = samples.NOW_MS) -> OperationalEvent:
    return OperationalEvent(
        OperationalEventType.DELIVERY_EXHAUSTED,
        "acc_1",
        samples.WEBHOOK_ID,
        at_ms + number,
        {"delivery_id": f"d{number:04}", "attempts": 2},
    )


def keep(services: ServiceFixture, number: int) -> list[OperationalEvent]:
    events = [event(each) for each in range(number)]
    for each in events:
        services.kept_events.keep(each)
    return events


def sweep(services: ServiceFixture) -> int:
    return services.sweep_job.sweep(lambda: services.remaining).operational_events


def test_an_event_that_the_bus_does_not_take_is_kept_and_published_by_the_sweep(
    services: ServiceFixture,
) -> None:
    services.operational_events.failures.plan("publish", True)
    services.health.report(
        services.webhook(), [samples.attempt(n) for n in range(FAILURES_TO_OPEN)]
    )
    assert services.operational_events.published == []
    assert services.telemetry.counts["KeptOperationalEvents"] == 1
    assert "LostOperationalEvents" not in services.telemetry.counts
    [line] = services.telemetry.logged("operational_event_kept")
    assert (line["type"], line["webhook_id"]) == ("webhook.down", samples.WEBHOOK_ID)
    happened_ms = services.now_ms
    services.now_ms += MINUTE_MS
    assert sweep(services) == 1
    [published] = services.operational_events.published
    # Unchanged, with the time at which it happened.
    assert (published.type, published.at_ms) == (OperationalEventType.WEBHOOK_DOWN, happened_ms)
    assert published.facts["failures"] == FAILURES_TO_OPEN
    assert services.kept_events.events == {}
    assert sweep(services) == 0


def test_partly_published_events_stay_in_part(services: ServiceFixture) -> None:
    events = keep(services, 25)
    services.operational_events.refuse = [events[3], events[24]]
    assert sweep(services) == 23
    assert list(services.kept_events.events.values()) == services.operational_events.refuse
    services.operational_events.refuse = []
    assert sweep(services) == 2
    assert sorted(services.operational_events.published, key=lambda one: one.at_ms) == events


def test_a_bus_that_does_not_answer_fails_no_sweep_and_is_asked_once(
    services: ServiceFixture,
) -> None:
    keep(services, 25)
    services.operational_events.failures.plan("publish_all", True)
    assert sweep(services) == 0
    assert len(services.kept_events.events) == 25
    # The sweep completed, which its own alarm watches.
    assert services.telemetry.counts["OverdueDeliveries"] == 0
    assert "OverdueOperationalEvents" not in services.telemetry.counts
    assert sweep(services) == 25


def test_what_waits_for_long_is_counted_for_an_alarm(services: ServiceFixture) -> None:
    keep(services, 15)
    services.now_ms += LATE_SECONDS * 1000 + 100
    services.operational_events.failures.plan("publish_all", True)
    sweep(services)
    assert services.telemetry.counts["OverdueOperationalEvents"] == 15


@pytest.mark.parametrize("answers", [True, False])
def test_after_four_days_an_event_is_given_up_and_the_log_has_all_of_it(
    services: ServiceFixture, *, answers: bool
) -> None:
    old = keep(services, 12)
    young = event(0, samples.NOW_MS + MINUTE_MS)
    services.kept_events.keep(young)
    services.now_ms += KEPT_SECONDS * 1000 + 100
    services.operational_events.refuse = [*old, young]
    services.operational_events.failures.plan("publish_all", not answers)
    assert sweep(services) == 0
    assert list(services.kept_events.events.values()) == [young]
    assert services.telemetry.counts["LostOperationalEvents"] == 12
    lines = services.telemetry.logged("operational_event_lost")
    assert [line["at_ms"] for line in lines] == [one.at_ms for one in old]
    assert [line["facts"] for line in lines] == [dict(one.facts) for one in old]


def test_an_event_whose_removal_fails_is_published_again_and_never_lost(
    services: ServiceFixture,
) -> None:
    [only] = keep(services, 1)
    services.kept_events.failures.plan("forget", True)
    with pytest.raises(Exception, match="forget"):
        sweep(services)
    assert sweep(services) == 1
    assert services.operational_events.published == [only, only]


def test_a_sweep_publishes_so_many_and_leaves_time_for_deliveries(services: ServiceFixture) -> None:
    keep(services, SWEPT_AT_ONCE + 30)
    assert sweep(services) == SWEPT_AT_ONCE
    services.remaining = 9.0
    assert sweep(services) == 0
    services.remaining = 60.0
    assert sweep(services) == 30


def test_one_that_cannot_be_read_is_named_and_the_others_are_published(
    services: ServiceFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(services, 3)
    page = services.kept_events.page
    monkeypatch.setattr(
        services.kept_events,
        "page",
        lambda *args: page(*args)._replace(unreadable=[KeptEventKey("odd")]),
    )
    assert sweep(services) == 3
    assert services.telemetry.counts["UnreadableRecords"] == 1
    assert services.telemetry.logged("record_unreadable") == [{"kept_event_id": "odd"}]
    # The sweep completed.
    assert services.telemetry.counts["OverdueDeliveries"] == 0
