"""An event without a subscribed webhook leaves a trace: a count by cause, and a line."""

from __future__ import annotations

import json

import pytest

from support import samples
from unit.services.dispatch.dispatch_fixture import DispatchFixture
from webhooks.domain.event import accept
from webhooks.domain.shard import ALL, Part, to_message
from webhooks.services.dispatch.unwanted import MAX_LINES


@pytest.fixture
def services() -> DispatchFixture:
    return DispatchFixture()


def lines(services: DispatchFixture) -> list[tuple[str, dict[str, object]]]:
    return [
        (level, fields) for level, name, fields in services.telemetry.lines if "unwanted" in name
    ]


def text(number: int = 0, **changes: object) -> str:
    return samples.event_text(transaction_id=f"txn_{number}", **changes)


def test_events_of_an_account_without_webhooks_are_counted_and_logged_once(
    services: DispatchFixture,
) -> None:
    services.add(account_id="acc_2")
    types = ("email.sent", "email.opened", "email.sent")
    assert services.send(*(text(number, event=each) for number, each in enumerate(types))) == []
    assert services.telemetry.counts["NoSuchAccount"] == 3
    assert "NoMatchingWebhook" not in services.telemetry.counts
    fields = {"account_id": "acc_1", "cause": "NoSuchAccount", "events": 3}
    assert lines(services) == [
        ("warning", {**fields, "event_types": ["email.opened", "email.sent"]})
    ]


def test_events_that_no_webhook_is_subscribed_to_have_another_cause(
    services: DispatchFixture,
) -> None:
    services.add(1, events=("email.bounced",))
    services.add(2, events=("email.opened",), account_id="acc_2")
    assert services.send(text(event="email.sent"), text(event="email.bounced")) == []
    assert services.telemetry.counts["NoMatchingWebhook"] == 1
    assert "NoSuchAccount" not in services.telemetry.counts
    fields = {"account_id": "acc_1", "cause": "NoMatchingWebhook", "events": 1}
    assert lines(services) == [("info", {**fields, "event_types": ["email.sent"]})]


def test_a_webhook_that_is_disabled_is_sent_what_waits_for_it(services: DispatchFixture) -> None:
    services.add(active=False)
    assert services.send(text()) == []
    assert lines(services) == []
    assert services.telemetry.counts.keys().isdisjoint({"NoSuchAccount", "NoMatchingWebhook"})


def test_webhooks_that_cannot_be_read_are_no_cause(services: DispatchFixture) -> None:
    services.store.failures.plan("destinations", True)
    assert services.send(text()) == ["m0"]
    assert lines(services) == []


def test_a_part_is_for_some_webhooks_only_and_says_nothing_of_the_others(
    services: DispatchFixture,
) -> None:
    services.add(events=("email.bounced",))
    event = accept(samples.event_document(event="email.sent"), sent_at_ms=samples.NOW_MS)
    gone = samples.webhook(7).id
    services.send(to_message(Part.naming(event, [gone], samples.NOW_MS)))
    assert lines(services) == []
    # All of an event that was postponed before its webhooks were read.
    services.send(to_message(Part(event, ALL, samples.NOW_MS)))
    assert services.telemetry.counts["NoMatchingWebhook"] == 1


def test_the_lines_of_a_batch_are_bounded_and_the_counts_are_whole(
    services: DispatchFixture,
) -> None:
    accounts = MAX_LINES + 20
    documents = [samples.event_document(account_id=f"acc_{n}", id=f"e{n}") for n in range(accounts)]
    services.send(json.dumps(documents))
    assert services.telemetry.counts["NoSuchAccount"] == accounts
    *first, (_, rest) = lines(services)
    assert (len(first), rest) == (MAX_LINES, {"lines": 20})
