"""The contract of the stores of erasures and of rate limits, against fakes and DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.stores import on_dynamodb, overdue_keys
from webhooks.adapters.dynamodb import webhook_ids
from webhooks.domain.delivery import Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs.erasure import (
    Erasure,
    ErasureKey,
    ErasureStatus,
    Mention,
    Unsearched,
    digest,
    erasure_id,
)
from webhooks.domain.rate_limit import ACCOUNT, RateLimit, RateLimitWindow
from webhooks.ports import JobOwner

if TYPE_CHECKING:
    from support.stores import Clock, Stores

DAY_SECONDS = 86_400
SALT = bytes(range(32))
TESTS = RateLimitWindow("acc_1", samples.WEBHOOK_ID, RateLimit.TESTS, 490_642)


def erasure(number: int = 1, **changes: Any) -> Erasure:
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "id": erasure_id((samples.NOW_MS + number) * 1_000_000, bytes(8)),
        "created_at_ms": samples.NOW_MS + number,
        "updated_at_ms": samples.NOW_MS + number,
        "salt": SALT,
        "digest": digest(SALT, "anna@example.com"),
        **changes,
    }
    return Erasure(**values)


def test_an_erasure_comes_back_as_it_was_put_in(stores: Stores) -> None:
    first = erasure(
        reason="x",
        webhook_id=samples.WEBHOOK_ID,
        position="p",
        passes=1,
        erased=2,
        unreadable=True,
        include_unsearched=True,
        unsearched=(Unsearched(samples.WEBHOOK_ID, samples.delivery().id),) * 2,
        unsearched_count=3,
        began_at_ms=samples.NOW_MS,
        floor_ms=0,
    )
    stores.erasures.create(first)
    stores.erasures.create(first)
    assert stores.erasures.get(first.key) == first
    assert stores.erasures.get(ErasureKey("acc_2", first.id)) is None


def test_progress_is_saved_once_and_an_end_is_one(stores: Stores) -> None:
    before = erasure()
    stores.erasures.create(before)
    after = before.turned_to(samples.WEBHOOK_ID).begun(1)
    after = after.past(samples.delivery(), Mention.PAYLOAD, erased=True)
    after = after.recorded(samples.NOW_MS + 5)
    assert stores.erasures.save(before, after)
    assert stores.erasures.save(before, after), "a lost answer"
    other = replace(after, examined=99)
    assert not stores.erasures.save(before, other)
    assert stores.erasures.get(before.key) == after
    ended = after.ended(ErasureStatus.COMPLETED, samples.NOW_MS + 6)
    assert stores.erasures.save(after, ended)
    assert not stores.erasures.save(after, after.recorded(samples.NOW_MS + 7))
    stored = stores.erasures.get(before.key)
    assert stored == ended
    assert (stored.salt, stored.digest) == (b"", b"")


def test_the_running_erasures_of_an_account_since_a_time_are_found(stores: Stores) -> None:
    old, running, ended = erasure(1), erasure(1000), erasure(2000)
    for each in (old, running, ended, erasure(3000, account_id="acc_2")):
        stores.erasures.create(each)
    assert stores.erasures.save(ended, ended.ended(ErasureStatus.FAILED, samples.NOW_MS, "x"))
    assert stores.erasures.running_since(JobOwner("acc_1"), samples.NOW_MS + 500) == [running]
    assert stores.erasures.running_since(JobOwner("acc_3"), 0) == []


def test_an_erasure_past_its_time_to_live_is_gone(dynamodb_stores: Stores, clock: Clock) -> None:
    dynamodb_stores.erasures.create(erasure())
    clock.seconds += 31 * DAY_SECONDS
    assert dynamodb_stores.erasures.get(erasure().key) is None


def test_the_trail_leads_through_living_and_deleted_webhooks_by_id(stores: Stores) -> None:
    for number in (3, 1, 2, 4):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=50)
    stores.webhooks.create(samples.webhook(5, account_id="acc_2"), samples.SECRET, limit=50)
    for number in (2, 4):
        assert stores.webhooks.delete("acc_1", samples.webhook(number).id)
    found = [stores.webhook_ids.next("acc_1", None)]
    while found[-1] is not None:
        found.append(stores.webhook_ids.next("acc_1", found[-1]))
    assert found == [*(samples.webhook(number).id for number in (1, 2, 3, 4)), None]
    assert stores.webhook_ids.next("acc_3", None) is None


def test_a_webhook_that_never_was_leaves_no_trail(stores: Stores) -> None:
    assert not stores.webhooks.delete("acc_1", samples.WEBHOOK_ID)
    assert stores.webhook_ids.next("acc_1", None) is None


def test_what_is_left_of_a_webhook_outlives_its_deliveries(dynamodb: Any, clock: Clock) -> None:
    stores = on_dynamodb(dynamodb, clock)
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=50)
    stores.webhooks.delete("acc_1", samples.WEBHOOK_ID)
    [item] = dynamodb.scan(TableName="DeliveriesTable")["Items"]
    assert set(item) == {"owner", "delivery_id", "expires_at"}
    assert int(item["expires_at"]["N"]) - clock.seconds == (30 + 15) * DAY_SECONDS


def test_a_deleted_webhook_whose_records_are_gone_is_passed_over(
    dynamodb: Any, clock: Clock
) -> None:
    stores = on_dynamodb(dynamodb, clock)
    for number in (1, 2, 3, 4):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=50)
    for number in (1, 2, 4):
        stores.webhooks.delete("acc_1", samples.webhook(number).id)
        # DynamoDB's own time to live removes an item days late.
        clock.seconds += DAY_SECONDS
    clock.seconds += (30 + 15) * DAY_SECONDS - 2 * DAY_SECONDS + 1
    living, last = samples.webhook(3).id, samples.webhook(4).id
    assert stores.webhook_ids.next("acc_1", None) == living
    assert stores.webhook_ids.next("acc_1", living) == last
    clock.seconds += DAY_SECONDS
    assert stores.webhook_ids.next("acc_1", living) is None


def test_too_many_of_these_are_passed_over_in_more_than_one_call(
    dynamodb: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_ids, "_DELETED_AT_ONCE", 2)
    monkeypatch.setattr(webhook_ids, "_DELETED_PAGES", 2)
    stores = on_dynamodb(dynamodb, clock)
    ids = [samples.webhook(number).id for number in range(1, 9)]
    for number in range(1, 9):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=50)
        stores.webhooks.delete("acc_1", samples.webhook(number).id)
    clock.seconds += 46 * DAY_SECONDS
    found = [stores.webhook_ids.next("acc_1", None)]
    while found[-1] is not None:
        found.append(stores.webhook_ids.next("acc_1", found[-1]))
    assert found == [ids[2], ids[5], None]


@pytest.mark.parametrize("status", Status)
def test_an_erased_delivery_replaces_the_stored_one_whole(stores: Stores, status: Status) -> None:
    body = b'{"event":"email.delivered","transaction_id":"t","data":{"to":"anna@example.com"}}'
    before = samples.delivery(body=body, status=status, event_id="anna@example.com")
    stores.deliveries.create(before)
    erased = erasure().erase(before)
    assert stores.deliveries.update(erased, before=before)
    assert stores.deliveries.update(erased, before=before), "a lost answer"
    assert stores.deliveries.get(before.key) == erased
    assert (erased.erased, erased.event_id) == (True, "erased")
    late = before.after(samples.attempt(2, response_body="anna@example.com"), Status.RETRYING, 1)
    assert not stores.deliveries.update(late, before=before)
    by_hand = erased.after(samples.attempt(2, response_body=""), erased.status)
    assert stores.deliveries.update(by_hand, before=erased)
    assert stores.deliveries.get(before.key) == by_hand


def test_an_erased_delivery_is_in_no_index_unless_it_is_exhausted(stores: Stores) -> None:
    body = b'{"event":"email.delivered","data":{"to":"anna@example.com"}}'
    before = samples.delivery(next_attempt_at_ms=1, body=body)
    stores.deliveries.create(before)
    assert overdue_keys(stores, samples.NOW_MS) == [before.key]
    assert stores.deliveries.update(erasure().erase(before), before=before)
    assert overdue_keys(stores, samples.NOW_MS) == []


def test_a_window_counts_up_to_its_limit_and_no_further(stores: Stores) -> None:
    assert stores.rate_limits.consume(TESTS, limit=5, count=3)
    assert not stores.rate_limits.consume(TESTS, limit=5, count=3)
    assert stores.rate_limits.consume(TESTS, limit=5, count=2)
    assert not stores.rate_limits.consume(TESTS, limit=5)
    assert not stores.rate_limits.consume(TESTS._replace(number=1), limit=5, count=6)


@pytest.mark.parametrize(
    "other",
    [
        TESTS._replace(account_id="acc_2"),
        TESTS._replace(scope=ACCOUNT),
        TESTS._replace(kind=RateLimit.RESENDS),
        TESTS._replace(number=490_643),
    ],
)
def test_windows_are_counted_apart(stores: Stores, other: RateLimitWindow) -> None:
    assert stores.rate_limits.consume(TESTS, limit=1)
    assert stores.rate_limits.consume(other, limit=1)
    assert not stores.rate_limits.consume(TESTS, limit=1)


def test_a_count_goes_when_its_time_is_over(dynamodb: Any, clock: Clock) -> None:
    on_dynamodb(dynamodb, clock).rate_limits.consume(TESTS, limit=1)
    [item] = dynamodb.scan(TableName="DeliveriesTable")["Items"]
    assert int(item["expires_at"]["N"]) == TESTS.ends_at


def test_a_missing_table_is_unavailable(dynamodb: Any, clock: Clock) -> None:
    stores = on_dynamodb(dynamodb, clock)
    dynamodb.delete_table(TableName="DeliveriesTable")
    for call in (
        lambda: stores.rate_limits.consume(TESTS, limit=1),
        lambda: stores.erasures.create(erasure()),
        lambda: stores.erasures.save(erasure(), erasure()),
        lambda: stores.erasures.running_since(JobOwner("acc_1"), 0),
        lambda: stores.webhook_ids.next("acc_1", None),
    ):
        with pytest.raises(UnavailableError):
            call()
