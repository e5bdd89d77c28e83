"""What every store promises, held against the fakes and against DynamoDB.

Set `DYNAMODB_ENDPOINT` to the address of a DynamoDB Local to hold it against AWS's own engine too.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from moto import mock_aws

from support import samples
from support.fakes import FakeApiKeyStore, FakeDeliveryStore, FakeWebhookStore
from support.tables import create_tables
from webhooks.adapters.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.dynamodb import (
    DynamoDBApiKeyStore,
    DynamoDBDestinationStore,
    DynamoDBWebhookStore,
)
from webhooks.domain.api_key import ApiKey
from webhooks.domain.delivery import AttemptError, DeliveryKey, Status
from webhooks.domain.errors import LimitReached
from webhooks.domain.event import Event, EventType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.ports import ApiKeyStore, DeliveryStore, DestinationStore, WebhookStore

BACKENDS = ["fake", "moto"] + (["dynamodb-local"] if "DYNAMODB_ENDPOINT" in os.environ else [])


DAY_MS = 86_400_000


class Stores(NamedTuple):
    webhooks: WebhookStore
    destinations: DestinationStore
    deliveries: DeliveryStore
    api_keys: ApiKeyStore


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "fake":
        webhooks = FakeWebhookStore()
        yield Stores(webhooks, webhooks, FakeDeliveryStore(), FakeApiKeyStore())
    elif request.param == "moto":
        with mock_aws():
            client = _client(None)
            create_tables(client)
            yield _on_dynamodb(client)
    else:
        client = _client(os.environ["DYNAMODB_ENDPOINT"])
        for table in client.list_tables()["TableNames"]:
            client.delete_table(TableName=table)
        create_tables(client)
        yield _on_dynamodb(client)


def _client(endpoint_url: str | None) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def _on_dynamodb(client: Any) -> Stores:
    return Stores(
        DynamoDBWebhookStore(client, "WebhooksTable"),
        DynamoDBDestinationStore(client, "WebhooksTable"),
        DynamoDBDeliveryStore(
            client, "DeliveriesTable", retention_days=30, clock=lambda: samples.NOW_MS / 1000
        ),
        DynamoDBApiKeyStore(client, "ApiKeysTable"),
    )


def test_a_webhook_comes_back_as_it_was_put_in(stores: Stores) -> None:
    webhook = samples.webhook(description="orders", headers={"X-Team": "mail"})
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook
    assert stores.webhooks.page("acc_1", 10).webhooks == [webhook]


def test_only_a_destination_holds_the_secret(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    [found] = stores.destinations.destinations("acc_1")
    assert found.webhook == webhook
    assert found.secrets.live(samples.NOW_MS) == (samples.SECRET,)
    assert stores.destinations.destination("acc_1", webhook.id) == found
    assert samples.SECRET not in repr(stores.webhooks.get("acc_1", webhook.id))


def test_another_accounts_webhook_is_absent(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert stores.webhooks.get("acc_2", webhook.id) is None
    assert stores.webhooks.page("acc_2", 10).webhooks == []
    assert stores.destinations.destinations("acc_2") == []
    assert stores.destinations.destination("acc_2", webhook.id) is None
    assert not stores.webhooks.delete("acc_2", webhook.id)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook


def test_webhooks_are_paged_newest_first_without_a_gap(stores: Stores) -> None:
    for number in (3, 1, 2, 5, 4):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=5)
    seen, before = [], None
    while True:
        page = stores.webhooks.page("acc_1", 2, before)
        seen += [webhook.id for webhook in page.webhooks]
        before = page.next_before
        if before is None:
            break
    assert seen == [samples.webhook(number).id for number in (5, 4, 3, 2, 1)]


def test_a_full_last_page_has_no_next_one(stores: Stores) -> None:
    for number in (1, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=5)
    assert stores.webhooks.page("acc_1", 2).next_before is None


def test_the_limit_holds_and_a_deletion_makes_room(stores: Stores) -> None:
    for number in (1, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=2)
    with pytest.raises(LimitReached):
        stores.webhooks.create(samples.webhook(3), samples.SECRET, limit=2)
    assert stores.webhooks.delete("acc_1", samples.webhook(1).id)
    assert not stores.webhooks.delete("acc_1", samples.webhook(1).id)
    stores.webhooks.create(samples.webhook(3), samples.SECRET, limit=2)
    assert len(stores.webhooks.page("acc_1", 10).webhooks) == 2


def test_the_limit_is_each_accounts_own(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(1), samples.SECRET, limit=1)
    stores.webhooks.create(samples.webhook(2, account_id="acc_2"), samples.SECRET, limit=1)
    assert len(stores.destinations.destinations("acc_2")) == 1


def test_a_webhook_is_disabled_once(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert stores.destinations.disable("acc_1", webhook.id, "gone", samples.NOW_MS + 1)
    assert not stores.destinations.disable("acc_1", webhook.id, "gone", samples.NOW_MS + 2)
    assert stores.webhooks.get("acc_1", webhook.id) == replace(
        webhook, active=False, disabled_reason="gone", updated_at_ms=samples.NOW_MS + 1
    )


def test_a_deleted_webhook_is_not_made_again_by_disabling_it(stores: Stores) -> None:
    assert not stores.destinations.disable("acc_1", samples.WEBHOOK_ID, "gone", samples.NOW_MS)
    assert stores.webhooks.get("acc_1", samples.WEBHOOK_ID) is None


def test_an_api_key_is_found_by_its_hash(stores: Stores) -> None:
    key = ApiKey("h" * 64, "key_1", "acc_1", "first", "90ab", samples.NOW_MS)
    revoked = replace(key, key_hash="r" * 64, id="key_2", revoked_at_ms=samples.NOW_MS)
    stores.api_keys.create(key)
    stores.api_keys.create(revoked)
    assert stores.api_keys.get("h" * 64) == key
    assert stores.api_keys.get("r" * 64) == revoked
    assert stores.api_keys.get("x" * 64) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"body": b'{"a":"' + b"x" * 5000 + b'"}'},
        {"body": '{"a":"\\u0000 \\ud800 ü \U0001f600"}'.encode()},
        {"status": Status.EXHAUSTED, "next_attempt_at_ms": None, "reason": "timeout"},
        {"attempts": (), "status": Status.WAITING, "next_attempt_at_ms": None},
        {
            "attempts": (
                samples.attempt(1, status_code=None, error=AttemptError.TIMEOUT, answer=""),
                samples.attempt(2, answer="é\\x00 " + "y" * 1000),
            )
        },
    ],
)
def test_a_delivery_comes_back_as_it_was_put_in(stores: Stores, changes: dict[str, Any]) -> None:
    delivery = samples.delivery(**changes)
    assert stores.deliveries.create(delivery) == delivery
    assert stores.deliveries.get(delivery.key) == delivery
    assert stores.deliveries.get_many([delivery.key]) == {delivery.key: delivery}


def test_creating_a_delivery_twice_returns_the_first(stores: Stores) -> None:
    first = samples.delivery()
    second = samples.delivery(attempts=(samples.attempt(started_at_ms=samples.NOW_MS + 9),))
    assert stores.deliveries.create(first) == first
    assert stores.deliveries.create(second) == first
    assert stores.deliveries.get(first.key) == first


def test_a_failure_never_overwrites_a_success(stores: Stores) -> None:
    success = _succeeded(samples.delivery(attempts=(), next_attempt_at_ms=None))
    assert stores.deliveries.put_settled([success]) == []
    failure = samples.delivery()
    assert stores.deliveries.create(failure) == success
    assert not stores.deliveries.update(failure, attempts_before=1)
    assert stores.deliveries.get(success.key) == success


def test_a_success_is_written_over_a_failure(stores: Stores) -> None:
    stores.deliveries.create(samples.delivery())
    success = _succeeded(samples.delivery(attempts=(), next_attempt_at_ms=None))
    assert stores.deliveries.put_settled([success]) == []
    assert stores.deliveries.get(success.key) == success


def test_more_deliveries_than_one_request_takes_are_written_and_read(stores: Stores) -> None:
    deliveries = [_succeeded(samples.delivery(number)) for number in range(1, 121)]
    assert stores.deliveries.put_settled(deliveries) == []
    keys = [delivery.key for delivery in deliveries]
    absent = DeliveryKey("acc_1", samples.WEBHOOK_ID, "00000000-0000-7000-8000-000000000000")
    assert stores.deliveries.get_many([*keys, absent]) == dict(zip(keys, deliveries, strict=True))


def test_an_attempt_is_recorded_over_a_delivery_under_way(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    after = delivery.after(samples.attempt(2), Status.EXHAUSTED)
    assert stores.deliveries.update(after, attempts_before=1)
    assert stores.deliveries.get(delivery.key) == after


def test_recording_the_same_attempt_again_is_known_as_done(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    after = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    assert stores.deliveries.update(after, attempts_before=1)
    assert stores.deliveries.update(after, attempts_before=1)
    stored = stores.deliveries.get(delivery.key)
    assert stored is not None
    assert [attempt.number for attempt in stored.attempts] == [1, 2]


def test_the_slower_of_two_recorders_is_told(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    faster = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    slower = delivery.after(samples.attempt(2, duration_ms=99), Status.RETRYING, samples.NOW_MS)
    assert stores.deliveries.update(faster, attempts_before=1)
    assert not stores.deliveries.update(slower, attempts_before=1)
    assert stores.deliveries.get(delivery.key) == faster


def test_an_absent_delivery_cannot_be_updated(stores: Stores) -> None:
    assert not stores.deliveries.update(samples.delivery(), attempts_before=1)
    assert stores.deliveries.get(samples.delivery().key) is None


def test_a_hundred_recorders_of_one_attempt_leave_one(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    rivals = [
        delivery.after(samples.attempt(2, duration_ms=number), Status.EXHAUSTED)
        for number in range(100)
    ]
    with ThreadPoolExecutor(16) as pool:
        results = list(
            pool.map(lambda rival: stores.deliveries.update(rival, attempts_before=1), rivals)
        )
    assert results.count(True) == 1
    assert stores.deliveries.get(delivery.key) == rivals[results.index(True)]


def test_a_delivery_is_kept_for_its_retention_from_the_last_that_happened() -> None:
    waiting_ms = samples.NOW_MS + 40 * DAY_MS
    with mock_aws():
        client = _client(None)
        create_tables(client)
        now = samples.NOW_MS / 1000
        store = DynamoDBDeliveryStore(
            client, "DeliveriesTable", retention_days=30, clock=lambda: now
        )
        delivery = samples.delivery(next_attempt_at_ms=waiting_ms)
        store.create(delivery)
        now = waiting_ms / 1000
        assert store.get(delivery.key) == delivery
        late = samples.attempt(2, started_at_ms=waiting_ms)
        exhausted = delivery.after(late, Status.EXHAUSTED)
        assert store.update(exhausted, attempts_before=1)
        now = waiting_ms / 1000 + 30 * DAY_MS / 1000 - 1
        assert store.get(delivery.key) == exhausted
        assert store.get_many([delivery.key]) == {delivery.key: exhausted}
        now += 1
        assert store.get(delivery.key) is None
        assert store.get_many([delivery.key]) == {}
        again = samples.delivery(created_at_ms=int(now * 1000))
        assert store.create(again) == again


def test_the_first_copys_time_holds_for_all_copies_of_an_event(stores: Stores) -> None:
    first = _event(samples.NOW_MS)
    assert stores.deliveries.claim(first) == samples.NOW_MS
    assert stores.deliveries.claim(_event(samples.NOW_MS + 9)) == samples.NOW_MS
    assert stores.deliveries.claim(first) == samples.NOW_MS
    other = replace(_event(samples.NOW_MS + 9), account_id="acc_2")
    assert stores.deliveries.claim(other) == samples.NOW_MS + 9


def _event(occurred_at_ms: int) -> Event:
    return Event(
        account_id="acc_1",
        id=samples.EVENT_ID,
        type=EventType.DELIVERED,
        transaction_id="txn_1",
        timestamp="2025-12-21T10:30:00.000Z",
        occurred_at_ms=occurred_at_ms,
        body=b"{}",
        id_fixes_time=False,
    )


def _succeeded(delivery: Any) -> Any:
    attempt = samples.attempt(1, status_code=200, error=None, answer="")
    return replace(delivery, attempts=(attempt,), status=Status.SUCCEEDED, next_attempt_at_ms=None)
