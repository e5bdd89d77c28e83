"""Pauses that receivers ask for: the rules, the writes, and the notifications."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import samples
from unit.services.dispatch.dispatch_fixture import DispatchFixture
from webhooks.domain.delivery import Claim, FailureReason, Outcome, Status
from webhooks.domain.health import SETTLE_SECONDS, Circuit, Comeback, HealthState, RecoveryKey
from webhooks.domain.jobs.recovery import RecoveryState
from webhooks.domain.pauses import asked, asked_until_ms, is_notified, moves, retry_seconds
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges
from webhooks.services.retrier import Decision, Machine

NOW_MS = samples.NOW_MS
MINUTE_MS = 60_000
TAKEN = samples.attempt(status_code=200, error=None)


def asks(seconds: float, status_code: int = 429) -> Outcome:
    return Outcome(FailureReason.HTTP_STATUS, status_code, 7, retry_after_seconds=seconds)


@pytest.fixture
def services() -> DispatchFixture:
    services = DispatchFixture()
    services.add()
    return services


def pause(services: DispatchFixture, seconds: float = 600, **health: Any) -> None:
    """Pause the webhook for so long from now on."""
    until_ms = services.now_ms + int(seconds * 1000)
    webhook = services.webhook()
    paused = replace(webhook.health, not_before_ms=until_ms, **health)
    services.store.add(replace(webhook, health=paused), Secrets(samples.SECRET))


def events(*numbers: int) -> list[str]:
    return [samples.event_text(transaction_id=f"txn_{number}") for number in numbers]


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (asks(600), 600),
        (asks(0.2, 503), 1),
        (asks(59.99), 60),
        (asks(10**9), 86_400),
        (asks(0), None),
        (asks(600, 500), None),
        (Outcome(FailureReason.HTTP_STATUS, 429), None),
        (Outcome(status_code=200, retry_after_seconds=600), None),
    ],
)
def test_only_a_429_or_503_with_retry_after_asks_for_a_pause(
    outcome: Outcome, seconds: int | None
) -> None:
    expected = None if seconds is None else NOW_MS + seconds * 1000
    assert asked_until_ms(outcome, NOW_MS) == expected


@pytest.mark.parametrize(
    ("taken_at_ms", "until_ms"),
    # The response with the request for a pause comes at 35 ms.
    [(0, NOW_MS + 60_000), (35, NOW_MS + 60_000), (36, None)],
)
def test_a_success_ends_only_a_pause_that_was_asked_for_before_it_was_sent(
    taken_at_ms: int, until_ms: int | None
) -> None:
    asking = samples.attempt(status_code=429, not_before_ms=NOW_MS + 60_000)
    taken = replace(TAKEN, started_at_ms=NOW_MS + taken_at_ms)
    assert asked([asking, taken]) == asked([taken, asking]) == until_ms


@pytest.mark.parametrize(
    ("known_ms", "until_ms", "writes"),
    [
        (None, NOW_MS + 1000, True),
        (None, NOW_MS + 992, True),
        (None, NOW_MS, False),
        (NOW_MS - MINUTE_MS, NOW_MS + 1000, True),
        (NOW_MS + MINUTE_MS, NOW_MS + MINUTE_MS + 999, False),
        (NOW_MS + MINUTE_MS, NOW_MS + MINUTE_MS + 1000, True),
        (NOW_MS + MINUTE_MS, NOW_MS + 5000, False),
    ],
)
def test_a_pause_is_written_where_it_moves_later_by_a_second(
    known_ms: int | None, until_ms: int, writes: bool
) -> None:
    assert moves(known_ms, until_ms, NOW_MS) is writes


@pytest.mark.parametrize(
    ("before_minutes", "minutes", "notified"),
    [(None, 15, False), (None, 16, True), (-5, 16, True), (10, 16, True), (16, 60, False)],
)
def test_an_owner_is_notified_once_of_a_pause_of_over_fifteen_minutes(
    before_minutes: int | None, minutes: int, notified: bool
) -> None:
    before_ms = None if before_minutes is None else NOW_MS + before_minutes * MINUTE_MS
    assert is_notified(before_ms, NOW_MS + minutes * MINUTE_MS, NOW_MS) is notified


@given(st.integers(1, 86_400_000), st.floats(0, 1))
def test_a_retry_that_a_pause_holds_up_is_never_early_and_at_most_a_minute_late(
    wait_ms: int, random: float
) -> None:
    seconds = retry_seconds(NOW_MS + wait_ms, NOW_MS, random)
    assert wait_ms / 1000 <= seconds <= wait_ms / 1000 + 60


def test_a_webhook_without_a_pause_costs_no_write(services: DispatchFixture) -> None:
    assert services.send(*events(1, 2, 3)) == []
    services.sender.answer = lambda _, __: asks(0)
    assert services.send(*events(4)) == []
    assert services.health_store.writes == ["failed"]
    assert services.recoveries.started == []


@pytest.mark.parametrize("status_code", [429, 503])
def test_events_wait_for_the_one_recovery_of_a_paused_webhook(
    services: DispatchFixture, status_code: int
) -> None:
    services.sender.answer = lambda _, __: asks(600, status_code)
    assert services.send(*events(1)) == []
    until_ms = NOW_MS + 600_000
    assert services.webhook().health.not_before_ms == until_ms
    # Nothing waits yet; therefore nothing can be sent later.
    assert services.recoveries.started == []

    services.now_ms += 1000
    for number in range(3):
        assert services.send(*events(10 * number + 10, 10 * number + 11)) == []
    assert len(services.sender.posts) == 1
    deferred = [one for one in services.stored() if one.status is Status.WAITING]
    assert {one.reason for one in deferred} == {"retry_after"}
    assert len(deferred) == 6
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-1")
    assert services.recoveries.started == [(key, 599.0)]
    health = services.webhook().health
    assert (health.circuit, health.recovery_due_at_ms) == (Circuit.DRAINING, until_ms)
    assert health.comeback is Comeback.SLOW
    assert health.state is HealthState.FAILING
    assert services.health_store.writes == ["pause", "failed", "begin"]


def test_of_one_batch_what_is_not_sent_yet_waits_too(services: DispatchFixture) -> None:
    """A batch of forty sends at most one delivery for each thread."""
    services.sender.answer = lambda _, __: asks(30)
    assert services.send(*events(*range(40)), group="acc_1") == []
    assert len(services.sender.posts) <= 8
    waiting = [one for one in services.stored() if one.status is Status.WAITING]
    assert len(waiting) == 40 - len(services.sender.posts)
    assert services.health_store.writes.count("pause") == 1
    assert services.health_store.writes.count("begin") == 1
    assert len(services.recoveries.started) == 1


def test_nothing_waits_where_the_pause_could_not_be_recorded(services: DispatchFixture) -> None:
    """Nothing would hold back the recovery that is to send it, nor keep it from its end."""
    services.sender.answer = lambda _, __: asks(30)
    services.health_store.failures.plan("pause", True)
    assert services.send(*events(*range(20))) == []
    assert {one.status for one in services.stored()} == {Status.RETRYING}
    assert services.telemetry.counts["UnrecordedHealth"] == 1


def test_a_message_comes_again_where_its_recovery_could_not_be_recorded(
    services: DispatchFixture,
) -> None:
    pause(services)
    services.health_store.failures.plan("begin", True)
    assert services.send(*events(1, 2)) == ["m0", "m1"]
    assert services.stored() == []


def test_a_recovery_whose_start_is_refused_is_left_to_the_sweep(services: DispatchFixture) -> None:
    pause(services)
    services.recoveries.failures.plan("start", True)
    assert services.send(*events(1)) == []
    assert services.only().reason == "retry_after"
    services.sweep_job.sweep(lambda: 60.0)
    assert services.recoveries.started == []
    services.now_ms += 600_001
    services.sweep_job.sweep(lambda: 60.0)
    [(key, delay)] = services.recoveries.started
    assert (key.recovery_id, delay) == (services.webhook().health.recovery_id, 0)


def test_the_owner_is_notified_of_a_long_pause_once(services: DispatchFixture) -> None:
    for seconds in (900, 901, 3600):
        services.sender.answer = lambda _, __, seconds=seconds: asks(seconds)
        services.retrier.attempt_by_hand(services.destination(), samples.delivery())
    assert services.operational_events.types == ["webhook.paused"]
    [published] = services.operational_events.published
    assert published.facts == {"not_before": "2025-12-21T10:45:01.000Z"}
    assert services.telemetry.counts["WebhooksPaused"] == 1


def test_a_success_clears_the_pause_that_was_known_when_it_was_sent(
    services: DispatchFixture,
) -> None:
    pause(services, 5)
    known = services.webhook()
    services.now_ms += 6000
    services.send(*events(1))
    assert services.webhook().health.not_before_ms is None
    assert services.health_store.writes == ["clear_pause"]
    # A pause that was requested since stays, and so does a pause unknown to the function.
    pause(services, 60)
    later_ms = services.webhook().health.not_before_ms
    services.pauses.heard(known, [TAKEN])
    services.pauses.heard(replace(known, health=replace(known.health, not_before_ms=None)), [TAKEN])
    assert services.webhook().health.not_before_ms == later_ms


def test_a_response_of_a_url_that_was_changed_since_pauses_nothing(
    services: DispatchFixture,
) -> None:
    before = services.webhook()
    changes = WebhookChanges(url="https://new.example.com/hook")
    services.store.update("acc_1", samples.WEBHOOK_ID, changes, NOW_MS + 1)
    attempt = samples.attempt(status_code=429, not_before_ms=NOW_MS + 60_000)
    services.pauses.heard(before, [attempt])
    assert services.webhook().health.not_before_ms is None


@pytest.mark.parametrize("machine", Machine)
def test_a_retry_that_is_due_in_a_pause_is_moved_and_uses_up_no_attempt(
    services: DispatchFixture, machine: Machine
) -> None:
    services.short_delay_seconds = 60.0
    services.random = 1.0
    delivery = services.put(samples.delivery(short=machine is Machine.SHORT))
    pause(services, 300)
    verdict = services.retry(delivery.key, 2, machine=machine)
    stored = services.only()
    assert services.sender.posts == []
    assert stored.attempts == delivery.attempts
    assert (stored.status, stored.next_attempt_at_ms) == (Status.RETRYING, NOW_MS + 330_000)
    if machine is Machine.SHORT:
        # The other machine waits for any time.
        assert verdict.decision is Decision.DONE
        assert services.scheduler.executions[delivery.key] == (2, 330.0)
    else:
        assert (verdict.decision, verdict.seconds) == (Decision.WAIT, 330.0)
    services.now_ms += 330_000
    assert services.retry(delivery.key, 2, machine=Machine.STANDARD).decision is Decision.DONE
    assert services.only().status is Status.SUCCEEDED


@pytest.mark.parametrize("machine", [Machine.STANDARD, Machine.SHORT])
def test_a_retry_that_another_invocation_is_making_is_not_moved(
    services: DispatchFixture, machine: Machine
) -> None:
    """Its request may be on its way for longer than the pause."""
    claim = Claim("another", NOW_MS + 80_000)
    delivery = services.put(samples.delivery(claim=claim, short=machine is Machine.SHORT))
    pause(services, 1)
    verdict = services.retry(delivery.key, 2, machine=machine)
    assert services.only() == delivery
    if machine is Machine.STANDARD:
        assert (verdict.decision, verdict.seconds) == (Decision.WAIT, 80.0)
    services.now_ms += 1000
    services.retry(delivery.key, 2, machine=machine)
    assert services.sender.posts == []


def test_a_retry_that_is_moved_keeps_count_of_claims_without_a_result(
    services: DispatchFixture,
) -> None:
    claim = Claim("dead", NOW_MS - 1, count=2)
    delivery = services.put(samples.delivery(claim=claim))
    pause(services, 300)
    verdict = services.retry(delivery.key, 2)
    assert services.only().claim == claim
    # The pause's end, and not the end of a lease that is over.
    assert (verdict.decision, verdict.seconds) == (Decision.WAIT, 300.0)


def test_a_retry_changed_by_others_meanwhile_is_not_moved(services: DispatchFixture) -> None:
    delivery = services.put(samples.delivery())
    pause(services)
    stale = replace(delivery, next_attempt_at_ms=1)
    assert services.retrier._postpone(stale, NOW_MS, Machine.STANDARD) == delivery


def test_a_resend_that_meets_a_pause_waits_and_is_made_then(services: DispatchFixture) -> None:
    delivery = services.put(samples.delivery())
    pause(services, 90)
    resent = services.retrier.resend(delivery.key)
    assert (resent.succeeded, resent.wait_seconds) == (False, 90.0)
    assert services.sender.posts == []
    services.now_ms += 90_000
    assert services.retrier.resend(delivery.key).succeeded
    assert services.only().status is Status.SUCCEEDED


def test_a_recovery_waits_for_the_end_of_a_pause_whatever_it_does_next(
    services: DispatchFixture,
) -> None:
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-0")
    for circuit in (Circuit.OPEN, Circuit.DRAINING):
        pause(services, 600, circuit=circuit, recovery_id=key.recovery_id)
        for before in (RecoveryState(0), RecoveryState(0, probe=0, pace=0.5)):
            after = services.recovery_job.advance(key, before, lambda: 60.0)
            assert after == before._replace(seconds=600.0)
    assert services.sender.posts == []
    assert services.webhook().health.recovery_due_at_ms >= NOW_MS + 600_000


def test_a_recovery_ends_only_where_no_function_can_still_defer_for_a_pause(
    services: DispatchFixture,
) -> None:
    key = RecoveryKey("acc_1", samples.WEBHOOK_ID, "recovery-0")
    pause(services, 30, circuit=Circuit.DRAINING, recovery_id="recovery-0", draining_since_ms=5)
    services.now_ms += 30_000
    settles = services.recovery_job.advance(key, RecoveryState(0), lambda: 60.0)
    assert settles is not None
    assert (settles.seconds, settles.settled) == (SETTLE_SECONDS, NOW_MS + 30_000)

    # At the very end a function that read the webhook before gets another request for a pause.
    end = services.health_store.end

    def meanwhile(
        key: RecoveryKey, draining_since_ms: int, *, not_before_ms: int | None = None
    ) -> bool:
        pause(services, 60)
        return end(key, draining_since_ms, not_before_ms=not_before_ms)

    services.health_store.end = meanwhile  # type: ignore[method-assign]
    again = services.recovery_job.advance(key, settles, lambda: 60.0)
    assert again is not None
    assert services.webhook().health.recovery_id == "recovery-0"
    services.health_store.end = end  # type: ignore[method-assign]
    waits = services.recovery_job.advance(key, again, lambda: 60.0)
    assert waits is not None
    assert waits.seconds == 60.0
    services.now_ms += 60_000
    settles = services.recovery_job.advance(key, waits, lambda: 60.0)
    assert settles is not None
    assert services.recovery_job.advance(key, settles, lambda: 60.0) is None
    assert services.webhook().health.circuit is Circuit.CLOSED


def test_a_batch_that_finds_a_pause_has_a_recovery_that_outlives_it(
    services: DispatchFixture,
) -> None:
    """The recovery that the webhook was read with may have ended by then."""
    pause(services, -1, circuit=Circuit.DRAINING, recovery_id="recovery-0")
    services.sender.answer = lambda _, __: _ends_recovery(services)
    assert services.send(*events(*range(30))) == []
    assert {one.reason for one in services.stored()} == {None, "retry_after"}
    assert services.webhook().health.recovery_id == "recovery-1"
    assert len(services.recoveries.started) == 1


def _ends_recovery(services: DispatchFixture) -> Outcome:
    health = replace(services.webhook().health, circuit=Circuit.CLOSED, recovery_id=None)
    if services.webhook().health.recovery_id == "recovery-0":
        services.store.add(replace(services.webhook(), health=health), Secrets(samples.SECRET))
    return asks(60)
