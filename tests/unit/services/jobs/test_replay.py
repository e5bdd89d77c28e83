"""Replays: an owner's requests, and the steps of the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.fakes import FakeJobScheduler, FakeJobStore
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Delivery, FailureReason, Outcome, Status, delivery_id
from webhooks.domain.drain_rate import PAUSE_SECONDS
from webhooks.domain.errors import (
    InvalidInputError,
    ReplayRunningError,
    TooManyReplaysError,
    UnavailableError,
    WebhookDisabledError,
)
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus, select
from webhooks.services.jobs.replay import SECONDS_FOR_A_STEP, ReplayJob, ReplayService

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = samples.NOW_MS / 1000
SINCE = "2025-12-21T00:00:00Z"
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
RATE = 3


class ReplayFixture(ServiceFixture):
    """A webhook, the deliveries that it missed, and the job that replays them."""

    def __init__(self) -> None:
        super().__init__(schedule=(5.0,), random=0.5)
        self.add()
        self.webhooks = self.store
        self.replay_store = FakeJobStore[Replay](one_at_a_time=True)
        self.replay_scheduler = FakeJobScheduler()
        self.replays = ReplayService(
            store=self.replay_store,
            scheduler=self.replay_scheduler,
            max_replays_per_day=2,
            cursor_key=b"k",
            now_ns=lambda: (samples.NOW_MS + len(self.replay_store.jobs)) * 1_000_000,
        )
        self.replay_job = ReplayJob(
            store=self.replay_store,
            reader=self.reader,
            destinations=self.store,
            retrier=self.retrier,
            pauses=self.pauses,
            telemetry=self.telemetry,
            clock=lambda: NOW,
            deliveries_per_second=RATE,
            host_limits=self.host_limits,
        )

    def missed(self, count: int, status: Status = Status.EXHAUSTED, **changes: Any) -> list[str]:
        """Add deliveries, a minute apart; returns their ids, the oldest first."""
        ids = []
        for number in range(count):
            occurred_at_ms = samples.NOW_MS - (count - number) * 60_000
            event_id = f"evt_{status}_{number}"
            one = samples.delivery(
                id=delivery_id(event_id, occurred_at_ms, samples.WEBHOOK_ID),
                event_id=event_id,
                status=status,
                next_attempt_at_ms=None,
                **changes,
            )
            self.deliveries.create(one)
            ids.append(one.id)
        return ids

    def start(self, **request: Any) -> Replay:
        return self.replays.start(samples.webhook(), **{"since": SINCE, **request})

    def step(self, replay: Replay, remaining_seconds: float = 45.0) -> float | None:
        following = self.replay_job.step(replay.key, lambda: remaining_seconds)
        return None if following is None else following.seconds

    def now(self, replay: Replay) -> Replay:
        found = self.replay_store.get(replay.key)
        assert found
        return found

    def sent(self) -> list[str]:
        return [headers["X-SendComms-Delivery"] for _, _, headers in self.sender.posts]

    def disable(self) -> None:
        self.health_store.disable("acc_1", samples.WEBHOOK_ID, "gone", samples.NOW_MS)


@pytest.fixture
def services() -> ReplayFixture:
    return ReplayFixture()


def test_a_replay_without_a_status_selects_all_that_has_not_arrived() -> None:
    selection = select(SINCE, None, None, samples.NOW_MS)
    assert selection.statuses == NOT_ARRIVED
    assert selection.until_ms == samples.NOW_MS


def test_a_replay_never_selects_what_is_yet_to_come() -> None:
    assert select(SINCE, "2030-01-01T00:00:00Z", None, samples.NOW_MS).until_ms == samples.NOW_MS
    earlier = select(SINCE, "2025-12-21T01:00:00Z", "succeeded", samples.NOW_MS)
    assert earlier.until_ms - earlier.since_ms == 3_600_000
    assert earlier.statuses == (Status.SUCCEEDED,)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2030-01-01T00:00:00Z"}, "since"),
        ({"until": "soon"}, "until"),
        ({"until": "2025-12-20T00:00:00Z"}, "until"),
        ({"status": "cancelled"}, "status"),
        ({"status": "pending"}, "status"),
        ({"status": "lost"}, "status"),
    ],
)
def test_what_no_replay_can_be_is_refused_by_field(
    services: ReplayFixture, request_: Mapping[str, str], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        services.start(**request_)
    assert refused.value.field == field
    assert services.replay_store.jobs == {}


def test_a_replay_is_recorded_and_then_started(services: ReplayFixture) -> None:
    replay = services.start()
    assert services.now(replay) == replay
    assert services.replay_scheduler.keys == [replay.key]


def test_a_disabled_webhook_has_no_replay(services: ReplayFixture) -> None:
    services.disable()
    disabled = services.webhooks.get("acc_1", samples.WEBHOOK_ID)
    assert disabled
    with pytest.raises(WebhookDisabledError):
        services.replays.start(disabled, since=SINCE)
    assert services.replay_scheduler.keys == []


def test_a_second_replay_waits_for_the_first(services: ReplayFixture) -> None:
    first = services.start()
    with pytest.raises(ReplayRunningError):
        services.start()
    services.replays.cancel(samples.webhook(), first.id)
    services.start()


def test_a_webhook_has_only_so_many_replays_a_day(services: ReplayFixture) -> None:
    for _ in range(2):
        services.replays.cancel(samples.webhook(), services.start().id)
    with pytest.raises(TooManyReplaysError):
        services.start()


def test_a_replay_that_could_not_be_started_is_in_nobodys_way(services: ReplayFixture) -> None:
    services.replay_scheduler.failures.plan("start", True)
    with pytest.raises(UnavailableError):
        services.start()
    [failed] = services.replay_store.jobs.values()
    assert (failed.status, failed.reason) == (ReplayStatus.FAILED, "not_started")
    assert services.start().running


def test_a_replay_sends_oldest_first_a_batch_at_a_time(services: ReplayFixture) -> None:
    ids = services.missed(7)
    replay = services.start()
    assert services.step(replay) == PAUSE_SECONDS
    assert sorted(services.sent()) == ids[:3]
    assert (services.now(replay).sent, services.now(replay).position) == (3, ids[2])
    assert services.step(replay) == PAUSE_SECONDS
    assert sorted(services.sent()) == ids[:6]
    assert services.step(replay) is None
    assert sorted(services.sent()) == ids
    ended = services.now(replay)
    assert (ended.status, ended.sent, ended.succeeded, ended.failed) == ("completed", 7, 7, 0)
    assert ended.replayed_until_ms == ended.selection.until_ms
    assert services.step(replay) is None
    assert len(services.sent()) == 7


def test_each_attempt_is_one_by_hand_that_the_log_shows(services: ReplayFixture) -> None:
    [one] = services.missed(1)
    services.step(services.start())
    [delivery] = [d for d in services.deliveries.deliveries.values() if d.id == one]
    assert delivery.status is Status.SUCCEEDED
    assert [attempt.manual for attempt in delivery.attempts] == [False, True]


def test_failures_are_counted_and_change_nothing_else(services: ReplayFixture) -> None:
    services.missed(2)
    services.sender.answer = lambda *_: REFUSED
    replay = services.start()
    assert services.step(replay) is None
    ended = services.now(replay)
    assert (ended.status, ended.sent, ended.succeeded, ended.failed) == ("completed", 2, 0, 2)
    assert {d.status for d in services.deliveries.deliveries.values()} == {Status.EXHAUSTED}


def test_a_test_is_not_replayed(services: ReplayFixture) -> None:
    services.missed(2, test=True)
    replay = services.start()
    assert services.step(replay) is None
    assert services.sent() == []
    assert services.now(replay).sent == 0


def test_a_step_that_was_not_recorded_is_made_again_with_the_same_ids(
    services: ReplayFixture,
) -> None:
    ids = services.missed(3)
    services.sender.answer = lambda *_: REFUSED
    replay = services.start()
    services.replay_store.failures.plan("save", True)
    with pytest.raises(UnavailableError):
        services.step(replay)
    assert services.step(replay) is None
    assert sorted(services.sent()) == sorted(ids * 2)
    assert services.now(replay).sent == 3


def test_a_replay_goes_on_behind_what_was_recorded_before_a_fault_of_ours(
    services: ReplayFixture,
) -> None:
    ids = services.missed(3)

    def answer(_: str, headers: Mapping[str, str]) -> Outcome:
        if headers["X-SendComms-Delivery"] == ids[1] and len(services.sender.posts) <= 3:
            msg = "the resolver"
            raise UnavailableError(msg)
        return Outcome(status_code=200)

    services.sender.answer = answer
    replay = services.start()
    assert services.step(replay) == PAUSE_SECONDS
    assert (services.now(replay).sent, services.now(replay).position) == (1, ids[0])
    assert services.step(replay) is None
    assert services.now(replay).status is ReplayStatus.COMPLETED
    # The third arrived at the first step already, and is no longer selected.
    assert sorted(services.sent()) == sorted([*ids, ids[1]])


def test_a_fault_of_ours_at_the_first_delivery_is_tried_again(services: ReplayFixture) -> None:
    services.missed(1)

    def answer(*_: object) -> Outcome:
        msg = "the resolver"
        raise UnavailableError(msg)

    services.sender.answer = answer
    replay = services.start()
    with pytest.raises(UnavailableError):
        services.step(replay)
    assert services.now(replay) == replay


def test_too_little_time_for_a_step_sends_nothing(services: ReplayFixture) -> None:
    services.missed(1)
    with pytest.raises(UnavailableError):
        services.step(services.start(), SECONDS_FOR_A_STEP - 1)
    assert services.sent() == []


def test_a_cancelled_replay_sends_nothing_more(services: ReplayFixture) -> None:
    services.missed(5)
    replay = services.start()
    services.step(replay)
    cancelled = services.replays.cancel(samples.webhook(), replay.id)
    assert cancelled
    assert (cancelled.status, cancelled.sent) == (ReplayStatus.CANCELLED, 3)
    assert services.step(replay) is None
    assert len(services.sent()) == 3
    assert services.replays.cancel(samples.webhook(), replay.id) == cancelled


def test_a_replay_cancelled_during_a_step_stays_cancelled(services: ReplayFixture) -> None:
    services.missed(1)
    replay = services.start()

    def answer(*_: object) -> Outcome:
        services.replays.cancel(samples.webhook(), replay.id)
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert services.step(replay) is None
    assert services.now(replay).status is ReplayStatus.CANCELLED
    assert services.telemetry.logged("replay_ended") == []


@pytest.mark.parametrize("reason", ["webhook_disabled", "webhook_deleted"])
def test_a_replay_ends_with_its_webhook(services: ReplayFixture, reason: str) -> None:
    services.missed(5)
    replay = services.start()
    services.step(replay)
    if reason == "webhook_disabled":
        services.disable()
    else:
        services.webhooks.delete("acc_1", samples.WEBHOOK_ID)
    assert services.step(replay) is None
    ended = services.now(replay)
    assert (ended.status, ended.reason, ended.sent) == (ReplayStatus.FAILED, reason, 3)
    assert len(services.sent()) == 3


def test_an_abandoned_replay_has_failed_for_all_to_see(services: ReplayFixture) -> None:
    replay = services.start()
    services.replay_job.abandon(replay.key)
    assert (services.now(replay).status, services.now(replay).reason) == (
        "failed",
        "internal_error",
    )
    services.replay_job.abandon(replay.key)
    [line] = services.telemetry.logged("replay_ended")
    assert line["status"] == "failed"


def test_a_replay_of_another_webhook_is_not_found(services: ReplayFixture) -> None:
    replay = services.start()
    assert services.replays.get(samples.webhook(2), replay.id) is None
    assert services.replays.cancel(samples.webhook(account_id="acc_2"), replay.id) is None
    assert services.replays.get(samples.webhook(), "running") is None
    assert services.now(replay).running


def test_a_list_of_replays_goes_on_with_its_cursor(services: ReplayFixture) -> None:
    ids: list[str] = []
    for _ in range(2):
        ids.insert(0, services.start().id)
        services.replays.cancel(samples.webhook(), ids[0])
    page = services.replays.page(samples.webhook(), 1)
    assert page.next
    rest = services.replays.page(samples.webhook(), 1, page.next)
    assert [one.id for one in (*page.items, *rest.items)] == ids
    assert rest.next is None
    with pytest.raises(InvalidInputError):
        services.replays.page(samples.webhook(2), 1, page.next)


def test_a_delivery_that_settles_meanwhile_is_passed_over(services: ReplayFixture) -> None:
    ids = services.missed(4)
    replay = services.start()
    services.step(replay)
    last: Delivery = next(d for d in services.deliveries.deliveries.values() if d.id == ids[3])
    services.deliveries.put_settled([last.after(samples.attempt(2, error=None), Status.SUCCEEDED)])
    assert services.step(replay) is None
    assert sorted(services.sent()) == ids[:3]


def test_a_replay_sends_what_its_host_may_get_and_waits_for_the_rest() -> None:
    services = ReplayFixture()
    services.host_limits.rate = 2
    ids = services.missed(6)
    replay = services.replays.start(services.webhook(), since=SINCE)
    sent: list[int] = []
    for _ in range(3):
        # One without a reservation, and a second's turns: three, which are a step's; then none.
        assert services.step(replay) is not None
        sent.append(len(services.sender.posts))
    assert sent == [3, 3, 3]
    services.now_ms += 1000
    services.step(replay)
    assert len(services.sender.posts) == 5
    for _ in range(3):
        services.now_ms += 1000
        services.step(replay)
    posted = [headers["X-SendComms-Delivery"] for _, _, headers in services.sender.posts]
    assert sorted(posted) == ids
