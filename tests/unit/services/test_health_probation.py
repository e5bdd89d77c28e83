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
from support.service_fixture import ServiceFixture
from unit.services.watched_deliveries import Inline
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
def services() -> ServiceFixture:
    """A webhook that was down, and accepted one delivery."""
    services = ServiceFixture(recovery_rate=50)
    services.add()
    services.health.report(services.webhook(), [FAILED] * FAILURES_TO_OPEN)
    services.health.report(services.webhook(), [TAKEN])
    assert services.webhook().health.on_probation
    services.health_store.writes.clear()
    return services


def send(services: ServiceFixture, number: int) -> list[str]:
    texts = [samples.event_text(transaction_id=f"txn_{n}") for n in range(number)]
    return services.send(*texts)


def test_three_that_are_taken_end_it_and_cost_no_write_after_that(services: ServiceFixture) -> None:
    for _ in range(3):
        assert services.webhook().health.on_probation
        services.health.report(services.webhook(), [TAKEN])
    assert not services.webhook().health.on_probation
    assert services.health_store.writes == [*["count_on_probation"] * 3, "end_probation"]
    services.health.report(services.webhook(), [TAKEN])
    assert len(services.health_store.writes) == 4


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_four_that_fail_have_it_down_on_trial(services: ServiceFixture, at_once: int) -> None:
    for _ in range(4 // at_once):
        assert services.webhook().health.circuit is Circuit.DRAINING
        services.health.report(services.webhook(), [FAILED] * at_once)
    assert services.webhook().health.on_trial
    assert services.operational_events.types == [
        "webhook.down",
        "webhook.recovered",
        "webhook.down",
    ]


def test_it_lasts_until_its_verdict_however_long_that_takes(services: ServiceFixture) -> None:
    for _ in range(4):
        services.now_ms += 600_000
        services.health.report(services.webhook(), [FAILED])
    assert services.webhook().health.on_trial


def test_a_rate_limit_is_no_reason_for_a_trial(services: ServiceFixture) -> None:
    services.health.report(services.webhook(), [LIMITED] * (FAILURES_TO_OPEN - 1))
    assert services.webhook().health.on_probation
    services.health.report(services.webhook(), [LIMITED])
    health = services.webhook().health
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


def test_a_batch_goes_out_in_waves_until_one_finds_it_down(services: ServiceFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    assert send(services, 10) == []
    # One, two and four; the three that are left wait, and so do the seven that failed.
    assert len(services.sender.posts) == 7
    statuses = [one.status for one in services.deliveries.deliveries.values()]
    assert statuses == [Status.WAITING] * 10
    assert services.scheduler.calls == 0
    assert services.webhook().health.on_trial


def test_a_wave_that_ends_at_once_leaves_each_delivery_to_the_waves(
    services: ServiceFixture,
) -> None:
    """Its end changes the health of the other tasks while the batch still begins."""
    services.sender.answer = lambda *_: REFUSED
    services.dispatcher.threads.attempts = Inline()
    assert send(services, 10) == []
    assert services.telemetry.counts["DeferredDeliveries"] == 10
    assert "Duplicates" not in services.telemetry.counts


def test_a_batch_to_one_that_is_back_goes_out_whole(services: ServiceFixture) -> None:
    at_once: list[int] = []
    running = count()
    lock = threading.Lock()

    def answer(_: str, __: Mapping[str, str]) -> Outcome:
        with lock:
            at_once.append(next(running))
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert send(services, 30) == []
    assert len(at_once) == 30
    assert not services.webhook().health.on_probation
    assert {one.status for one in services.deliveries.deliveries.values()} == {Status.SUCCEEDED}


def test_no_other_webhook_waits_for_a_wave(services: ServiceFixture) -> None:
    services.add(2)
    posts: list[str] = []

    def answer(url: str, _: Mapping[str, str]) -> Outcome:
        posts.append(url)
        return REFUSED if url == samples.webhook(1).url else Outcome(status_code=200)

    services.sender.answer = answer
    assert send(services, 10) == []
    assert posts.count(samples.webhook(2).url) == 10 or samples.webhook(2).url == posts[0]


def test_what_there_is_no_time_for_goes_back_to_the_queue(services: ServiceFixture) -> None:
    def late(*_: object) -> Outcome:
        services.remaining = 20.0
        return Outcome(status_code=200)

    services.sender.answer = late
    assert send(services, 10) == []
    assert len(services.sender.posts) == 1
    assert len(services.queue.sent) >= 1


def test_a_fault_of_ours_in_a_wave_fails_its_message_alone(services: ServiceFixture) -> None:
    first = count()

    def answer(*_: object) -> Outcome:
        if next(first) == 0:
            raise UnavailableError("the resolver")
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert send(services, 5) == ["m0"]
    assert len(services.sender.posts) == 5


def test_a_bug_in_a_report_fails_the_messages_that_are_left(
    services: ServiceFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(services.health, "report", bug)
    failed = send(services, 5)
    assert set(failed) >= {"m1", "m2", "m3", "m4"}
    assert len(services.sender.posts) == 1


def test_draining_begins_with_two_and_what_fails_in_it_waits_on(services: ServiceFixture) -> None:
    recovery_id = services.webhook().health.recovery_id
    assert recovery_id is not None
    from unit.services.jobs.recovery_fixture import DRAINING, waiting
    from webhooks.domain.health import RecoveryKey

    for second in range(40):
        services.put(waiting(second))
    services.sender.answer = lambda *_: REFUSED
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, recovery_id)
    step = services.recovery_job.advance(key, DRAINING, lambda: 60.0)
    assert step is not None
    assert len(services.sender.posts) == 2
    services.recovery_job.advance(key, step, lambda: 60.0)
    assert len(services.sender.posts) == 4
    assert services.webhook().health.on_trial
    # The two of the first step have their retries, the reports that found it down none.
    assert services.scheduler.calls == 2
    statuses = [one.status for one in services.deliveries.deliveries.values()]
    assert statuses.count(Status.WAITING) == 38


def test_others_attempts_put_what_was_found_dead_on_trial() -> None:
    services = ServiceFixture()
    services.add()
    before = services.webhook()
    services.health.report(before, [FAILED] * FAILURES_TO_OPEN)
    assert not services.webhook().health.on_trial
    services.health.report(before, [*[FAILED] * 9, TAKEN])
    assert services.webhook().health.on_trial
    assert services.operational_events.types == ["webhook.down"]


def test_others_failures_leave_what_was_found_dead_to_its_probes() -> None:
    services = ServiceFixture()
    services.add()
    before = services.webhook()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: services.health.report(before, [FAILED] * 10), range(4)))
    health = services.webhook().health
    assert (health.circuit, health.on_trial) == (Circuit.OPEN, False)


def test_another_url_ends_a_probation(services: ServiceFixture) -> None:
    changes = WebhookChanges(url="https://new.example.com/")
    services.store.update("acc_1", samples.WEBHOOK_ID, changes, services.now_ms + 1)
    assert not services.webhook().health.on_probation


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
