"""The contract of the store of unpublished operational events, on the fake and on DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.stores import DYNAMODBS, Clock, on_dynamodb, open_dynamodb
from webhooks.adapters.dynamodb import item_keys
from webhooks.domain.operational_event import (
    KEPT_SECONDS,
    KeptEventKey,
    OperationalEvent,
    OperationalEventType,
)

if TYPE_CHECKING:
    from support.stores import Stores

DOWN = OperationalEvent(
    OperationalEventType.WEBHOOK_DOWN,
    "acc_1",
    samples.WEBHOOK_ID,
    samples.NOW_MS,
    {"failing_since": None, "failures": 10},
)


def exhausted(delivery_id: str, at_ms: int = samples.NOW_MS) -> OperationalEvent:
    facts: dict[str, str | int | None] = {
        "delivery_id": delivery_id,
        "last_error": "http_status",
        "attempts": 2,
    }
    return OperationalEvent(
        OperationalEventType.DELIVERY_EXHAUSTED, "acc_1", samples.WEBHOOK_ID, at_ms, facts
    )


def test_an_event_comes_back_as_it_was_kept_and_once(stores: Stores) -> None:
    assert stores.kept_events.page(10).items == []
    stores.kept_events.keep(DOWN)
    stores.kept_events.keep(DOWN)
    assert stores.kept_events.page(10).items == [DOWN]
    stores.kept_events.forget(DOWN)
    stores.kept_events.forget(DOWN)
    assert stores.kept_events.page(10) == ([], None, ())


def test_events_that_differ_are_kept_side_by_side_the_oldest_first(stores: Stores) -> None:
    events = [
        DOWN,
        replace(DOWN, at_ms=DOWN.at_ms - 1),
        replace(DOWN, account_id="acc_2"),
        replace(DOWN, webhook_id=samples.webhook(2).id),
        replace(DOWN, type=OperationalEventType.WEBHOOK_RECOVERED),
        exhausted("one"),
        exhausted("two"),
        exhausted("three", samples.NOW_MS + 10**9),
    ]
    for event in events:
        stores.kept_events.keep(event)
    found: list[OperationalEvent] = []
    page = stores.kept_events.page(3)
    found += page.items
    while page.next is not None:
        page = stores.kept_events.page(3, page.next)
        found += page.items
    assert [event.at_ms for event in found] == sorted(event.at_ms for event in events)
    assert {repr(event) for event in found} == {repr(event) for event in events}
    assert len(found) == len(events)


@pytest.mark.parametrize("backend", DYNAMODBS)
def test_a_kept_event_outlives_its_tries_and_a_later_versions_is_passed_over(backend: str) -> None:
    clock = Clock()
    with open_dynamodb(backend) as client:
        stores = on_dynamodb(client, clock)
        stores.kept_events.keep(DOWN)
        key = item_keys.kept_event_key(DOWN)
        stored = client.get_item(TableName="DeliveriesTable", Key=key)["Item"]
        assert int(stored["expires_at"]["N"]) > clock() + KEPT_SECONDS
        later = {**stored, "delivery_id": {"S": "0"}, "type": {"S": "webhook.new"}}
        client.put_item(TableName="DeliveriesTable", Item=later)
        assert stores.kept_events.page(10).items == [DOWN]


@pytest.mark.parametrize("backend", DYNAMODBS)
@pytest.mark.parametrize(
    "broken",
    [
        {"at": None},
        {"type": None},
        {"at": {"S": "soon"}},
        {"facts": {"S": "{"}},
        {"facts": {"M": {}}},
    ],
)
def test_one_that_cannot_be_read_keeps_no_other(backend: str, broken: dict[str, Any]) -> None:
    with open_dynamodb(backend) as client:
        stores = on_dynamodb(client, Clock())
        stores.kept_events.keep(DOWN)
        key = item_keys.kept_event_key(DOWN)
        stored = client.get_item(TableName="DeliveriesTable", Key=key)["Item"]
        other = {**stored, "delivery_id": {"S": "0"}, **broken}
        other = {name: value for name, value in other.items() if value is not None}
        client.put_item(TableName="DeliveriesTable", Item=other)
        page = stores.kept_events.page(10)
        assert (page.items, page.unreadable) == ([DOWN], (KeptEventKey("0"),))
