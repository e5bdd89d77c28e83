"""The contract of the webhook stores, held against the fakes and against DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.stores import DYNAMODBS, Clock, on_dynamodb, open_dynamodb
from webhooks.adapters.dynamodb import item_keys
from webhooks.domain.errors import LimitReachedError, OverlapRunningError, RotationConflictError
from webhooks.domain.rotation import Refusals, Rotation
from webhooks.domain.shard import Shard, divide
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from support.stores import Stores


def test_a_webhook_comes_back_as_it_was_put_in(stores: Stores) -> None:
    webhook = samples.webhook(description="orders", headers={"X-Team": "mail"})
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook
    assert stores.webhooks.page("acc_1", 10).items == [webhook]


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
    assert stores.webhooks.page("acc_2", 10).items == []
    assert stores.destinations.destinations("acc_2") == []
    assert stores.destinations.destination("acc_2", webhook.id) is None
    assert not stores.webhooks.delete("acc_2", webhook.id)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook


def test_the_senders_see_a_shards_webhooks_in_the_order_of_their_ids(stores: Stores) -> None:
    for number in (3, 1, 5, 4, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=50)
    stores.webhooks.create(samples.webhook(3, account_id="acc_2"), samples.SECRET, limit=50)

    def found(first: str, last: str) -> list[str]:
        return [
            one.webhook.id for one in stores.destinations.destinations("acc_1", Shard(first, last))
        ]

    ids = [samples.webhook(number).id for number in range(1, 6)]
    assert found(ids[1], ids[3]) == ids[1:4]
    assert found(ids[4], ids[4]) == ids[4:]
    assert found("0" * 8 + ids[0][8:], ids[0]) == ids[:1]
    [whole] = divide(ids)
    assert found(*whole) == ids
    assert [one.webhook.id for one in stores.destinations.destinations("acc_1")] == ids


def test_subscriptions_are_those_of_all_of_an_accounts_webhooks(stores: Stores) -> None:
    subscriptions = (("*",), ("email.sent", "email.bounced"))
    for number, events in enumerate(subscriptions, start=1):
        webhook = samples.webhook(
            number, events=events, active=number == 1, external_id=f"x{number}"
        )
        stores.webhooks.create(webhook, samples.SECRET, limit=5)
    stores.webhooks.create(samples.webhook(3, account_id="acc_2"), samples.SECRET, limit=5)
    found = stores.subscriptions.subscriptions("acc_1")
    assert found is not None
    assert [tuple(one) for one in found] == list(subscriptions)
    assert stores.subscriptions.subscriptions("acc_3") == []


@pytest.mark.parametrize("events", [{"NULL": True}, {"L": [{"NULL": True}]}, {"S": "*"}, None])
def test_a_webhook_that_cannot_be_read_keeps_no_event_from_its_answer(events: Any) -> None:
    """They are on the queue by the time they are counted."""
    with open_dynamodb("moto") as client:
        stores = on_dynamodb(client, Clock())
        stores.webhooks.create(samples.webhook(1, events=("*",)), samples.SECRET, limit=5)
        stores.webhooks.create(samples.webhook(2), samples.SECRET, limit=5)
        key = item_keys.webhook_key("acc_1", samples.webhook(2).id)
        stored = client.get_item(TableName="WebhooksTable", Key=key)["Item"]
        del stored["events"]
        changed = stored if events is None else {**stored, "events": events}
        client.put_item(TableName="WebhooksTable", Item=changed)
        found = stores.subscriptions.subscriptions("acc_1")
        assert found is not None
        assert sorted(map(list, found)) == [[], ["*"]]


def test_webhooks_are_paged_newest_first_without_a_gap(stores: Stores) -> None:
    for number in (3, 1, 2, 5, 4):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=5)
    seen, before = [], None
    while True:
        page = stores.webhooks.page("acc_1", 2, before)
        seen += [webhook.id for webhook in page.items]
        before = page.next
        if before is None:
            break
    assert seen == [samples.webhook(number).id for number in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize("consistent", [True, False])
def test_the_urls_are_those_of_an_accounts_webhooks(stores: Stores, consistent: bool) -> None:
    for number in (1, 2):
        webhook = samples.webhook(
            number, url=f"https://a.acme.com/{number}", external_id=f"x{number}"
        )
        stores.webhooks.create(webhook, samples.SECRET, limit=5)
    stores.webhooks.create(samples.webhook(3, account_id="acc_2"), samples.SECRET, limit=5)
    assert stores.webhooks.newest_urls("acc_1", consistent=consistent) == {
        samples.webhook(number).id: f"https://a.acme.com/{number}" for number in (1, 2)
    }
    assert stores.webhooks.newest_urls("acc_3") == {}


def test_a_full_last_page_has_no_next_one(stores: Stores) -> None:
    for number in (1, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=5)
    assert stores.webhooks.page("acc_1", 2).next is None


def test_the_limit_holds_and_a_deletion_makes_room(stores: Stores) -> None:
    for number in (1, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=2)
    with pytest.raises(LimitReachedError):
        stores.webhooks.create(samples.webhook(3), samples.SECRET, limit=2)
    assert stores.webhooks.delete("acc_1", samples.webhook(1).id)
    assert not stores.webhooks.delete("acc_1", samples.webhook(1).id)
    stores.webhooks.create(samples.webhook(3), samples.SECRET, limit=2)
    assert len(stores.webhooks.page("acc_1", 10).items) == 2


def test_the_limit_is_each_accounts_own(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(1), samples.SECRET, limit=1)
    stores.webhooks.create(samples.webhook(2, account_id="acc_2"), samples.SECRET, limit=1)
    assert len(stores.destinations.destinations("acc_2")) == 1


def test_a_webhook_is_disabled_once(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert stores.health.disable("acc_1", webhook.id, "gone", samples.NOW_MS + 1)
    assert not stores.health.disable("acc_1", webhook.id, "gone", samples.NOW_MS + 2)
    assert stores.webhooks.get("acc_1", webhook.id) == replace(
        webhook, active=False, disabled_reason="gone", updated_at_ms=samples.NOW_MS + 1
    )


def test_a_deleted_webhook_is_not_made_again_by_disabling_it(stores: Stores) -> None:
    assert not stores.health.disable("acc_1", samples.WEBHOOK_ID, "gone", samples.NOW_MS)
    assert stores.webhooks.get("acc_1", samples.WEBHOOK_ID) is None


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
    stores.health.disable("acc_1", webhook.id, "gone", samples.NOW_MS)
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
    assert not stores.webhooks.restore_secret("acc_1", samples.WEBHOOK_ID, "x" * 16)
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
            force=True,
        )
    assert _secrets(stores).live(samples.NOW_MS) == ("the-new-secret-2",)


def test_a_secret_that_is_there_is_rotated_and_never_restored(stores: Stores) -> None:
    webhook = samples.webhook()
    stores.webhooks.create(webhook, samples.SECRET, limit=5)
    assert not stores.webhooks.restore_secret("acc_1", webhook.id, "x" * 16)
    assert stores.webhooks.get("acc_1", webhook.id) == webhook
    assert _secrets(stores).live(samples.NOW_MS) == (samples.SECRET,)


@pytest.mark.parametrize("engine", DYNAMODBS)
def test_a_secret_that_went_missing_is_restored_once(engine: str) -> None:
    webhook = samples.webhook()
    with open_dynamodb(engine) as client:
        stores = on_dynamodb(client, Clock())
        stores.webhooks.create(webhook, samples.SECRET, limit=5)
        client.update_item(
            TableName="WebhooksTable",
            Key=item_keys.webhook_key("acc_1", webhook.id),
            UpdateExpression="REMOVE secret SET previous_secret = :old",
            ExpressionAttributeValues={":old": {"S": "the-secret-before"}},
        )
        assert not stores.webhooks.rotate_secret(
            "acc_1", webhook.id, "y" * 16, previous_until_ms=1 << 42, now_ms=samples.NOW_MS
        )
        restored = [
            stores.webhooks.restore_secret("acc_1", webhook.id, letter * 16) for letter in "ab"
        ]
        assert restored == [True, False]
        destination = stores.destinations.destination("acc_1", webhook.id)
    assert destination is not None
    assert destination.secrets == Secrets("a" * 16)


def _secrets(stores: Stores) -> Any:
    [destination] = stores.destinations.destinations("acc_1")
    return destination.secrets


def rotated(stores: Stores, secret: str, overlap_ms: int = 1000, **more: Any) -> Any:
    return stores.webhooks.rotate_secret(
        "acc_1",
        samples.WEBHOOK_ID,
        secret * 16,
        previous_until_ms=samples.NOW_MS + overlap_ms,
        now_ms=samples.NOW_MS,
        **more,
    )


def test_a_rotation_made_again_with_its_secret_changes_nothing(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)
    first = rotated(stores, "a")
    before = _secrets(stores)
    # Later: an overlap of its own would be longer.
    assert rotated(stores, "a", 5000) == first == Rotation(samples.NOW_MS + 1000)
    assert rotated(stores, "a", 5000, force=True) == first
    assert _secrets(stores) == before
    # Nor if the overlap ended meanwhile.
    stores.destinations.end_overlap("acc_1", samples.WEBHOOK_ID, "a" * 16)
    assert rotated(stores, "a") == Rotation(None)
    assert _secrets(stores) == Secrets("a" * 16)
    assert rotated(stores, "b", 0) == rotated(stores, "b", 0) == Rotation(None)
    assert _secrets(stores) == Secrets("b" * 16)


def test_a_rotation_within_an_overlap_says_until_when_unless_it_is_forced(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)
    rotated(stores, "a")
    before = _secrets(stores), stores.webhooks.get("acc_1", samples.WEBHOOK_ID)
    for overlap_ms in (0, 5000):
        with pytest.raises(OverlapRunningError) as refused:
            rotated(stores, "b", overlap_ms)
        assert refused.value.until_ms == samples.NOW_MS + 1000
    assert (_secrets(stores), stores.webhooks.get("acc_1", samples.WEBHOOK_ID)) == before
    assert rotated(stores, "b", force=True) == Rotation(samples.NOW_MS + 1000, True)
    assert _secrets(stores).live(samples.NOW_MS) == ("b" * 16, "a" * 16)
    assert rotated(stores, "c", 0, force=True) == Rotation(None, True)
    assert rotated(stores, "d", force=True) == Rotation(samples.NOW_MS + 1000)


def test_a_repeated_call_finds_its_rotation_and_undoes_no_later_one(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)
    again: dict[str, Any] = {"since_ms": samples.NOW_MS - 5}
    # The first try made nothing.
    assert rotated(stores, "a", **again) == Rotation(samples.NOW_MS + 1000)
    assert rotated(stores, "a", 9000, **again) == Rotation(samples.NOW_MS + 1000)
    assert rotated(stores, "b", force=True) == Rotation(samples.NOW_MS + 1000, True)
    assert rotated(stores, "b", force=True, **again) == Rotation(samples.NOW_MS + 1000, True)
    for number in range(2):
        before = _secrets(stores)
        for force in (False, True):
            with pytest.raises(RotationConflictError):
                rotated(stores, "a", 0 if number else 1000, force=force, **again)
        assert _secrets(stores) == before
        rotated(stores, "c", force=True)
    stores.destinations.end_overlap("acc_1", samples.WEBHOOK_ID, "c" * 16)
    assert rotated(stores, "c", **again) == Rotation(None, True)
    # A rotation before the call's first try does not hinder it.
    later: dict[str, Any] = {"since_ms": samples.NOW_MS + 1}
    assert rotated(stores, "d", **later) == Rotation(samples.NOW_MS + 1000)


def test_an_owner_may_go_back_to_the_old_secret_by_force(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), "o" * 16, limit=5)
    rotated(stores, "n")
    assert rotated(stores, "o", force=True) == Rotation(samples.NOW_MS + 1000, True)
    assert _secrets(stores).live(samples.NOW_MS) == ("o" * 16, "n" * 16)


def test_a_refusal_of_both_secrets_is_counted_once_for_what_was_read(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)
    rotated(stores, "a")
    owner = ("acc_1", samples.WEBHOOK_ID)
    read = _secrets(stores)
    for at_ms in (7, 8):
        stores.destinations.refused_both(*owner, read, at_ms)
    assert _secrets(stores).refusals == Refusals(1, 7)
    stores.destinations.refused_both(*owner, _secrets(stores), 9)
    assert _secrets(stores).refusals == Refusals(2, 9)
    # Refusals in one overlap do not count in the next, nor does a late refusal.
    late = _secrets(stores)
    rotated(stores, "b", 5000, force=True)
    assert _secrets(stores).refusals is None
    stores.destinations.refused_both(*owner, late, 10)
    assert _secrets(stores).refusals is None
    stores.destinations.refused_both(*owner, _secrets(stores), 11)
    assert _secrets(stores).refusals == Refusals(1, 11)
    stores.destinations.end_overlap(*owner, "b" * 16)
    assert _secrets(stores) == Secrets("b" * 16)
