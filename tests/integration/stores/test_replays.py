"""The contract of the stores of a replay, held against the fakes and against DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support import samples
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.jobs.replay import (
    NOT_ARRIVED,
    Replay,
    ReplayKey,
    ReplayStatus,
    replay_id,
)
from webhooks.domain.selection import Selection
from webhooks.ports import JobOwner

if TYPE_CHECKING:
    from support.stores import Clock, Stores

ALL_DAY = Selection(samples.NOW_MS - 86_400_000, samples.NOW_MS, NOT_ARRIVED)


def replay(number: int = 1, **changes: Any) -> Replay:
    values: dict[str, Any] = {
        "account_id": "acc_1",
        "webhook_id": samples.WEBHOOK_ID,
        "id": replay_id((samples.NOW_MS + number) * 1_000_000, bytes(8)),
        "selection": ALL_DAY,
        "created_at_ms": samples.NOW_MS + number,
        "updated_at_ms": samples.NOW_MS + number,
        **changes,
    }
    return Replay(**values)


def delivery(seconds_ago: int, status: Status = Status.EXHAUSTED, **changes: Any) -> Delivery:
    occurred_at_ms = samples.NOW_MS - seconds_ago * 1000
    webhook_id = changes.get("webhook_id", samples.WEBHOOK_ID)
    return samples.delivery(
        id=delivery_id(f"evt_{seconds_ago}", occurred_at_ms, webhook_id),
        event_id=f"evt_{seconds_ago}",
        status=status,
        next_attempt_at_ms=None,
        **changes,
    )


def walk(stores: Stores, selection: Selection, limit: int) -> list[str]:
    """Return the ids of all deliveries in the batches, in order."""
    seen: list[str] = []
    after = None
    while True:
        batch = stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, selection, limit, after)
        assert len(batch.items) <= limit
        seen += [one.id for one in batch.items]
        after = batch.next
        if after is None:
            return seen


def test_a_replay_comes_back_as_it_was_put_in(stores: Stores) -> None:
    first = replay()
    assert stores.replays.create(first)
    assert stores.replays.get(first.key) == first
    assert stores.replays.get(ReplayKey("acc_2", first.webhook_id, first.id)) is None


def test_a_webhook_has_one_running_replay(stores: Stores) -> None:
    assert stores.replays.create(replay(1))
    assert not stores.replays.create(replay(2))
    assert stores.replays.get(replay(2).key) is None
    assert stores.replays.create(replay(2, webhook_id=samples.webhook(2).id))
    assert stores.replays.create(replay(2, account_id="acc_2"))


def test_creating_the_same_replay_again_is_a_lost_answer_and_no_second_one(
    stores: Stores,
) -> None:
    assert stores.replays.create(replay(1))
    assert stores.replays.create(replay(1))


def test_the_next_replay_may_start_when_one_has_ended(stores: Stores) -> None:
    first = replay(1)
    stores.replays.create(first)
    ended = first.ended(ReplayStatus.CANCELLED, samples.NOW_MS + 5)
    assert stores.replays.save(first, ended)
    assert stores.replays.get(first.key) == ended
    assert stores.replays.create(replay(2))


def test_progress_is_kept(stores: Stores) -> None:
    first = replay()
    stores.replays.create(first)
    position = delivery(60).id
    after = first.advanced(position, [True, False, True], samples.NOW_MS + 9)
    assert stores.replays.save(first, after)
    assert stores.replays.get(first.key) == after
    assert (after.sent, after.succeeded, after.failed) == (3, 2, 1)
    assert after.replayed_until_ms == samples.NOW_MS - 60_000


def test_of_two_writers_one_is_too_late(stores: Stores) -> None:
    first = replay()
    stores.replays.create(first)
    mine = first.advanced(delivery(60).id, [True], samples.NOW_MS + 9)
    theirs = first.advanced(delivery(50).id, [True, True], samples.NOW_MS + 10)
    assert stores.replays.save(first, mine)
    assert stores.replays.save(first, mine)  # its answer was lost
    assert not stores.replays.save(first, theirs)
    assert stores.replays.get(first.key) == mine


def test_a_cancelled_replay_makes_no_more_progress(stores: Stores) -> None:
    first = replay()
    stores.replays.create(first)
    stores.replays.save(first, first.ended(ReplayStatus.CANCELLED, samples.NOW_MS))
    assert not stores.replays.save(first, first.advanced(None, [True], samples.NOW_MS))
    completed = first.ended(ReplayStatus.COMPLETED, samples.NOW_MS + 1)
    assert not stores.replays.save(first, completed)


def test_replays_are_paged_newest_first_and_counted(stores: Stores) -> None:
    for number in (1, 2, 3):
        stores.replays.create(replay(number))
        stores.replays.save(replay(number), replay(number).ended(ReplayStatus.COMPLETED, 0))
    stores.replays.create(replay(4))
    page = stores.replays.page(JobOwner("acc_1", samples.WEBHOOK_ID), 3)
    assert [one.id for one in page.items] == [replay(number).id for number in (4, 3, 2)]
    rest = stores.replays.page(JobOwner("acc_1", samples.WEBHOOK_ID), 3, page.next)
    assert [one.id for one in rest.items] == [replay(1).id]
    assert rest.next is None
    assert (
        stores.replays.count_since(JobOwner("acc_1", samples.WEBHOOK_ID), samples.NOW_MS + 2) == 3
    )
    assert stores.replays.count_since(JobOwner("acc_2", samples.WEBHOOK_ID), 0) == 0


def test_a_walk_goes_from_the_oldest_on_across_the_statuses(stores: Stores) -> None:
    statuses = [Status.EXHAUSTED, Status.WAITING, Status.RETRYING]
    wanted = [delivery(ago, statuses[ago % 3]) for ago in range(20, 0, -1)]
    others = [
        delivery(30, Status.SUCCEEDED),
        delivery(31, Status.CANCELLED),
        delivery(32, webhook_id=samples.webhook(2).id),
        delivery(33, account_id="acc_2"),
    ]
    for one in reversed(wanted + others):
        stores.deliveries.create(one)
    for limit in (1, 4, 7, 20, 100):
        assert walk(stores, ALL_DAY, limit) == [one.id for one in wanted]


def test_a_walk_keeps_to_the_times_inclusively(stores: Stores) -> None:
    for ago in range(1, 7):
        stores.deliveries.create(delivery(ago))
    selection = Selection(samples.NOW_MS - 5000, samples.NOW_MS - 2000, (Status.EXHAUSTED,))
    assert walk(stores, selection, 3) == [delivery(ago).id for ago in (5, 4, 3, 2)]


def test_a_walk_keeps_to_one_status(stores: Stores) -> None:
    for ago, status in enumerate(Status, start=1):
        stores.deliveries.create(delivery(ago, status))
    for ago, status in enumerate(Status, start=1):
        if status in {*NOT_ARRIVED, Status.SUCCEEDED}:
            selection = ALL_DAY._replace(statuses=(status,))
            assert walk(stores, selection, 2) == [delivery(ago).id]


def test_a_walk_through_what_succeeded_pages_as_well(stores: Stores) -> None:
    for ago in range(1, 30):
        stores.deliveries.create(delivery(ago, Status.SUCCEEDED if ago % 4 else Status.EXHAUSTED))
    selection = ALL_DAY._replace(statuses=(Status.SUCCEEDED,))
    expected = [delivery(ago).id for ago in range(29, 0, -1) if ago % 4]
    for limit in (1, 5, 50):
        assert walk(stores, selection, limit) == expected


def test_nothing_to_walk_through_is_one_empty_batch(stores: Stores) -> None:
    batch = stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, ALL_DAY, 5)
    assert (batch.items, batch.next) == ([], None)


def test_a_replay_past_its_time_to_live_is_gone_and_in_nobodys_way(
    dynamodb_stores: Stores, clock: Clock
) -> None:
    replays = dynamodb_stores.replays
    replays.create(replay(1))
    clock.seconds += 31 * 86_400
    assert replays.get(replay(1).key) is None
    assert replays.page(JobOwner("acc_1", samples.WEBHOOK_ID), 5).items == []
    later = replay(2, created_at_ms=int(clock.seconds * 1000))
    assert replays.create(later)


def test_a_walk_goes_past_what_is_past_its_time_to_live(
    dynamodb_stores: Stores, clock: Clock
) -> None:
    stores = dynamodb_stores
    for ago, status in enumerate(Status, start=1):
        stores.deliveries.create(delivery(ago, status))
    everything = ALL_DAY._replace(statuses=tuple(Status))
    assert len(walk(stores, everything, 2)) == len(Status)
    clock.seconds += 31 * 86_400
    assert walk(stores, everything, 2) == []
    for status in Status:
        assert walk(stores, ALL_DAY._replace(statuses=(status,)), 2) == []


def test_a_walk_through_few_matches_ends_its_batches_early(dynamodb_stores: Stores) -> None:
    stores = dynamodb_stores
    crowd = [delivery(ago, Status.CANCELLED) for ago in range(1, 1300)]
    stores.deliveries.put_settled([*crowd, delivery(1400, Status.SUCCEEDED)])
    stores.deliveries.put_settled([replace(delivery(1), status=Status.SUCCEEDED)])
    selection = ALL_DAY._replace(statuses=(Status.SUCCEEDED,))
    batch = stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, selection, 5)
    assert [one.id for one in batch.items] == [delivery(1400).id]
    assert batch.next is not None
    rest = stores.reader.oldest_first("acc_1", samples.WEBHOOK_ID, selection, 5, batch.next)
    assert [one.id for one in rest.items] == [delivery(1).id]
    assert rest.next is None
