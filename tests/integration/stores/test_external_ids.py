"""External ids: each belongs to one webhook, under parallel calls and lost answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.stores import DYNAMODBS, Clock, on_dynamodb, open_dynamodb
from webhooks.adapters.dynamodb import item_keys
from webhooks.domain.errors import ExternalIdTakenError, LimitReachedError
from webhooks.domain.shard import Shard
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.stores import Stores
    from webhooks.domain.webhook import Webhook

LATER_MS = samples.NOW_MS + 5


def create(stores: Stores, number: int, external_id: str = "", limit: int = 50) -> Webhook:
    webhook = samples.webhook(number, external_id=external_id)
    stores.webhooks.create(webhook, samples.SECRET, limit=limit)
    return webhook


def rename(stores: Stores, webhook: Webhook, external_id: str) -> Webhook | None:
    changes = WebhookChanges(external_id=external_id)
    return stores.webhooks.update("acc_1", webhook.id, changes, LATER_MS)


def found(stores: Stores, external_id: str) -> str | None:
    webhook = stores.webhooks.find("acc_1", external_id)
    return webhook.id if webhook else None


def test_a_webhook_is_found_by_its_external_id(stores: Stores) -> None:
    webhook = create(stores, 1, "billing")
    create(stores, 2)
    assert stores.webhooks.find("acc_1", "billing") == webhook
    assert stores.webhooks.find("acc_1", "Billing") is None
    assert stores.webhooks.find("acc_1", "") is None
    assert stores.webhooks.find("acc_2", "billing") is None


def test_an_external_id_that_is_taken_is_refused_and_nothing_is_made(stores: Stores) -> None:
    create(stores, 1, "billing", limit=3)
    with pytest.raises(ExternalIdTakenError):
        create(stores, 2, "billing", limit=3)
    assert [each.id for each in stores.webhooks.page("acc_1", 9).items] == [samples.webhook(1).id]
    # It was not counted either.
    create(stores, 3, limit=3)
    create(stores, 4, limit=3)
    with pytest.raises(LimitReachedError):
        create(stores, 5, limit=3)


def test_a_creation_that_is_tried_again_is_one_webhook(stores: Stores) -> None:
    webhook = create(stores, 1, "billing", limit=2)
    stores.webhooks.create(webhook, "another-secret-16", limit=2)
    assert stores.webhooks.page("acc_1", 9).items == [webhook]
    [destination] = stores.destinations.destinations("acc_1")
    assert destination.secrets.current == samples.SECRET
    create(stores, 2, limit=2)
    # The limit is reached, but the first call's repeat ignores that.
    stores.webhooks.create(webhook, samples.SECRET, limit=2)


def test_two_accounts_may_have_the_same_external_id(stores: Stores) -> None:
    create(stores, 1, "billing")
    other = samples.webhook(2, account_id="acc_2", external_id="billing")
    stores.webhooks.create(other, samples.SECRET, limit=5)
    assert stores.webhooks.find("acc_2", "billing") == other
    assert found(stores, "billing") == samples.webhook(1).id


def test_an_external_id_moves_with_a_change_and_the_old_one_is_free(stores: Stores) -> None:
    webhook = create(stores, 1, "billing")
    expected = replace(webhook, external_id="crm", updated_at_ms=LATER_MS)
    assert rename(stores, webhook, "crm") == expected
    assert (found(stores, "billing"), stores.webhooks.find("acc_1", "crm")) == (None, expected)
    create(stores, 2, "billing")
    assert rename(stores, webhook, "crm") == expected
    cleared = rename(stores, webhook, "")
    assert cleared == replace(expected, external_id="")
    create(stores, 3, "crm")


def test_a_change_to_an_external_id_that_is_taken_changes_nothing(stores: Stores) -> None:
    create(stores, 1, "billing")
    webhook = create(stores, 2, "crm")
    changes = WebhookChanges(external_id="billing", description="new")
    with pytest.raises(ExternalIdTakenError):
        stores.webhooks.update("acc_1", webhook.id, changes, LATER_MS)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook
    assert found(stores, "crm") == webhook.id


def test_a_deletion_frees_the_external_id(stores: Stores) -> None:
    webhook = create(stores, 1, "billing")
    assert stores.webhooks.delete("acc_1", webhook.id)
    assert found(stores, "billing") is None
    assert rename(stores, webhook, "crm") is None
    create(stores, 2, "billing")
    assert found(stores, "billing") == samples.webhook(2).id


def test_no_list_and_no_sender_meets_what_holds_an_external_id(stores: Stores) -> None:
    webhook = create(stores, 1, "billing")
    assert stores.webhooks.page("acc_1", 9).items == [webhook]
    assert [each.webhook for each in stores.destinations.destinations("acc_1")] == [webhook]
    last = Shard(webhook.id, "ffffffff-ffff-ffff-ffff-ffffffffffff")
    assert [each.webhook for each in stores.destinations.destinations("acc_1", last)] == [webhook]
    assert stores.webhook_ids.next("acc_1", None) == webhook.id
    assert stores.webhook_ids.next("acc_1", webhook.id) is None


def test_what_holds_an_external_id_sorts_after_webhooks_and_before_the_quota() -> None:
    for external_id in ("-", "zzz", "0", "@"):
        [_, sort] = item_keys.external_id_key("acc_1", external_id).values()
        assert item_keys.AFTER_ALL_WEBHOOKS < sort["S"] < item_keys.QUOTA


def at_once(*calls: Callable[[], object]) -> list[object]:
    def outcome(call: Callable[[], object]) -> object:
        try:
            return call()
        except (ExternalIdTakenError, LimitReachedError) as error:
            return type(error)

    with ThreadPoolExecutor(len(calls)) as threads:
        return [*threads.map(outcome, calls)]


@pytest.fixture(params=DYNAMODBS)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_dynamodb(request.param) as client:
        yield client


def test_of_creations_at_once_one_gets_the_external_id(client: Any) -> None:
    stores = on_dynamodb(client, Clock())
    outcomes = at_once(*(partial(create, stores, number, "billing") for number in range(1, 7)))
    [webhook] = stores.webhooks.page("acc_1", 9).items
    assert outcomes.count(ExternalIdTakenError) == 5
    assert outcomes.count(webhook) == 1
    assert found(stores, "billing") == webhook.id


def test_changes_and_a_deletion_at_once_leave_no_id_behind(client: Any) -> None:
    stores = on_dynamodb(client, Clock())
    for turn in range(5):
        webhook = create(stores, turn + 1, "a")
        at_once(
            partial(rename, stores, webhook, "b"),
            partial(rename, stores, webhook, "c"),
            partial(stores.webhooks.delete, "acc_1", webhook.id),
            partial(rename, stores, webhook, ""),
        )
        stores.webhooks.delete("acc_1", webhook.id)
        assert [found(stores, each) for each in "abc"] == [None, None, None]
        kept = client.scan(TableName="WebhooksTable")["Items"]
        assert [item["webhook_id"]["S"] for item in kept] == [item_keys.QUOTA]


def test_the_id_of_a_webhook_that_the_version_before_deleted_is_free(client: Any) -> None:
    stores = on_dynamodb(client, Clock())
    for number, creates in ((1, True), (2, False)):
        gone = create(stores, number, "billing")
        # It deletes the webhook and knows no item of its external id.
        client.delete_item(TableName="WebhooksTable", Key=item_keys.webhook_key("acc_1", gone.id))
        if creates:
            webhook = create(stores, 5, "billing")
        else:
            webhook = create(stores, 6)
            assert rename(stores, webhook, "billing") is not None
        assert found(stores, "billing") == webhook.id
        assert stores.webhooks.delete("acc_1", webhook.id)
        assert found(stores, "billing") is None
