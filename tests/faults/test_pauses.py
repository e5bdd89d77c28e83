"""Rows 84 to 86: receivers that ask for a pause, and owners who unsubscribe from event types."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from faults.owner_and_receiver import OWNER, Story
from support import samples
from support.receiver import Answer
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.health import Circuit, HealthState
from webhooks.domain.jobs.replay import Replay, ReplayStatus, replay_id
from webhooks.domain.selection import Selection
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

TAKEN = Outcome(status_code=200)
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
OPENED, DELIVERED = "email.opened", "email.delivered"


def asks(seconds: float, status_code: int = 429) -> Outcome:
    return Outcome(FailureReason.HTTP_STATUS, status_code, 7, retry_after_seconds=seconds)


class Timed(Story):
    """A story that keeps the time of each request, in seconds from its beginning."""

    def __init__(self, answer: Callable[[], Outcome], **options: Any) -> None:
        super().__init__(answer, **options)
        self.times: list[float] = []
        begun_ms = self.services.now_ms
        receiver = self.services.sender.answer
        assert receiver is not None

        def noted(url: str, headers: Any) -> Outcome:
            self.times.append((self.services.now_ms - begun_ms) / 1000)
            return receiver(url, headers)

        self.services.sender.answer = noted

    def _receive(self, numbers: range) -> None:
        super()._receive(numbers)
        # The others of a batch whose first message sends nothing.
        while self._at_once:
            self._receive_next()

    def requests(self, since: float, until: float) -> int:
        """Return how many requests came after `since`, and before `until`."""
        return sum(since < time < until for time in self.times)

    @property
    def statuses(self) -> set[Status]:
        return {one.status for one in self.services.deliveries.deliveries.values()}


class Once:
    """Asks once for a pause, at its `number`th request, and else accepts all or none."""

    def __init__(self, number: int, asking: Outcome, otherwise: Outcome = TAKEN) -> None:
        self.left = number
        self.asking = asking
        self.otherwise = otherwise

    def __call__(self) -> Outcome:
        self.left -= 1
        return self.asking if self.left == 0 else self.otherwise


@pytest.mark.parametrize("status_code", [429, 503])
@pytest.mark.parametrize("dispatchers", [1, 3])
def test_row_84_nothing_is_sent_until_a_pause_is_over(dispatchers: int, status_code: int) -> None:
    story = Timed(Once(15, asks(600, status_code)), dispatchers=dispatchers)
    story.events(300, a_second=25)
    story.go_on(3600)
    asked_at = story.times[14]
    # Requests on their way already, from threads of dispatchers that read the webhook before.
    assert story.requests(asked_at, asked_at + 600) == 0
    assert len([time for time in story.times if time <= asked_at]) <= 15 + 8 * dispatchers
    assert story.delivered == 300
    assert story.services.webhook().health.not_before_ms is None
    assert story.services.webhook().health.circuit is Circuit.CLOSED
    assert story.executions <= 3 * dispatchers
    # Not all at once when it is over.
    assert story.requests(asked_at + 599, asked_at + 610) < 60


def test_row_84_a_receiver_that_is_down_is_not_probed_in_its_pause() -> None:
    story = Timed(Once(10, asks(600, 503), REFUSED))
    story.events(30, a_second=25)
    story.go_on(900)
    assert story.services.webhook().health.state is HealthState.DOWN
    asked_at = story.times[9]
    assert story.requests(asked_at + 0.001, asked_at + 600) == 0
    assert story.requests(asked_at + 599, asked_at + 900) > 0
    story.receiver = lambda: TAKEN
    story.go_on(3600)
    assert story.delivered == 30


def test_row_84_a_drain_waits_for_the_end_of_a_pause() -> None:
    story = Timed(lambda: REFUSED)
    story.events(200, a_second=25)
    story.go_on(20)
    assert story.services.webhook().health.state is HealthState.DOWN
    before = len(story.times)
    story.receiver = Once(12, asks(300))
    story.go_on(2 * 3600)
    asked_at = story.times[before + 11]
    # The step of the pause's request, and nothing after it.
    assert story.requests(asked_at + 0.001, asked_at + 300) == 0
    assert story.delivered == 200


def test_row_84_a_receiver_that_asks_again_and_again_is_asked_as_seldom() -> None:
    story = Timed(lambda: asks(120))
    story.events(100, a_second=25)
    story.go_on(1200)
    ends = [at for at, after in zip(story.times, story.times[1:], strict=False) if after > at + 1]
    assert len(ends) <= 10
    assert story.notices in ([], ["webhook.down"])
    assert story.posts <= 60


def test_row_84_a_replay_waits_for_the_end_of_a_pause() -> None:
    story = Timed(lambda: TAKEN)
    story.events(30, a_second=25)
    story.go_on(60)
    assert story.delivered == 30
    services, before = story.services, len(story.times)
    replay = Replay(
        *OWNER,
        id=replay_id(services.now_ms * 1_000_000, bytes(8)),
        selection=Selection(0, services.now_ms + 1, (Status.SUCCEEDED,)),
        created_at_ms=services.now_ms,
        updated_at_ms=services.now_ms,
    )
    services.replay_records.create(replay)
    job = services.make_replay_job(services.replay_records, per_second=5)
    story.receiver = Once(5, asks(600))

    def step(state: Mapping[str, Any]) -> None:
        following = job.step(replay.key, lambda: 60.0, state)
        if following is not None:
            story.later(following.seconds, partial(step, following.state))

    story.later(0, partial(step, {}))
    story.go_on(590)
    assert len(story.times) - before == 5
    # The sweep continues it.
    assert services.replay_records.jobs[replay.key].run.due_at_ms > services.now_ms
    story.go_on(600)
    ended = services.replay_records.jobs[replay.key]
    assert (ended.status, ended.sent) == (ReplayStatus.COMPLETED, 30)


def test_row_84_the_owner_sees_a_pause_and_when_what_it_asks_for_is_sent(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(429, {"Retry-After": "1200"}), Answer(200))
    webhook = tenant.webhook(hook)
    path = f"/api/v1/webhooks/{webhook.id}"
    assert tenant.dispatch(tenant.message("txn_1")) == []
    until = tenant.acme.call("GET", path).data["health"]["not_before"]
    assert tenant.dispatch(tenant.message("txn_2")) == []
    assert len(hook.requests) == 1
    waiting = [one for one in tenant.deliveries() if one.status is Status.WAITING]
    assert [one.reason for one in waiting] == ["retry_after"]
    [recovery] = tenant.recoveries()
    assert 1190 <= recovery["seconds"] <= 1200
    [told] = tenant.announced("webhook.paused")
    assert (told["webhook_id"], told["not_before"]) == (webhook.id, until)

    resent = tenant.acme.call("POST", f"{path}/deliveries/{waiting[0].id}/resend")
    tested = tenant.acme.call("POST", f"{path}/test", json={"event": DELIVERED})
    checked = tenant.acme.call("POST", f"{path}/check")
    replayed = tenant.acme.call("POST", f"{path}/replay", json={"since": "2020-01-01T00:00:00Z"})
    for answer in (resent, tested, checked, replayed):
        assert (answer.status, answer.data["not_before"]) == (202, until)
    assert len(hook.requests) == 1
    # Its owner ends it early.
    enabled = tenant.acme.call("PATCH", path, json={"active": True})
    assert "not_before" not in enabled.data["health"]


def test_row_85_a_pause_whose_recovery_is_not_started_strands_nothing() -> None:
    """Step Functions refuses the start: the sweep makes it."""
    story = Timed(Once(5, asks(60)))
    story.services.recoveries.failures.plan("start", True)
    story.events(50, a_second=25)
    for minute in range(1, 30):
        story.later(60 * minute, lambda: _sweep(story))
    story.go_on(1800)
    assert story.delivered == 50
    assert story.services.webhook().health.circuit is Circuit.CLOSED


def _sweep(story: Story) -> None:
    story.services.sweep_job.sweep(lambda: 60.0)


def test_row_85_a_dispatcher_killed_after_its_recovery_is_recorded_strands_nothing() -> None:
    story = Timed(Once(5, asks(60)))
    started = story.services.recoveries.start
    # Killed on the spot: there is neither the start nor a mark of it.
    story.services.recoveries.start = lambda *_, **__: None  # type: ignore[method-assign]
    story.events(50, a_second=25)
    story.go_on(50)
    story.services.recoveries.start = started  # type: ignore[method-assign]
    assert Status.WAITING in story.statuses
    for minute in range(1, 30):
        story.later(60 * minute, lambda: _sweep(story))
    story.go_on(1800)
    assert story.delivered == 50


def test_row_85_a_success_that_was_on_its_way_clears_no_pause() -> None:
    """One dispatcher is asked for a pause while the other's request is on its way."""
    story = Timed(lambda: TAKEN)
    before = story.services.webhook()
    story.services.pauses.pause(before, story.services.now_ms + 600_000)
    taken = samples.attempt(status_code=200, error=None)
    story.services.pauses.heard(before, [taken])
    story.services.health.report(before, [taken])
    assert story.services.webhook().health.not_before_ms == story.services.now_ms + 600_000
    story.events(10, a_second=10)
    story.go_on(590)
    assert story.posts == 0
    story.go_on(60)
    assert story.delivered == 10


@pytest.mark.parametrize("changes", [{"active": True}, {"url": "https://new.example.com/hook"}])
def test_row_85_an_owner_who_ends_a_pause_has_everything_sent(changes: dict[str, Any]) -> None:
    story = Timed(Once(5, asks(86_400, 503)))
    story.events(50, a_second=25)
    story.go_on(60)
    posts = story.posts
    assert story.services.webhook().health.not_before_ms is not None
    story.webhook_service.update(*OWNER, WebhookChanges(**changes))
    assert story.services.webhook().health.not_before_ms is None
    story.go_on(120)
    assert story.posts > posts
    # All but the delivery whose answer asked for the pause: its retry has its own time.
    assert story.delivered >= 50 - 8
    # The execution that waited for the end of the pause finds another in its place.
    story.go_on(2 * 86_400)
    assert story.delivered == 50


def unsubscribe(story: Story) -> None:
    story.webhook_service.update(*OWNER, WebhookChanges(events=("email.bounced",)))


def test_row_86_retries_of_types_taken_off_are_cancelled() -> None:
    story = Timed(lambda: REFUSED)
    story.events(3, a_second=25)
    story.go_on(1)
    posts = story.posts
    unsubscribe(story)
    story.go_on(2 * 86_400)
    assert story.posts == posts
    stored = story.services.deliveries.deliveries.values()
    assert {(one.status, one.reason) for one in stored} == {(Status.CANCELLED, "unsubscribed")}


@pytest.mark.parametrize("on_trial", [False, True])
def test_row_86_what_waits_of_types_taken_off_is_neither_probed_nor_drained(
    on_trial: bool,
) -> None:
    numbers = count(1)
    story = Timed(lambda: TAKEN if on_trial and next(numbers) % 8 == 0 else REFUSED)
    story.events(100, a_second=25)
    story.go_on(20)
    services = story.services
    assert Status.WAITING in story.statuses
    assert services.webhook().health.on_trial is on_trial
    kept = samples.delivery(
        id="019b4069-ffff-7000-8000-000000000001",
        event_type="email.bounced",
        status=Status.WAITING,
        attempts=(),
        next_attempt_at_ms=None,
        reason="webhook_down",
    )
    test = replace(kept, id="019b4069-fffe-7000-8000-000000000001", event_type=OPENED, test=True)
    for one in (kept, test):
        services.put(one)
    unsubscribe(story)
    story.receiver = lambda: TAKEN
    before = len(services.sender.posts)
    story.go_on(3 * 86_400)
    sent = {headers["X-SendComms-Delivery"] for _, _, headers in services.sender.posts[before:]}
    assert sent == {kept.id, test.id}
    stored = services.deliveries.deliveries.values()
    others = [one for one in stored if one.id not in sent and one.status is not Status.SUCCEEDED]
    assert {(one.status, one.reason) for one in others} == {(Status.CANCELLED, "unsubscribed")}
    assert services.webhook().health.circuit is Circuit.CLOSED


def test_row_86_a_replay_passes_over_types_taken_off_and_a_resend_sends_them() -> None:
    story = Timed(lambda: TAKEN)
    story.events(4, a_second=25)
    story.go_on(10)
    services = story.services
    [first, *_] = services.deliveries.deliveries.values()
    waits = services.put(replace(first, id="019b4069-ffff-7000-8000-000000000001"))
    waits = services.put(replace(waits, status=Status.WAITING, reason="webhook_down", attempts=()))
    unsubscribe(story)
    posts = story.posts
    replay = Replay(
        *OWNER,
        id=replay_id(services.now_ms * 1_000_000, bytes(8)),
        selection=Selection(0, services.now_ms + 10**12, tuple(Status)),
        created_at_ms=services.now_ms,
        updated_at_ms=services.now_ms,
    )
    services.replay_records.create(replay)
    job = services.make_replay_job(services.replay_records, per_second=5)
    while job.step(replay.key, lambda: 60.0) is not None:
        pass
    ended = services.replay_records.jobs[replay.key]
    assert (ended.status, ended.sent, story.posts) == (ReplayStatus.COMPLETED, 0, posts)
    stored = services.deliveries.deliveries
    assert (stored[waits.key].status, stored[waits.key].reason) == (
        Status.CANCELLED,
        "unsubscribed",
    )
    # A delivery that arrived stays so in the log.
    assert stored[first.key].status is Status.SUCCEEDED
    assert services.retrier.resend(first.key).succeeded
    assert story.posts == posts + 1
