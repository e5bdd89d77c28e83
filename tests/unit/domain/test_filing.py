"""The place of an event in the order of time, and the way to find it there."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import pytest

from support import samples
from support.fakes import FakeRateLimitStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, delivery_id
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.filing import MAX_AHEAD_MS, filed
from webhooks.domain.ingest import read_message
from webhooks.domain.jobs.replay import Replay, select
from webhooks.domain.ses import SesAccounts
from webhooks.domain.shard import ALL, Part, read_part, to_message
from webhooks.domain.timestamps import LATEST_MS, to_text
from webhooks.services.delivery_log import DeliveryFilter, DeliveryLogService
from webhooks.services.rate_limits import RateLimits

NOW_MS = samples.NOW_MS
HOURS_MS = 3_600_000
AHEAD = [MAX_AHEAD_MS + 1, 60_000, 9 * HOURS_MS, LATEST_MS - NOW_MS]


def text(at_ms: int, **changes: object) -> str:
    return samples.event_text(timestamp=to_text(at_ms), **changes)


def times(services: ServiceFixture) -> list[int]:
    """Return the times under which the recorded deliveries are filed."""
    return sorted(UUID(one.id).int >> 80 for one in services.deliveries.deliveries.values())


@pytest.mark.parametrize("own_ms", [0, NOW_MS - 1, NOW_MS, NOW_MS + 1, NOW_MS + MAX_AHEAD_MS])
def test_an_event_of_the_past_or_about_now_is_filed_under_its_own_time(own_ms: int) -> None:
    services = ServiceFixture()
    services.add()
    services.send(text(own_ms))
    assert times(services) == [own_ms]
    assert services.deliveries.claims == {}, "a plain event costs no claim"


@pytest.mark.parametrize("ahead_ms", AHEAD)
def test_an_event_stamped_ahead_is_filed_under_its_acceptance(ahead_ms: int) -> None:
    services = ServiceFixture()
    services.add()
    services.send(text(NOW_MS + ahead_ms))
    assert times(services) == [NOW_MS]
    [(_, body, _)] = services.sender.posts
    assert json.loads(body)["timestamp"] == to_text(NOW_MS + ahead_ms)


@pytest.mark.parametrize("more", [{}, {"id": "evt_mine"}], ids=["derived id", "own id"])
def test_copies_that_are_accepted_at_other_times_are_one_event(more: dict[str, str]) -> None:
    services = ServiceFixture()
    services.add()
    message = text(NOW_MS + 9 * HOURS_MS, **more)
    services.send(message)
    services.now_ms += 60_000
    assert services.send(message, message) == []
    assert times(services) == [NOW_MS]
    assert len(services.sender.posts) == 1


def test_a_record_of_ses_stamped_ahead_is_filed_as_any_event() -> None:
    record = {
        "eventType": "Send",
        "mail": {
            "timestamp": to_text(NOW_MS + HOURS_MS),
            "messageId": "m-1",
            "destination": ["a@example.com"],
        },
        "send": {},
    }
    services = ServiceFixture(ses_accounts=SesAccounts(default="acc_1"))
    services.add(events=("*",))
    for _ in range(2):
        assert services.send(json.dumps(record)) == []
        services.now_ms += 1000
    assert times(services) == [NOW_MS]
    assert len(services.sender.posts) == 1


def test_a_part_of_a_message_keeps_its_settled_time_and_cannot_be_ahead() -> None:
    [event] = read_message(
        text(NOW_MS + HOURS_MS), sent_at_ms=NOW_MS, ses_accounts=SesAccounts()
    ).events
    assert (event.ahead, event.id_fixes_time, event.occurred_at_ms) == (True, False, NOW_MS)
    part = Part(event, ALL, NOW_MS)
    read = read_part(json.loads(to_message(part)), sent_at_ms=NOW_MS + 5)
    assert read.event == replace(event, ahead=False, id_fixes_time=True)
    document = json.loads(to_message(part)) | {"occurred_at_ms": NOW_MS + HOURS_MS}
    assert read_part(document, sent_at_ms=NOW_MS + 5).event.occurred_at_ms == NOW_MS


def test_filing_leaves_the_bytes_alone() -> None:
    [event] = read_message(text(NOW_MS), sent_at_ms=NOW_MS, ses_accounts=SesAccounts()).events
    ahead = filed(event, NOW_MS - HOURS_MS)
    assert replace(ahead, occurred_at_ms=NOW_MS, ahead=False, id_fixes_time=True) == event
    assert filed(event, NOW_MS) is event


def replay(until: str | None) -> Replay:
    return Replay(
        account_id="acc_1",
        webhook_id=samples.WEBHOOK_ID,
        id="019b4069-0000-7000-8000-00000000000a",
        selection=select("2025-01-01T00:00:00Z", until, None, NOW_MS),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )


@pytest.mark.parametrize("until", [None, to_text(NOW_MS), "9999-12-31T23:59:59Z"])
def test_a_replay_up_to_now_reaches_what_is_filed_a_little_ahead(until: str | None) -> None:
    made = replay(until)
    assert made.selection.until_ms == NOW_MS
    assert made.reach.until_ms == NOW_MS + MAX_AHEAD_MS
    assert made.reach._replace(until_ms=NOW_MS) == made.selection
    ahead = samples.delivery(
        id=delivery_id("evt_1", NOW_MS + MAX_AHEAD_MS, samples.WEBHOOK_ID), created_at_ms=NOW_MS
    )
    assert made.takes(ahead)
    assert not made.takes(replace(ahead, created_at_ms=NOW_MS + 1)), "it came after its beginning"
    assert not made.takes(replace(ahead, test=True))
    assert not made.takes(replace(ahead, erased=True))


@pytest.mark.parametrize("ago_ms", [1, MAX_AHEAD_MS])
def test_a_replay_up_to_about_now_reaches_so_too(ago_ms: int) -> None:
    made = replay(to_text(NOW_MS - ago_ms))
    assert made.reach.until_ms == NOW_MS - ago_ms + MAX_AHEAD_MS
    later = samples.delivery(
        id=delivery_id("evt_1", NOW_MS, samples.WEBHOOK_ID), created_at_ms=NOW_MS
    )
    assert not made.takes(later)
    assert made.takes(replace(later, created_at_ms=NOW_MS - ago_ms))


def test_a_replay_up_to_an_earlier_time_reaches_just_that() -> None:
    made = replay(to_text(NOW_MS - MAX_AHEAD_MS - 1))
    assert made.reach == made.selection
    with pytest.raises(InvalidEventError, match="until"):
        replay("tomorrow")


def test_a_list_up_to_now_goes_on_later_where_it_stopped() -> None:
    services = ServiceFixture()
    ahead = [
        services.put(
            samples.delivery(
                id=delivery_id(f"evt_{number}", NOW_MS + 5000 + number, samples.WEBHOOK_ID),
                created_at_ms=NOW_MS,
            )
        )
        for number in range(3)
    ]
    now = iter([NOW_MS, NOW_MS + 60_000, NOW_MS + 120_000])
    delivery_log_service = DeliveryLogService(
        services.deliveries,
        services.deliveries,
        services.scheduler,
        rate_limits=RateLimits(
            FakeRateLimitStore(), limits={}, telemetry=services.telemetry, clock=lambda: 0.0
        ),
        telemetry=services.telemetry,
        cursor_key=b"a key for cursors",
        now_ns=lambda: next(now) * 1_000_000,
    )
    wanted = DeliveryFilter(until=to_text(NOW_MS))
    found: list[Delivery] = []
    cursor: str | None = None
    for _ in range(3):
        page = delivery_log_service.page(samples.webhook(1), wanted, 1, cursor)
        found += page.items
        cursor = page.next
    assert (found, cursor) == (ahead[::-1], None)
