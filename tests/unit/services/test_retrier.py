from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain import signing
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.webhook import Secrets
from webhooks.services.redriver import Redriven, Redriver
from webhooks.services.retrier import Decision

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
NOW = samples.NOW_MS / 1000


class RetrierFixture(ServiceFixture):
    """A retrier among fakes, with one delivery that failed once."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add()
        self.delivery = self.put(samples.delivery())

    def stored(self) -> Delivery:
        return self.deliveries.deliveries[self.delivery.key]


@pytest.fixture
def services() -> RetrierFixture:
    return RetrierFixture()


def test_a_success_ends_the_schedule(services: RetrierFixture) -> None:
    verdict = services.retry(services.delivery.key, 2)
    assert verdict.decision is Decision.DONE
    assert services.stored().status is Status.SUCCEEDED
    assert [attempt.number for attempt in services.stored().attempts] == [1, 2]
    [(_, body, headers)] = services.sender.posts
    assert body == services.delivery.body
    assert headers["X-SendComms-Attempt"] == "2"


def test_the_latency_of_a_retried_delivery_is_measured_once_it_got_there(
    services: RetrierFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    services.retry(services.delivery.key, 2)
    assert services.telemetry.times == {}
    services.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    services.now_ms += 305_000
    services.retry(services.delivery.key, 3)
    waited = services.now_ms - services.delivery.created_at_ms
    assert services.telemetry.times == {"DeliveryLatency": [waited + 40]}
    assert services.telemetry.traced["event_ids"] == [services.delivery.event_id] * 2


def test_a_delivery_that_its_owner_sends_again_has_no_latency(services: RetrierFixture) -> None:
    services.retrier.resend(services.delivery.key)
    assert services.stored().status is Status.SUCCEEDED
    assert services.telemetry.times == {}


def test_a_failure_waits_for_the_next_attempt_with_jitter(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    verdict = services.retry(services.delivery.key, 2)
    assert verdict.decision is Decision.WAIT
    assert verdict.seconds == pytest.approx(315.0)
    assert services.stored().next_attempt_at_ms == samples.NOW_MS + 315_000


def test_the_last_failure_exhausts_the_delivery(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    services.retry(services.delivery.key, 2)
    verdict = services.retry(services.delivery.key, 3)
    assert verdict.decision is Decision.DEAD_LETTER
    assert (services.stored().status, services.stored().reason) == (Status.EXHAUSTED, "http_status")
    # Due until the dead-letter queue has its message.
    assert services.stored().next_attempt_at_ms == services.now_ms
    services.retrier.note_dead_letter(services.delivery.key, 0)
    assert services.stored().next_attempt_at_ms is None
    assert services.retry(services.delivery.key, 3).decision is Decision.DONE


def test_retry_after_moves_the_next_attempt_later(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: Outcome(
        FailureReason.HTTP_STATUS, status_code=503, retry_after_seconds=4_000
    )
    assert services.retry(services.delivery.key, 2).seconds == pytest.approx(4_000)


def test_an_attempt_made_before_is_not_made_again(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    first = services.retry(services.delivery.key, 2)
    assert services.retry(services.delivery.key, 2) == first
    assert len(services.sender.posts) == 1


def test_a_dead_letter_whose_answer_was_lost_is_decided_again(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    for number in (2, 3):
        services.retry(services.delivery.key, number)
    assert services.retry(services.delivery.key, 3).decision is Decision.DEAD_LETTER
    assert len(services.sender.posts) == 2


def test_a_deleted_webhooks_delivery_is_cancelled_without_an_attempt(
    services: RetrierFixture,
) -> None:
    services.store.delete("acc_1", samples.webhook().id)
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert (services.stored().status, services.stored().reason) == (
        Status.CANCELLED,
        "webhook_deleted",
    )
    assert services.sender.posts == []


def test_a_disabled_webhooks_delivery_waits(services: RetrierFixture) -> None:
    services.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert services.stored().status is Status.WAITING
    assert services.sender.posts == []


def test_gone_disables_the_webhook(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=410)
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    webhook = services.store.get("acc_1", samples.webhook().id)
    assert webhook is not None
    assert not webhook.active
    assert services.stored().status is Status.WAITING


def test_a_moved_webhook_is_sent_to_its_new_url_with_its_new_secret(
    services: RetrierFixture,
) -> None:
    moved = samples.webhook(url="https://new.example.com/hook")
    services.store.add(moved, Secrets("a-secret-of-the-users-own"))
    services.retry(services.delivery.key, 2)
    [(url, _, headers)] = services.sender.posts
    assert url == moved.url
    expected = signing.sendcomms_signature("a-secret-of-the-users-own", services.delivery.body)
    assert headers["X-SendComms-Signature"] == expected


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.WAITING])
def test_a_delivery_no_longer_retrying_is_left_alone(
    services: RetrierFixture, status: Status
) -> None:
    settled = replace(services.delivery, status=status)
    services.deliveries.deliveries[settled.key] = settled
    assert services.retry(settled.key, 2).decision is Decision.DONE
    assert services.sender.posts == []
    assert services.stored() == settled


def test_a_delivery_past_its_retention_is_done(services: RetrierFixture) -> None:
    services.deliveries.deliveries.clear()
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert services.telemetry.logged("delivery_expired")


def test_the_first_record_decides(services: RetrierFixture) -> None:
    rival = services.delivery.after(
        samples.attempt(2, status_code=200, error=None), Status.SUCCEEDED
    )

    def answer(*_: object) -> Outcome:
        services.deliveries.deliveries[rival.key] = rival
        return REFUSED

    services.sender.answer = answer
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert services.stored() == rival


@pytest.mark.parametrize("method", ["get", "update"])
def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(
    services: RetrierFixture, method: str
) -> None:
    services.deliveries.failures.plan(method, True)
    with pytest.raises(UnavailableError):
        services.retry(services.delivery.key, 2)
    assert len(services.stored().attempts) == 1


def test_an_execution_of_another_generation_ends_and_touches_nothing(
    services: RetrierFixture,
) -> None:
    services.put(replace(services.delivery, generation=2))
    for generation in (0, 1, 3):
        verdict = services.retry(services.delivery.key, 2, generation)
        assert verdict.decision is Decision.DONE
    assert services.sender.posts == []
    assert services.stored() == replace(services.delivery, generation=2)
    assert services.retry(services.delivery.key, 2, 2).decision is Decision.DONE
    assert len(services.sender.posts) == 1


def test_an_execution_whose_delivery_was_given_another_meanwhile_ends(
    services: RetrierFixture,
) -> None:
    def answer(*_: object) -> Outcome:
        services.put(replace(services.stored(), generation=1))
        return REFUSED

    services.sender.answer = answer
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert (services.stored().generation, len(services.stored().attempts)) == (1, 2)
    assert services.retry(services.delivery.key, 2, 1).decision is Decision.WAIT
    assert len(services.sender.posts) == 1


def test_a_drained_delivery_that_fails_gets_the_next_generation_of_executions(
    services: RetrierFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    delivery = services.put(services.delivery.defer("webhook_down"))
    attempt = services.retrier.drain(services.destination(), delivery)
    assert attempt is not None
    assert attempt.scheduled
    stored = services.stored()
    assert (stored.status, stored.generation, stored.reason) == (Status.RETRYING, 1, None)
    assert services.scheduler.executions == {delivery.key: (3, 315.0)}
    assert services.retry(delivery.key, 2, 0).decision is Decision.DONE
    assert len(services.sender.posts) == 1


def test_a_drained_delivery_whose_schedule_is_not_started_is_the_sweeps(
    services: RetrierFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    delivery = services.put(services.delivery.defer("webhook_down"))
    services.scheduler.failures.plan("start", True)
    assert services.retrier.drain(services.destination(), delivery) is not None
    stored = services.stored()
    assert (stored.status, stored.unstarted) == (Status.RETRYING, True)
    assert (stored.generation, len(stored.attempts)) == (1, 2)
    # Its execution may have been started, with only the answer lost.
    services.sender.answer = lambda *_: Outcome(status_code=200)
    assert services.retry(delivery.key, 3, 1).decision is Decision.DONE
    assert (services.stored().status, services.stored().unstarted) == (Status.SUCCEEDED, False)


def test_a_drained_delivery_that_cannot_be_marked_either_is_our_own_trouble(
    services: RetrierFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    delivery = services.put(services.delivery.defer("webhook_down"))
    services.scheduler.failures.plan("start", True)
    services.deliveries.failures.plan("mark_unstarted", True)
    with pytest.raises(UnavailableError):
        services.retrier.drain(services.destination(), delivery)
    # The receiver got a request, and gets none in the later steps.
    assert services.webhook().health.failures == 1
    assert services.stored().status is Status.RETRYING


def test_a_drained_delivery_that_arrives_needs_no_execution(services: RetrierFixture) -> None:
    delivery = services.put(services.delivery.defer("webhook_down"))
    assert (
        services.retrier.drain(services.destination(), delivery) == services.stored().attempts[-1]
    )
    assert (services.stored().status, services.stored().generation) == (Status.SUCCEEDED, 0)
    assert services.scheduler.calls == 0


def exhausted_by_draining(services: RetrierFixture) -> Delivery:
    services.sender.answer = lambda *_: REFUSED
    last = samples.delivery(
        status=Status.WAITING,
        attempts=(samples.attempt(1), samples.attempt(2)),
        next_attempt_at_ms=None,
    )
    services.retrier.drain(services.destination(), services.put(last))
    return services.stored()


def test_a_delivery_exhausted_by_draining_goes_to_the_dead_letter_queue_once(
    services: RetrierFixture,
) -> None:
    exhausted = exhausted_by_draining(services)
    assert (exhausted.status, exhausted.generation) == (Status.EXHAUSTED, 1)
    assert exhausted.next_attempt_at_ms == samples.NOW_MS
    assert services.scheduler.executions == {exhausted.key: (4, 0.0)}

    # After a lost answer the one execution requests the verdict twice.
    for _ in range(2):
        verdict = services.retry(exhausted.key, 4, 1)
        assert verdict.decision is Decision.DEAD_LETTER
    assert services.stored() == exhausted
    services.retrier.note_dead_letter(exhausted.key, 1)
    assert services.stored() == replace(exhausted, next_attempt_at_ms=None)
    assert services.operational_events.types.count("delivery.exhausted") == 1
    assert len(services.sender.posts) == 1


def test_an_attempt_by_hand_in_between_repeats_no_notice(services: RetrierFixture) -> None:
    exhausted = exhausted_by_draining(services)
    update = services.deliveries.update

    def after_one_by_hand(delivery: Delivery, *, before: Delivery) -> bool:
        services.deliveries.update = update  # type: ignore[method-assign]
        services.retrier.attempt_by_hand(services.destination(), services.stored())
        return update(delivery, before=before)

    services.deliveries.update = after_one_by_hand  # type: ignore[method-assign]
    services.retrier.note_dead_letter(exhausted.key, 1)
    assert [attempt.manual for attempt in services.stored().attempts[-2:]] == [False, True]
    # A delivery that is no longer due is no work for the sweeper.
    assert services.stored().next_attempt_at_ms is None


def test_its_being_told_in_between_does_not_have_an_attempt_by_hand_make_it_due_again(
    services: RetrierFixture,
) -> None:
    exhausted = exhausted_by_draining(services)

    def told_meanwhile(*_: object) -> Outcome:
        services.retrier.note_dead_letter(exhausted.key, 1)
        return REFUSED

    services.sender.answer = told_meanwhile
    services.retrier.resend(exhausted.key)
    assert services.stored().attempts[-1].manual
    assert services.stored().next_attempt_at_ms is None


def test_a_redrive_in_between_is_not_undone_by_the_older_execution(
    services: RetrierFixture,
) -> None:
    exhausted = exhausted_by_draining(services)
    update = services.deliveries.update

    def after_a_redrive(delivery: Delivery, *, before: Delivery) -> bool:
        services.deliveries.update = update  # type: ignore[method-assign]
        redriver = Redriver(services.deliveries, services.scheduler, services.clock)
        assert redriver.redrive(exhausted.key) is Redriven.STARTED
        return update(delivery, before=before)

    services.deliveries.update = after_a_redrive  # type: ignore[method-assign]
    services.retrier.note_dead_letter(exhausted.key, 1)
    assert (services.stored().status, services.stored().generation) == (Status.RETRYING, 2)
    assert services.operational_events.types.count("delivery.exhausted") == 1


def test_a_probe_is_not_part_of_the_schedule(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    delivery = services.put(services.delivery.defer("webhook_down"))
    for _ in range(5):
        assert not services.retrier.probe(services.destination(), services.stored())
    probed = services.stored()
    assert (probed.status, probed.reason) == (Status.WAITING, "webhook_down")
    assert [attempt.number for attempt in probed.attempts] == [1, 2, 3, 4, 5, 6]
    assert probed.scheduled_attempts == delivery.scheduled_attempts == 1
    services.retrier.drain(services.destination(), probed)
    assert services.stored().next_attempt_at_ms == samples.NOW_MS + 315_000


def test_a_full_log_is_probed_without_another_line(services: RetrierFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    full = tuple(samples.attempt(number + 1, probe=True) for number in range(MAX_ATTEMPTS))
    delivery = services.put(samples.delivery(status=Status.WAITING, attempts=full))
    assert not services.retrier.probe(services.destination(), delivery)
    assert services.stored() == delivery
    services.sender.answer = None
    assert services.retrier.probe(services.destination(), delivery)
    assert services.stored().status is Status.SUCCEEDED


def test_two_that_drain_the_same_delivery_record_its_attempt_once(services: RetrierFixture) -> None:
    delivery = services.put(services.delivery.defer("webhook_down"))
    services.sender.answer = lambda *_: REFUSED
    for _ in range(2):
        services.retrier.drain(services.destination(), delivery)
    assert [attempt.number for attempt in services.stored().attempts] == [1, 2]
    assert services.stored().generation == 1
    assert len(services.scheduler.generations) == 1


def test_of_one_attempt_made_twice_a_success_is_never_dropped(services: RetrierFixture) -> None:
    rival = services.delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)

    def answer(*_: object) -> Outcome:
        services.put(rival)
        return Outcome(status_code=200)

    services.sender.answer = answer
    assert services.retry(services.delivery.key, 2).decision is Decision.DONE
    assert services.stored().status is Status.SUCCEEDED
    assert [attempt.number for attempt in services.stored().attempts] == [1, 2, 3]
    assert services.stored().next_attempt_at_ms is None
