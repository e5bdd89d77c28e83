"""The cost of lists in read units, for items of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.engines import MOTO
from support.metered import MeteredClient
from support.stores import Clock, on_dynamodb, open_dynamodb, webhook_store
from webhooks.adapters.dynamodb.read_units import MAX_LIST_UNITS, ReadUnits
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.selection import Selection
from webhooks.ports import DeliveryQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

DELIVERIES = 60
SIZES = [(1_000, False), (62_000, False), (62_000, True), (165_000, True), (409_600, False)]
"""Bytes of an item, and whether the engine is DynamoDB Local."""

MOST = 500
"""Read units of a call; its look-ups of the key and the webhook are among them."""


def numbered(number: int) -> Delivery:
    event_id = f"evt_{number}"
    statuses = (Status.SUCCEEDED, Status.EXHAUSTED, Status.WAITING)
    return samples.delivery(
        id=delivery_id(event_id, samples.NOW_MS + number, samples.WEBHOOK_ID),
        event_id=event_id,
        event_type="email.opened" if number % 10 == 0 else "email.sent",
        status=statuses[number % 3],
        next_attempt_at_ms=None,
    )


ALL = [numbered(number) for number in range(DELIVERIES)]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Give a table with all deliveries, which nothing changes."""
    with open_dynamodb(MOTO) as client:
        assert on_dynamodb(client, Clock()).deliveries.put_settled(ALL) == []
        yield client


@pytest.mark.parametrize("engine", SIZES)
@pytest.mark.parametrize("limit", [7, 100])
@pytest.mark.parametrize(
    ("status", "event_type"),
    [
        (None, None),
        (None, "email.opened"),
        (None, "email.clicked"),
        (Status.SUCCEEDED, None),
        (Status.CANCELLED, None),
        (Status.EXHAUSTED, None),
        (Status.EXHAUSTED, "email.opened"),
        (Status.RETRYING, None),
    ],
)
def test_a_page_of_the_log_is_bounded_and_the_next_goes_on(
    client: Any, engine: tuple[int, bool], limit: int, status: Status | None, event_type: str | None
) -> None:
    metered = MeteredClient(client, engine[0], local=engine[1])
    log = on_dynamodb(metered, Clock()).log  # type: ignore[arg-type]
    query = DeliveryQuery("acc_1", samples.WEBHOOK_ID, status, event_type)
    found: list[Delivery] = []
    before: str | None = None
    for _ in range(2 * DELIVERIES):
        used = metered.units
        page = log.page(query, limit, before)
        assert metered.units - used <= MAX_LIST_UNITS < MOST
        assert len(page.items) <= limit
        found += page.items
        before = page.next
        if before is None:
            break
    assert before is None
    assert found == [
        each
        for each in reversed(ALL)
        if status in {None, each.status} and event_type in {None, each.event_type}
    ]


@pytest.mark.parametrize("engine", [each for each in SIZES if each != (165_000, True)])
def test_a_batch_of_a_walk_is_bounded_and_the_next_goes_on(
    client: Any, engine: tuple[int, bool]
) -> None:
    metered = MeteredClient(client, engine[0], local=engine[1])
    walk = on_dynamodb(metered, Clock()).reader  # type: ignore[arg-type]
    selection = Selection.of_all_time(Status.SUCCEEDED)
    found: list[Delivery] = []
    after: str | None = None
    for _ in range(DELIVERIES):
        used = metered.units
        page = walk.oldest_first("acc_1", samples.WEBHOOK_ID, selection, 100, after)
        assert metered.units - used <= MAX_LIST_UNITS
        found += page.items
        after = page.next
        if after is None:
            break
    assert found == [each for each in ALL if each.status is Status.SUCCEEDED]


def test_bodies_are_not_read_for_more_than_a_page(client: Any) -> None:
    metered = MeteredClient(client, 62_000)
    log = on_dynamodb(metered, Clock()).log  # type: ignore[arg-type]
    log.page(DeliveryQuery("acc_1", samples.WEBHOOK_ID, Status.EXHAUSTED), 1)
    assert metered.units == 0.5 + 2 * 16 / 2


def test_what_is_read_of_webhooks_at_once_is_bounded(client: Any) -> None:
    """At a registration, at a change of the url, and at the publication of events."""
    for number in range(150):
        samples_id = f"019b4069-0000-7000-8000-{number:012}"
        webhook = samples.webhook(1, account_id="acc_7", id=samples_id)
        webhook_store(client).create(webhook, samples.SECRET, limit=150)
    metered = MeteredClient(client, 16_000)
    stores = on_dynamodb(metered, Clock())  # type: ignore[arg-type]
    newest = [f"019b4069-0000-7000-8000-{number:012}" for number in range(84, 150)]
    assert {*stores.webhooks.newest_urls("acc_7", consistent=False)} == {*newest}
    assert {*stores.webhooks.newest_urls("acc_7")} == {*newest}
    assert metered.units <= 130 + 260
    used = metered.units
    assert stores.subscriptions.subscriptions("acc_7") is None
    assert metered.units - used <= 260 + 130


def test_a_filter_of_an_indexed_status_takes_few_requests(client: Any) -> None:
    metered = MeteredClient(client, 1_000)
    log = on_dynamodb(metered, Clock()).log  # type: ignore[arg-type]
    query = DeliveryQuery("acc_1", samples.WEBHOOK_ID, Status.EXHAUSTED, "email.clicked")
    page = log.page(query, 1)
    assert (page.items, page.next) == ([], None)
    # All twenty in one query, and nine by nine.
    assert metered.calls == 1 + 3


def test_units_are_counted_as_they_are_reported() -> None:
    units = ReadUnits(most=500)
    assert units.allow_query(consistent=True)
    assert units.allowed_items(consistent=True) == 5
    units.count({"ConsumedCapacity": {"CapacityUnits": 200.0}})
    assert not units.allow_query(consistent=True)
    assert units.allowed_items(consistent=True) == 3
    assert units.allow_query(consistent=False)
    assert units.filtered_items(consistent=False) == 13
    units.count({"ConsumedCapacity": [{"CapacityUnits": 100.0}, {"CapacityUnits": 101.0}]})
    assert not units.allow_query(consistent=False)
    assert units.allowed_items(consistent=False) == 0
    units.count({"ConsumedCapacity": {"CapacityUnits": 600.0}})
    assert units.allowed_items(consistent=True) == 0
