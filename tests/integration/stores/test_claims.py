"""The contract of the delivery stores for claims and marks, against the fakes and DynamoDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from webhooks.domain.delivery import Claim, Status

if TYPE_CHECKING:
    from support.stores import Stores
    from webhooks.domain.delivery import Delivery

NOW_MS = samples.NOW_MS
LATER_MS = NOW_MS + 90_000
MINE = Claim("inv_mine", LATER_MS)
OTHER = Claim("inv_other", LATER_MS)


def _claim(
    stores: Stores,
    delivery: Delivery,
    claim: Claim = MINE,
    *,
    attempt_number: int = 2,
    now_ms: int = NOW_MS,
) -> Delivery | None:
    return stores.deliveries.claim_attempt(
        delivery, claim, attempt_number=attempt_number, now_ms=now_ms
    )


def test_an_attempt_is_claimed_and_nothing_else_of_its_delivery_changes(stores: Stores) -> None:
    delivery = samples.delivery(short=True, generation=3)
    stores.deliveries.create(delivery)
    claimed = _claim(stores, delivery)
    assert claimed == replace(delivery, claim=MINE)
    assert stores.deliveries.get(delivery.key) == claimed


def test_the_first_attempt_of_a_test_delivery_is_claimed_too(stores: Stores) -> None:
    delivery = samples.delivery(status=Status.PENDING, attempts=(), test=True)
    stores.deliveries.create(delivery)
    assert _claim(stores, delivery, attempt_number=1) == replace(delivery, claim=MINE)


def test_a_claim_is_held_until_its_lease_is_over(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    held = _claim(stores, delivery, OTHER)
    assert _claim(stores, delivery, now_ms=LATER_MS - 1) == held
    again = replace(MINE, count=2)
    claimed = _claim(stores, delivery, again, now_ms=LATER_MS)
    assert claimed is not None
    assert claimed.claim == again


def test_of_many_claims_at_once_one_is_taken(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    claims = [Claim(f"inv_{number}", LATER_MS) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda claim: _claim(stores, delivery, claim), claims))
    holders = {answer.claim for answer in answers if answer is not None}
    assert len(holders) == 1
    assert len(answers) == 20


def test_a_claim_whose_answer_was_lost_is_recognised_as_its_own(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    assert _claim(stores, delivery) == _claim(stores, delivery)


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": 1},
        {"status": Status.WAITING, "next_attempt_at_ms": None},
        {"status": Status.EXHAUSTED},
        {"status": Status.CANCELLED, "next_attempt_at_ms": None},
        {"attempts": (samples.attempt(1), samples.attempt(2))},
    ],
)
def test_an_attempt_that_is_not_the_next_is_not_claimed(
    stores: Stores, changes: dict[str, Any]
) -> None:
    stored = samples.delivery(**changes)
    stores.deliveries.create(stored)
    assert _claim(stores, samples.delivery()) == stored
    assert stores.deliveries.get(stored.key) == stored


def test_an_attempt_by_hand_does_not_keep_the_schedules_from_being_claimed(
    stores: Stores,
) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    by_hand = delivery.after(
        samples.attempt(2, manual=True), Status.RETRYING, delivery.next_attempt_at_ms
    )
    assert stores.deliveries.update(by_hand, before=delivery)
    assert _claim(stores, delivery) == replace(by_hand, claim=MINE)


def test_an_absent_delivery_is_neither_claimed_nor_marked(stores: Stores) -> None:
    assert _claim(stores, samples.delivery()) is None
    assert not stores.deliveries.mark_unstarted(samples.delivery())


def test_a_record_of_the_version_before_is_claimed_by_its_attempts(
    dynamodb_stores: Stores,
) -> None:
    delivery = samples.delivery()
    dynamodb_stores.deliveries.create(delivery)
    _change_next_attempt(dynamodb_stores, delivery, None)
    other = replace(delivery, attempts=())
    assert _claim(dynamodb_stores, other, attempt_number=1) == delivery
    assert _claim(dynamodb_stores, delivery) == replace(delivery, claim=MINE)


@pytest.mark.parametrize("number", [2, 9])
def test_a_number_that_the_version_before_left_as_it_was_keeps_no_attempt_from_its_claim(
    dynamodb_stores: Stores, number: int
) -> None:
    delivery = samples.delivery(attempts=(samples.attempt(1), samples.attempt(2)))
    dynamodb_stores.deliveries.create(delivery)
    _change_next_attempt(dynamodb_stores, delivery, number)
    assert _claim(dynamodb_stores, delivery, attempt_number=4) == delivery
    claimed = _claim(dynamodb_stores, delivery, attempt_number=3)
    assert claimed == replace(delivery, claim=MINE)


def test_the_id_of_an_invocation_of_lambdas_comes_back(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    claim = Claim("3f2b8c1e-9d4a-4c1b-8f5e-0a1b2c3d4e5f", LATER_MS, 2)
    claimed = _claim(stores, delivery, claim)
    assert claimed is not None
    assert claimed.claim == claim
    result = claimed.after(samples.attempt(2), Status.RETRYING, LATER_MS)
    assert stores.deliveries.update(result, before=claimed)


def test_a_result_is_written_over_the_claim_that_it_was_made_under_alone(stores: Stores) -> None:
    delivery = samples.delivery()
    stores.deliveries.create(delivery)
    _claim(stores, delivery, OTHER)
    mine = _claim(stores, delivery, replace(MINE, count=2), now_ms=LATER_MS)
    assert mine is not None
    result = mine.after(samples.attempt(2), Status.RETRYING, LATER_MS + 5_000, short=True)
    assert not stores.deliveries.update(result, before=replace(delivery, claim=OTHER))
    assert not stores.deliveries.update(result, before=delivery)
    assert stores.deliveries.update(result, before=mine)
    assert stores.deliveries.get(delivery.key) == result
    assert result.claim is None


def test_an_attempt_by_hand_leaves_the_claim(stores: Stores) -> None:
    delivery = samples.delivery(short=True)
    stores.deliveries.create(delivery)
    claimed = _claim(stores, delivery)
    assert claimed is not None
    by_hand = claimed.after(
        samples.attempt(2, manual=True), Status.RETRYING, claimed.next_attempt_at_ms
    )
    assert stores.deliveries.update(by_hand, before=claimed)
    stored = stores.deliveries.get(delivery.key)
    assert stored is not None
    assert (stored.claim, stored.short) == (MINE, True)


def test_a_delivery_without_an_execution_is_marked_and_a_result_ends_the_mark(
    stores: Stores,
) -> None:
    delivery = samples.delivery(short=True, generation=1)
    stores.deliveries.create(delivery)
    assert stores.deliveries.mark_unstarted(delivery)
    assert stores.deliveries.mark_unstarted(delivery)
    marked = stores.deliveries.get(delivery.key)
    assert marked == replace(delivery, unstarted=True)
    claimed = _claim(stores, delivery)
    assert claimed is not None
    result = claimed.after(samples.attempt(2), Status.RETRYING, LATER_MS)
    assert stores.deliveries.update(result, before=claimed)
    assert stores.deliveries.get(delivery.key) == result
    assert not result.unstarted


@pytest.mark.parametrize("changes", [{"generation": 1}, {"next_attempt_at_ms": NOW_MS + 1}])
def test_a_delivery_that_goes_on_meanwhile_is_not_marked(
    stores: Stores, changes: dict[str, Any]
) -> None:
    stored = samples.delivery(**changes)
    stores.deliveries.create(stored)
    assert not stores.deliveries.mark_unstarted(samples.delivery())
    assert stores.deliveries.get(stored.key) == stored


def _change_next_attempt(stores: Stores, delivery: Delivery, number: int | None) -> None:
    store: Any = stores.deliveries
    values = {} if number is None else {":next": {"N": str(number)}}
    store._client.update_item(
        TableName="DeliveriesTable",
        Key={
            "owner": {"S": f"{delivery.account_id}#{delivery.webhook_id}"},
            "delivery_id": {"S": delivery.id},
        },
        UpdateExpression="SET #next = :next" if values else "REMOVE #next",
        ExpressionAttributeNames={"#next": "next"},
        **({"ExpressionAttributeValues": values} if values else {}),
    )
