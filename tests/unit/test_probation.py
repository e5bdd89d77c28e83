"""A webhook that gets new events again after one success is on trial for a few more attempts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from support.service_fixture import World
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Window
from webhooks.domain.jobs.refusals import ReplayRefusals, settle
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
LIMITED = samples.attempt(status_code=429)
FAILED = samples.attempt()
TAKEN = samples.attempt(status_code=200, error=None)


@pytest.fixture
def world() -> World:
    """A webhook that was down, and accepted one delivery."""
    world = World(recovery_rate=50)
    world.add()
    world.health.report(world.webhook(), [FAILED] * FAILURES_TO_OPEN)
    world.health.report(world.webhook(), [TAKEN])
    assert world.webhook().health.on_probation
    world.health_store.writes.clear()
    return world


def send(world: World, number: int) -> list[str]:
    texts = [samples.event_text(transaction_id=f"txn_{n}") for n in range(number)]
    return world.send(*texts)


def test_three_that_are_taken_end_it_and_cost_no_write_after_that(world: World) -> None:
    for _ in range(3):
        assert world.webhook().health.on_probation
        world.health.report(world.webhook(), [TAKEN])
    assert not world.webhook().health.on_probation
    assert world.health_store.writes == [*["count_on_probation"] * 3, "end_probation"]
    world.health.report(world.webhook(), [TAKEN])
    assert len(world.health_store.writes) == 4


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_four_that_fail_have_it_down_on_trial(world: World, at_once: int) -> None:
    for _ in range(4 // at_once):
        assert world.webhook().health.circuit is Circuit.DRAINING
        world.health.report(world.webhook(), [FAILED] * at_once)
    assert world.webhook().health.on_trial
    assert world.operational_events.types == ["webhook.down", "webhook.recovered", "webhook.down"]


def test_it_lasts_until_its_verdict_however_long_that_takes(world: World) -> None:
    for _ in range(4):
        world.now_ms += 600_000
        world.health.report(world.webhook(), [FAILED])
    assert world.webhook().health.on_trial


def test_a_rate_limit_is_no_reason_for_a_trial(world: World) -> None:
    world.health.report(world.webhook(), [LIMITED] * (FAILURES_TO_OPEN - 1))
    assert world.webhook().health.on_probation
    world.health.report(world.webhook(), [LIMITED])
    health = world.webhook().health
    assert (health.circuit, health.on_trial) == (Circuit.OPEN, False)


@given(st.lists(st.booleans(), max_size=40))
def test_a_probation_has_one_verdict(taken: list[bool]) -> None:
    window = Window(0, 0, 0)
    for success in taken:
        window = window._replace(taken=window.taken + success, failed=window.failed + (not success))
        if window.fails_probation:
            assert window.failed > window.taken
            return
        if window.passes_probation:
            assert window.taken >= 3
            return


def test_a_batch_goes_out_in_waves_until_one_finds_it_down(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    assert send(world, 10) == []
    # One, two and four; the three that are left wait, and so do the seven that failed.
    assert len(world.sender.posts) == 7
    statuses = [one.status for one in world.deliveries.deliveries.values()]
    assert statuses == [Status.WAITING] * 10
    assert world.scheduler.calls == 0
    assert world.webhook().health.on_trial


def test_a_batch_to_one_that_is_back_goes_out_whole(world: World) -> None:
    at_once: list[int] = []
    running = count()
    lock = threading.Lock()

    def answer(_: str, __: Mapping[str, str]) -> Outcome:
        with lock:
            at_once.append(next(running))
        return Outcome(status_code=200)

    world.sender.answer = answer
    assert send(world, 30) == []
    assert len(at_once) == 30
    assert not world.webhook().health.on_probation
    assert {one.status for one in world.deliveries.deliveries.values()} == {Status.SUCCEEDED}


def test_no_other_webhook_waits_for_a_wave(world: World) -> None:
    world.add(2)
    posts: list[str] = []

    def answer(url: str, _: Mapping[str, str]) -> Outcome:
        posts.append(url)
        return REFUSED if url == samples.webhook(1).url else Outcome(status_code=200)

    world.sender.answer = answer
    assert send(world, 10) == []
    assert posts.count(samples.webhook(2).url) == 10 or samples.webhook(2).url == posts[0]


def test_what_there_is_no_time_for_goes_back_to_the_queue(world: World) -> None:
    def late(*_: object) -> Outcome:
        world.remaining = 20.0
        return Outcome(status_code=200)

    world.sender.answer = late
    assert send(world, 10) == []
    assert len(world.sender.posts) == 1
    assert len(world.queue.sent) >= 1


def test_a_fault_of_ours_in_a_wave_fails_its_message_alone(world: World) -> None:
    first = count()

    def answer(*_: object) -> Outcome:
        if next(first) == 0:
            raise UnavailableError("the resolver")
        return Outcome(status_code=200)

    world.sender.answer = answer
    assert send(world, 5) == ["m0"]
    assert len(world.sender.posts) == 5


def test_a_bug_in_a_report_fails_the_messages_that_are_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(world.health, "report", bug)
    failed = send(world, 5)
    assert set(failed) >= {"m1", "m2", "m3", "m4"}
    assert len(world.sender.posts) == 1


def test_draining_begins_with_two_and_what_fails_in_it_waits_on(world: World) -> None:
    recovery_id = world.webhook().health.recovery_id
    assert recovery_id is not None
    from support.recovering import DRAINING, waiting
    from webhooks.domain.health import RecoveryKey

    for second in range(40):
        world.put(waiting(second))
    world.sender.answer = lambda *_: REFUSED
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, recovery_id)
    step = world.recovery_job.advance(key, DRAINING, lambda: 60.0)
    assert step is not None
    assert len(world.sender.posts) == 2
    world.recovery_job.advance(key, step, lambda: 60.0)
    assert len(world.sender.posts) == 4
    assert world.webhook().health.on_trial
    # The two of the first step have their retries, the reports that found it down none.
    assert world.scheduler.calls == 2
    statuses = [one.status for one in world.deliveries.deliveries.values()]
    assert statuses.count(Status.WAITING) == 38


def test_others_attempts_put_what_was_found_dead_on_trial() -> None:
    world = World()
    world.add()
    before = world.webhook()
    world.health.report(before, [FAILED] * FAILURES_TO_OPEN)
    assert not world.webhook().health.on_trial
    world.health.report(before, [*[FAILED] * 9, TAKEN])
    assert world.webhook().health.on_trial
    assert world.operational_events.types == ["webhook.down"]


def test_others_failures_leave_what_was_found_dead_to_its_probes() -> None:
    world = World()
    world.add()
    before = world.webhook()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: world.health.report(before, [FAILED] * 10), range(4)))
    health = world.webhook().health
    assert (health.circuit, health.on_trial) == (Circuit.OPEN, False)


def test_another_url_ends_a_probation(world: World) -> None:
    changes = WebhookChanges(url="https://new.example.com/")
    world.store.update("acc_1", samples.WEBHOOK_ID, changes, world.now_ms + 1)
    assert not world.webhook().health.on_probation


@given(
    refused=st.lists(st.booleans(), min_size=1, max_size=12),
    made=st.integers(1, 12),
    steps=st.integers(0, 20),
)
def test_what_a_replays_step_leaves_is_neither_lost_nor_sent_twice(
    refused: list[bool], made: int, steps: int
) -> None:
    ids = [f"{number:02}" for number in range(len(refused))]
    attempts = [
        replace(TAKEN, status_code=429, error=FailureReason.HTTP_STATUS) if each else TAKEN
        for each in refused[:made]
    ]
    settled = settle(ids, ids, attempts, ReplayRefusals(steps))
    left = [
        each
        for each in ids
        if not settled.whole
        and each > (settled.up_to or "")
        and each not in settled.refusals.passed
    ]
    assert len(settled.results) + len(left) == len(ids)
    assert ReplayRefusals.read(settled.refusals.written()) == settled.refusals
