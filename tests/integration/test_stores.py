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
from webhooks.adapters import items
from webhooks.adapters.api_keys import DynamoDBApiKeyStore
from webhooks.adapters.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.delivery_log import DynamoDBDeliveryLog
from webhooks.adapters.dynamodb import (
    DynamoDBDestinationStore,
    DynamoDBWebhookStore,
)
from webhooks.domain.api_key import ApiKey, Scope
from webhooks.domain.delivery import AttemptError, DeliveryKey, Status, delivery_id
from webhooks.domain.errors import LimitReached
from webhooks.domain.event import Event, EventType
from webhooks.ports import DeliveryQuery, WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.delivery import Delivery
    from webhooks.ports import (
        ApiKeyStore,
        DeliveryLog,
        DeliveryStore,
        DestinationStore,
        WebhookStore,
    )

BACKENDS = ["fake", "moto"] + (["dynamodb-local"] if "DYNAMODB_ENDPOINT" in os.environ else [])


DAY_MS = 86_400_000


class Stores(NamedTuple):
    webhooks: WebhookStore
    destinations: DestinationStore
    deliveries: DeliveryStore
    log: DeliveryLog
    api_keys: ApiKeyStore


@pytest.fixture(params=BACKENDS)
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    if request.param == "fake":
        webhooks = FakeWebhookStore()
        deliveries = FakeDeliveryStore()
        yield Stores(webhooks, webhooks, deliveries, deliveries, FakeApiKeyStore())
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
    def clock() -> float:
        return samples.NOW_MS / 1000

    deliveries = DynamoDBDeliveryStore(client, "DeliveriesTable", retention_days=30, clock=clock)
    return Stores(
        DynamoDBWebhookStore(client, "WebhooksTable"),
        DynamoDBDestinationStore(client, "WebhooksTable"),
        deliveries,
        DynamoDBDeliveryLog(client, "DeliveriesTable", deliveries, clock=clock),
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


def _key(number: int, **changes: Any) -> ApiKey:
    values: dict[str, Any] = {
        "key_hash": f"{number:064x}",
        "id": f"key_{number:016x}",
        "account_id": "acc_1",
        "name": f"key {number}",
        "last_four": "90ab",
        "created_at_ms": samples.NOW_MS + number,
        **changes,
    }
    return ApiKey(**values)


def test_an_api_keys_scopes_and_last_use_are_kept(stores: Stores) -> None:
    key = _key(1, scopes=frozenset({Scope.READ, Scope.PUBLISH}))
    stores.api_keys.create(key)
    stores.api_keys.touch(key.key_hash, samples.NOW_MS)
    used = replace(key, last_used_at_ms=samples.NOW_MS)
    assert stores.api_keys.get(key.key_hash) == used
    assert stores.api_keys.page("acc_1", 10).keys == [used]


def test_an_api_key_is_found_by_its_id_in_its_own_account_only(stores: Stores) -> None:
    key, foreign = _key(1), _key(2, account_id="acc_2")
    stores.api_keys.create(key)
    stores.api_keys.create(foreign)
    assert stores.api_keys.find("acc_1", key.id) == key
    assert stores.api_keys.find("acc_2", key.id) is None
    assert stores.api_keys.find("acc_1", "key_0") is None


def test_api_keys_are_paged_newest_first_without_a_gap(stores: Stores) -> None:
    for number in (3, 1, 5, 2, 4):
        stores.api_keys.create(_key(number))
    stores.api_keys.create(_key(6, account_id="acc_2"))
    first = stores.api_keys.page("acc_1", 2)
    second = stores.api_keys.page("acc_1", 2, first.next_before)
    third = stores.api_keys.page("acc_1", 2, second.next_before)
    assert first.keys + second.keys + third.keys == [_key(number) for number in (5, 4, 3, 2, 1)]
    assert third.next_before is None
    assert stores.api_keys.page("acc_3", 2) == ([], None)


def test_an_api_key_is_revoked_once_and_stays(stores: Stores) -> None:
    key = _key(1)
    stores.api_keys.create(key)
    assert stores.api_keys.revoke(key.key_hash, samples.NOW_MS)
    assert not stores.api_keys.revoke(key.key_hash, samples.NOW_MS + 1)
    assert stores.api_keys.get(key.key_hash) == replace(key, revoked_at_ms=samples.NOW_MS)


def test_an_absent_api_key_is_neither_revoked_nor_made(stores: Stores) -> None:
    assert not stores.api_keys.revoke("0" * 64, samples.NOW_MS)
    assert stores.api_keys.get("0" * 64) is None


def test_an_api_key_is_revoked_only_while_the_other_one_is_active(stores: Stores) -> None:
    key, other = _key(1), _key(2)
    stores.api_keys.create(key)
    stores.api_keys.create(other)
    assert stores.api_keys.revoke(key.key_hash, samples.NOW_MS, while_active=other.key_hash)
    assert not stores.api_keys.revoke(other.key_hash, samples.NOW_MS, while_active=key.key_hash)
    assert not stores.api_keys.revoke(other.key_hash, samples.NOW_MS, while_active="0" * 64)
    assert stores.api_keys.get(other.key_hash) == other


def test_an_api_key_from_before_there_were_scopes_has_them_all() -> None:
    item = items.api_key_item(_key(1))
    del item["scopes"]
    assert items.read_api_key(item).scopes == {Scope.READ, Scope.WRITE, Scope.PUBLISH}


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
    assert not stores.deliveries.update(failure, before=samples.delivery())
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
    assert stores.deliveries.update(after, before=samples.delivery())
    assert stores.deliveries.get(delivery.key) == after


def test_recording_the_same_attempt_again_is_known_as_done(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    after = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    assert stores.deliveries.update(after, before=samples.delivery())
    assert stores.deliveries.update(after, before=samples.delivery())
    stored = stores.deliveries.get(delivery.key)
    assert stored is not None
    assert [attempt.number for attempt in stored.attempts] == [1, 2]


def test_the_slower_of_two_recorders_is_told(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    faster = delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)
    slower = delivery.after(samples.attempt(2, duration_ms=99), Status.RETRYING, samples.NOW_MS)
    assert stores.deliveries.update(faster, before=samples.delivery())
    assert not stores.deliveries.update(slower, before=samples.delivery())
    assert stores.deliveries.get(delivery.key) == faster


def test_an_absent_delivery_cannot_be_updated(stores: Stores) -> None:
    assert not stores.deliveries.update(samples.delivery(), before=samples.delivery())
    assert stores.deliveries.get(samples.delivery().key) is None


def test_a_hundred_recorders_of_one_attempt_leave_one(
    stores: Stores, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["stores"] == "moto":
        pytest.skip("moto checks a condition and writes with no lock around both")
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    rivals = [
        delivery.after(samples.attempt(2, duration_ms=number), Status.EXHAUSTED)
        for number in range(100)
    ]
    with ThreadPoolExecutor(16) as pool:
        results = list(
            pool.map(
                lambda rival: stores.deliveries.update(rival, before=samples.delivery()), rivals
            )
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
        assert store.update(exhausted, before=samples.delivery())
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


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"url": "https://new.example.com/"}, {"url": "https://new.example.com/"}),
        ({"events": ["*"]}, {"events": ("*",)}),
        ({"active": False}, {"active": False}),
        ({"description": "new"}, {"description": "new"}),
        ({"description": ""}, {"description": ""}),
        ({"headers": {"X-Team": "new"}}, {"headers": {"X-Team": "new"}}),
        ({"headers": {}}, {"headers": {}}),
        (
            {"url": "https://new.example.com/", "active": False},
            {"url": "https://new.example.com/", "active": False},
        ),
    ],
)
def test_an_owner_changes_what_is_named_and_nothing_else(
    stores: Stores, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    webhook = samples.webhook(description="old", headers={"X-Team": "old"})
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    later_ms = samples.NOW_MS + 5
    changed = stores.webhooks.update("acc_1", webhook.id, WebhookChanges(**changes), later_ms)
    assert changed == replace(webhook, updated_at_ms=later_ms, **expected)
    assert stores.webhooks.get("acc_1", webhook.id) == changed
    [destination] = stores.destinations.destinations("acc_1")
    assert destination.secrets.live(later_ms) == (samples.SECRET,)


def test_switching_a_webhook_on_forgets_why_it_was_off(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    stores.destinations.disable("acc_1", webhook.id, "gone", samples.NOW_MS)
    changed = stores.webhooks.update(
        "acc_1", webhook.id, WebhookChanges(active=True), samples.NOW_MS + 5
    )
    assert changed == replace(webhook, updated_at_ms=samples.NOW_MS + 5)


def test_an_absent_webhook_is_neither_changed_nor_made(stores: Stores) -> None:
    changes = WebhookChanges(active=False)
    assert stores.webhooks.update("acc_1", samples.WEBHOOK_ID, changes, samples.NOW_MS) is None
    assert not stores.webhooks.rotate_secret(
        "acc_1", samples.WEBHOOK_ID, "x" * 16, previous_until_ms=0, now_ms=samples.NOW_MS
    )
    stores.destinations.end_overlap("acc_1", samples.WEBHOOK_ID, samples.SECRET)
    assert stores.webhooks.get("acc_1", samples.WEBHOOK_ID) is None


def test_a_rotated_secret_lives_on_for_its_overlap(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    until_ms = samples.NOW_MS + 1000
    assert stores.webhooks.rotate_secret(
        "acc_1", webhook.id, "the-new-secret-16", previous_until_ms=until_ms, now_ms=samples.NOW_MS
    )
    secrets = _secrets(stores)
    assert secrets.live(until_ms - 1) == ("the-new-secret-16", samples.SECRET)
    assert secrets.live(until_ms) == ("the-new-secret-16",)
    stores.destinations.end_overlap("acc_1", webhook.id, samples.SECRET)
    assert _secrets(stores) == secrets
    stores.destinations.end_overlap("acc_1", webhook.id, "the-new-secret-16")
    assert _secrets(stores).live(samples.NOW_MS) == ("the-new-secret-16",)


def test_a_rotation_without_overlap_forgets_every_older_secret(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    for number, until_ms in ((1, samples.NOW_MS + 1000), (2, samples.NOW_MS)):
        stores.webhooks.rotate_secret(
            "acc_1",
            webhook.id,
            f"the-new-secret-{number}",
            previous_until_ms=until_ms,
            now_ms=samples.NOW_MS,
        )
    assert _secrets(stores).live(samples.NOW_MS) == ("the-new-secret-2",)


def test_a_manual_attempt_is_recorded_over_a_settled_delivery(stores: Stores) -> None:
    exhausted = samples.delivery(status=Status.EXHAUSTED, next_attempt_at_ms=None)
    stores.deliveries.create(exhausted)
    again = exhausted.after(
        samples.attempt(2, status_code=200, error=None, manual=True), Status.SUCCEEDED
    )
    assert not stores.deliveries.update(again, before=samples.delivery())
    assert stores.deliveries.update(again, before=exhausted)
    assert stores.deliveries.get(again.key) == again
    assert stores.log.page(_query(status=Status.EXHAUSTED), 10).deliveries == []


def _hourly(count: int, **changes: Any) -> list[Delivery]:
    """One delivery an hour, oldest first, every third exhausted and every other bounced."""
    deliveries = []
    for hour in range(count):
        values = {
            "id": delivery_id(f"evt_{hour}", samples.NOW_MS + hour * 3_600_000, samples.WEBHOOK_ID),
            "event_id": f"evt_{hour}",
            "event_type": "email.bounced" if hour % 2 else "email.delivered",
            **changes,
        }
        exhausted = samples.delivery(
            **values, status=Status.EXHAUSTED, next_attempt_at_ms=None, reason="timeout"
        )
        deliveries.append(exhausted if hour % 3 == 0 else _succeeded(samples.delivery(**values)))
    return deliveries


def _query(**filters: Any) -> DeliveryQuery:
    return DeliveryQuery("acc_1", samples.WEBHOOK_ID, **filters)


def _pages(stores: Stores, query: DeliveryQuery, limit: int) -> list[Delivery]:
    found, before = [], None
    for _ in range(100):
        page = stores.log.page(query, limit, before)
        assert len(page.deliveries) <= limit
        found += page.deliveries
        before = page.next_before
        if before is None:
            return found
    pytest.fail("the pages do not end")


@pytest.mark.parametrize("limit", [1, 4, 30])
@pytest.mark.parametrize(
    ("filters", "hours"),
    [
        ({}, range(30)),
        ({"status": Status.EXHAUSTED}, range(0, 30, 3)),
        ({"status": Status.SUCCEEDED}, [hour for hour in range(30) if hour % 3]),
        ({"status": Status.WAITING}, []),
        ({"event_type": "email.bounced"}, range(1, 30, 2)),
        ({"status": Status.EXHAUSTED, "event_type": "email.bounced"}, range(3, 30, 6)),
        ({"since_ms": samples.NOW_MS + 5 * 3_600_000}, range(5, 30)),
        ({"until_ms": samples.NOW_MS + 5 * 3_600_000}, range(6)),
        (
            {
                "since_ms": samples.NOW_MS + 2 * 3_600_000,
                "until_ms": samples.NOW_MS + 8 * 3_600_000,
                "status": Status.EXHAUSTED,
            },
            (3, 6),
        ),
    ],
)
def test_the_log_shows_what_matches_newest_first_on_any_page_size(
    stores: Stores, limit: int, filters: dict[str, Any], hours: Any
) -> None:
    deliveries = _hourly(30)
    for delivery in [*deliveries, samples.delivery(2), samples.delivery(account_id="acc_2")]:
        stores.deliveries.create(delivery)
    expected = [deliveries[hour] for hour in reversed(list(hours))]
    assert _pages(stores, _query(**filters), limit) == expected


def _secrets(stores: Stores) -> Any:
    [destination] = stores.destinations.destinations("acc_1")
    return destination.secrets


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
