from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.service_fixture import World as Services
from webhooks.domain import signing
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.webhook import Secrets
from webhooks.services.redriver import Redriven, Redriver
from webhooks.services.retrier import Decision

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
NOW = samples.NOW_MS / 1000


class World(Services):
    """A retrier among fakes, with one delivery that failed once."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add()
        self.delivery = self.put(samples.delivery())

    def stored(self) -> Delivery:
        return self.deliveries.deliveries[self.delivery.key]


@pytest.fixture
def world() -> World:
    return World()


def test_a_success_ends_the_schedule(world: World) -> None:
    verdict = world.retry(world.delivery.key, 2)
    assert verdict.decision is Decision.DONE
    assert world.stored().status is Status.SUCCEEDED
    assert [attempt.number for attempt in world.stored().attempts] == [1, 2]
    [(_, body, headers)] = world.sender.posts
    assert body == world.delivery.body
    assert headers["X-SendComms-Attempt"] == "2"


def test_the_latency_of_a_retried_delivery_is_measured_once_it_got_there(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    world.retry(world.delivery.key, 2)
    assert world.telemetry.times == {}
    world.sender.answer = lambda *_: Outcome(status_code=200, duration_ms=40)
    world.now_ms += 305_000
    world.retry(world.delivery.key, 3)
    waited = world.now_ms - world.delivery.created_at_ms
    assert world.telemetry.times == {"DeliveryLatency": [waited + 40]}
    assert world.telemetry.traced["event_ids"] == [world.delivery.event_id] * 2


def test_a_delivery_that_its_owner_sends_again_has_no_latency(world: World) -> None:
    world.retrier.resend(world.delivery.key)
    assert world.stored().status is Status.SUCCEEDED
    assert world.telemetry.times == {}


def test_a_failure_waits_for_the_next_attempt_with_jitter(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    verdict = world.retry(world.delivery.key, 2)
    assert verdict.decision is Decision.WAIT
    assert verdict.seconds == pytest.approx(315.0)
    assert world.stored().next_attempt_at_ms == samples.NOW_MS + 315_000


def test_the_last_failure_exhausts_the_delivery(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    world.retry(world.delivery.key, 2)
    verdict = world.retry(world.delivery.key, 3)
    assert verdict.decision is Decision.DEAD_LETTER
    assert (world.stored().status, world.stored().reason) == (Status.EXHAUSTED, "http_status")
    # Due until the dead-letter queue has its message.
    assert world.stored().next_attempt_at_ms == world.now_ms
    world.retrier.note_dead_letter(world.delivery.key, 0)
    assert world.stored().next_attempt_at_ms is None
    assert world.retry(world.delivery.key, 3).decision is Decision.DONE


def test_retry_after_moves_the_next_attempt_later(world: World) -> None:
    world.sender.answer = lambda *_: Outcome(
        FailureReason.HTTP_STATUS, status_code=503, retry_after_seconds=4_000
    )
    assert world.retry(world.delivery.key, 2).seconds == pytest.approx(4_000)


def test_an_attempt_made_before_is_not_made_again(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    first = world.retry(world.delivery.key, 2)
    assert world.retry(world.delivery.key, 2) == first
    assert len(world.sender.posts) == 1


def test_a_dead_letter_whose_answer_was_lost_is_decided_again(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    for number in (2, 3):
        world.retry(world.delivery.key, number)
    assert world.retry(world.delivery.key, 3).decision is Decision.DEAD_LETTER
    assert len(world.sender.posts) == 2


def test_a_deleted_webhooks_delivery_is_cancelled_without_an_attempt(world: World) -> None:
    world.store.delete("acc_1", samples.webhook().id)
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert (world.stored().status, world.stored().reason) == (Status.CANCELLED, "webhook_deleted")
    assert world.sender.posts == []


def test_a_disabled_webhooks_delivery_waits(world: World) -> None:
    world.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.stored().status is Status.WAITING
    assert world.sender.posts == []


def test_gone_disables_the_webhook(world: World) -> None:
    world.sender.answer = lambda *_: Outcome(FailureReason.HTTP_STATUS, status_code=410)
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    webhook = world.store.get("acc_1", samples.webhook().id)
    assert webhook is not None
    assert not webhook.active
    assert world.stored().status is Status.WAITING


def test_a_moved_webhook_is_sent_to_its_new_url_with_its_new_secret(world: World) -> None:
    moved = samples.webhook(url="https://new.example.com/hook")
    world.store.add(moved, Secrets("a-secret-of-the-users-own"))
    world.retry(world.delivery.key, 2)
    [(url, _, headers)] = world.sender.posts
    assert url == moved.url
    expected = signing.sendcomms_signature("a-secret-of-the-users-own", world.delivery.body)
    assert headers["X-SendComms-Signature"] == expected


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.WAITING])
def test_a_delivery_no_longer_retrying_is_left_alone(world: World, status: Status) -> None:
    settled = replace(world.delivery, status=status)
    world.deliveries.deliveries[settled.key] = settled
    assert world.retry(settled.key, 2).decision is Decision.DONE
    assert world.sender.posts == []
    assert world.stored() == settled


def test_a_delivery_past_its_retention_is_done(world: World) -> None:
    world.deliveries.deliveries.clear()
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.telemetry.logged("delivery_expired")


def test_the_first_record_decides(world: World) -> None:
    rival = world.delivery.after(samples.attempt(2, status_code=200, error=None), Status.SUCCEEDED)

    def answer(*_: object) -> Outcome:
        world.deliveries.deliveries[rival.key] = rival
        return REFUSED

    world.sender.answer = answer
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.stored() == rival


@pytest.mark.parametrize("method", ["get", "update"])
def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(
    world: World, method: str
) -> None:
    world.deliveries.failures.plan(method, True)
    with pytest.raises(UnavailableError):
        world.retry(world.delivery.key, 2)
    assert len(world.stored().attempts) == 1


def test_an_execution_of_another_generation_ends_and_touches_nothing(world: World) -> None:
    world.put(replace(world.delivery, generation=2))
    for generation in (0, 1, 3):
        verdict = world.retry(world.delivery.key, 2, generation)
        assert verdict.decision is Decision.DONE
    assert world.sender.posts == []
    assert world.stored() == replace(world.delivery, generation=2)
    assert world.retry(world.delivery.key, 2, 2).decision is Decision.DONE
    assert len(world.sender.posts) == 1


def test_an_execution_whose_delivery_was_given_another_meanwhile_ends(world: World) -> None:
    def answer(*_: object) -> Outcome:
        world.put(replace(world.stored(), generation=1))
        return REFUSED

    world.sender.answer = answer
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert (world.stored().generation, len(world.stored().attempts)) == (1, 2)
    assert world.retry(world.delivery.key, 2, 1).decision is Decision.WAIT
    assert len(world.sender.posts) == 1


def test_a_drained_delivery_that_fails_gets_the_next_generation_of_executions(
    world: World,
) -> None:
    world.sender.answer = lambda *_: REFUSED
    delivery = world.put(world.delivery.defer("webhook_down"))
    attempt = world.retrier.drain(world.destination(), delivery)
    assert attempt is not None
    assert attempt.scheduled
    stored = world.stored()
    assert (stored.status, stored.generation, stored.reason) == (Status.RETRYING, 1, None)
    assert world.scheduler.executions == {delivery.key: (3, 315.0)}
    assert world.retry(delivery.key, 2, 0).decision is Decision.DONE
    assert len(world.sender.posts) == 1


def test_a_drained_delivery_whose_schedule_is_not_started_is_the_sweeps(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    delivery = world.put(world.delivery.defer("webhook_down"))
    world.scheduler.failures.plan("start", True)
    assert world.retrier.drain(world.destination(), delivery) is not None
    stored = world.stored()
    assert (stored.status, stored.unstarted) == (Status.RETRYING, True)
    assert (stored.generation, len(stored.attempts)) == (1, 2)
    # Its execution may have been started, with only the answer lost.
    world.sender.answer = lambda *_: Outcome(status_code=200)
    assert world.retry(delivery.key, 3, 1).decision is Decision.DONE
    assert (world.stored().status, world.stored().unstarted) == (Status.SUCCEEDED, False)


def test_a_drained_delivery_that_cannot_be_marked_either_is_our_own_trouble(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    delivery = world.put(world.delivery.defer("webhook_down"))
    world.scheduler.failures.plan("start", True)
    world.deliveries.failures.plan("mark_unstarted", True)
    with pytest.raises(UnavailableError):
        world.retrier.drain(world.destination(), delivery)
    # The receiver got a request, and gets none in the later steps.
    assert world.webhook().health.failures == 1
    assert world.stored().status is Status.RETRYING


def test_a_drained_delivery_that_arrives_needs_no_execution(world: World) -> None:
    delivery = world.put(world.delivery.defer("webhook_down"))
    assert world.retrier.drain(world.destination(), delivery) == world.stored().attempts[-1]
    assert (world.stored().status, world.stored().generation) == (Status.SUCCEEDED, 0)
    assert world.scheduler.calls == 0


def exhausted_by_draining(world: World) -> Delivery:
    world.sender.answer = lambda *_: REFUSED
    last = samples.delivery(
        status=Status.WAITING,
        attempts=(samples.attempt(1), samples.attempt(2)),
        next_attempt_at_ms=None,
    )
    world.retrier.drain(world.destination(), world.put(last))
    return world.stored()


def test_a_delivery_exhausted_by_draining_goes_to_the_dead_letter_queue_once(
    world: World,
) -> None:
    exhausted = exhausted_by_draining(world)
    assert (exhausted.status, exhausted.generation) == (Status.EXHAUSTED, 1)
    assert exhausted.next_attempt_at_ms == samples.NOW_MS
    assert world.scheduler.executions == {exhausted.key: (4, 0.0)}

    # After a lost answer the one execution requests the verdict twice.
    for _ in range(2):
        verdict = world.retry(exhausted.key, 4, 1)
        assert verdict.decision is Decision.DEAD_LETTER
    assert world.stored() == exhausted
    world.retrier.note_dead_letter(exhausted.key, 1)
    assert world.stored() == replace(exhausted, next_attempt_at_ms=None)
    assert world.operational_events.types.count("delivery.exhausted") == 1
    assert len(world.sender.posts) == 1


def test_an_attempt_by_hand_in_between_repeats_no_notice(world: World) -> None:
    exhausted = exhausted_by_draining(world)
    update = world.deliveries.update

    def after_one_by_hand(delivery: Delivery, *, before: Delivery) -> bool:
        world.deliveries.update = update  # type: ignore[method-assign]
        world.retrier.attempt_by_hand(world.destination(), world.stored())
        return update(delivery, before=before)

    world.deliveries.update = after_one_by_hand  # type: ignore[method-assign]
    world.retrier.note_dead_letter(exhausted.key, 1)
    assert [attempt.manual for attempt in world.stored().attempts[-2:]] == [False, True]
    # A delivery that is no longer due is no work for the sweeper.
    assert world.stored().next_attempt_at_ms is None


def test_its_being_told_in_between_does_not_have_an_attempt_by_hand_make_it_due_again(
    world: World,
) -> None:
    exhausted = exhausted_by_draining(world)

    def told_meanwhile(*_: object) -> Outcome:
        world.retrier.note_dead_letter(exhausted.key, 1)
        return REFUSED

    world.sender.answer = told_meanwhile
    world.retrier.resend(exhausted.key)
    assert world.stored().attempts[-1].manual
    assert world.stored().next_attempt_at_ms is None


def test_a_redrive_in_between_is_not_undone_by_the_older_execution(world: World) -> None:
    exhausted = exhausted_by_draining(world)
    update = world.deliveries.update

    def after_a_redrive(delivery: Delivery, *, before: Delivery) -> bool:
        world.deliveries.update = update  # type: ignore[method-assign]
        redriver = Redriver(world.deliveries, world.scheduler, world.clock)
        assert redriver.redrive(exhausted.key) is Redriven.STARTED
        return update(delivery, before=before)

    world.deliveries.update = after_a_redrive  # type: ignore[method-assign]
    world.retrier.note_dead_letter(exhausted.key, 1)
    assert (world.stored().status, world.stored().generation) == (Status.RETRYING, 2)
    assert world.operational_events.types.count("delivery.exhausted") == 1


def test_a_probe_is_not_part_of_the_schedule(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    delivery = world.put(world.delivery.defer("webhook_down"))
    for _ in range(5):
        assert not world.retrier.probe(world.destination(), world.stored())
    probed = world.stored()
    assert (probed.status, probed.reason) == (Status.WAITING, "webhook_down")
    assert [attempt.number for attempt in probed.attempts] == [1, 2, 3, 4, 5, 6]
    assert probed.scheduled_attempts == delivery.scheduled_attempts == 1
    world.retrier.drain(world.destination(), probed)
    assert world.stored().next_attempt_at_ms == samples.NOW_MS + 315_000


def test_a_full_log_is_probed_without_another_line(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    full = tuple(samples.attempt(number + 1, probe=True) for number in range(MAX_ATTEMPTS))
    delivery = world.put(samples.delivery(status=Status.WAITING, attempts=full))
    assert not world.retrier.probe(world.destination(), delivery)
    assert world.stored() == delivery
    world.sender.answer = None
    assert world.retrier.probe(world.destination(), delivery)
    assert world.stored().status is Status.SUCCEEDED


def test_two_that_drain_the_same_delivery_record_its_attempt_once(world: World) -> None:
    delivery = world.put(world.delivery.defer("webhook_down"))
    world.sender.answer = lambda *_: REFUSED
    for _ in range(2):
        world.retrier.drain(world.destination(), delivery)
    assert [attempt.number for attempt in world.stored().attempts] == [1, 2]
    assert world.stored().generation == 1
    assert len(world.scheduler.generations) == 1


def test_of_one_attempt_made_twice_a_success_is_never_dropped(world: World) -> None:
    rival = world.delivery.after(samples.attempt(2), Status.RETRYING, samples.NOW_MS + 300_000)

    def answer(*_: object) -> Outcome:
        world.put(rival)
        return Outcome(status_code=200)

    world.sender.answer = answer
    assert world.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.stored().status is Status.SUCCEEDED
    assert [attempt.number for attempt in world.stored().attempts] == [1, 2, 3]
    assert world.stored().next_attempt_at_ms is None
