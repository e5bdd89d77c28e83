"""A manual attempt during the schedule, and everything that may happen at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.service_fixture import World as Services
from webhooks.domain import signing
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.webhook import Secrets
from webhooks.services.retrier import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
DELIVERY = samples.delivery()


class World(Services):
    """A retrier among fakes, with one delivery that failed once."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add()
        self.put(DELIVERY)

    @property
    def stored(self) -> Delivery:
        return self.deliveries.deliveries[DELIVERY.key]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("status", Status)
def test_a_success_settles_the_delivery_whatever_it_was(world: World, status: Status) -> None:
    world.deliveries.deliveries[DELIVERY.key] = replace(DELIVERY, status=status)
    assert world.retrier.resend(DELIVERY.key).succeeded is True
    assert (world.stored.status, world.stored.next_attempt_at_ms) == (Status.SUCCEEDED, None)
    assert [attempt.manual for attempt in world.stored.attempts] == [False, True]


@pytest.mark.parametrize("status", Status)
def test_a_failure_is_logged_and_changes_nothing_else(world: World, status: Status) -> None:
    before = replace(DELIVERY, status=status)
    world.deliveries.deliveries[DELIVERY.key] = before
    world.sender.answer = lambda *_: REFUSED
    assert world.retrier.resend(DELIVERY.key).succeeded is False
    assert replace(world.stored, attempts=before.attempts) == before
    assert len(world.stored.attempts) == 2


def test_manual_attempts_do_not_use_up_the_schedule(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    for _ in range(5):
        world.retrier.resend(DELIVERY.key)
    verdict = world.retry(DELIVERY.key, 2)
    assert verdict.decision is Decision.WAIT
    assert world.stored.scheduled_attempts == 2
    assert [attempt.number for attempt in world.stored.attempts] == [*range(1, 8)]


def test_what_the_schedule_recorded_meanwhile_is_kept(world: World) -> None:
    rival = DELIVERY.after(samples.attempt(2), Status.EXHAUSTED)

    def answer(*_: object) -> Outcome:
        world.deliveries.deliveries[DELIVERY.key] = rival
        return REFUSED

    world.sender.answer = answer
    assert world.retrier.resend(DELIVERY.key).succeeded is False
    assert world.stored.status is Status.EXHAUSTED
    assert world.stored.attempts[:2] == rival.attempts
    assert (world.stored.attempts[2].number, world.stored.attempts[2].manual) == (3, True)


@pytest.mark.parametrize("gone", ["delivery", "webhook", "disabled"])
def test_nothing_is_sent_where_there_is_nothing_to_send_or_to_send_to(
    world: World, gone: str
) -> None:
    if gone == "delivery":
        world.deliveries.deliveries.clear()
    elif gone == "webhook":
        world.store.delete("acc_1", samples.webhook().id)
    else:
        world.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert world.retrier.resend(DELIVERY.key).succeeded is False
    assert world.sender.posts == []
    assert world.telemetry.logged("resend_dropped")


def test_without_a_secret_a_delivery_that_succeeded_stays_so(world: World) -> None:
    succeeded = replace(DELIVERY, status=Status.SUCCEEDED, next_attempt_at_ms=None)
    world.deliveries.deliveries[DELIVERY.key] = succeeded
    world.store.add(samples.webhook(), Secrets(None))
    assert world.retrier.resend(DELIVERY.key).succeeded is False
    assert world.stored == succeeded
    assert world.sender.posts == []


def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(world: World) -> None:
    world.deliveries.failures.plan("get", True)
    with pytest.raises(UnavailableError):
        world.retrier.resend(DELIVERY.key)
    assert world.sender.posts == []


def during(world: World, happens: Callable[[], object], outcome: Outcome) -> None:
    """Answer the next request with `outcome`, after an act of the test."""

    def answer(*_: object) -> Outcome:
        world.sender.answer = lambda *_: Outcome(status_code=200)
        happens()
        return outcome

    world.sender.answer = answer


def test_a_delivery_deferred_during_a_failed_resend_stays_deferred(world: World) -> None:
    def disabled() -> None:
        world.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
        assert world.retry(DELIVERY.key, 2).decision is Decision.DONE

    during(world, disabled, REFUSED)
    assert not world.retrier.resend(DELIVERY.key).succeeded
    assert world.stored.status is Status.WAITING
    assert [attempt.manual for attempt in world.stored.attempts] == [False, True]


def test_a_scheduled_success_is_kept_when_a_manual_failure_is_recorded_first(
    world: World,
) -> None:
    def failed_by_hand() -> None:
        world.sender.answer = lambda *_: REFUSED
        assert not world.retrier.resend(DELIVERY.key).succeeded

    during(world, failed_by_hand, Outcome(status_code=200))
    assert world.retry(DELIVERY.key, 2).decision is Decision.DONE
    assert world.stored.status is Status.SUCCEEDED
    assert [(a.number, a.manual) for a in world.stored.attempts] == [
        (1, False),
        (2, True),
        (3, False),
    ]


def test_a_scheduled_failure_goes_on_behind_a_manual_one(world: World) -> None:
    def failed_by_hand() -> None:
        world.sender.answer = lambda *_: REFUSED
        world.retrier.resend(DELIVERY.key)

    during(world, failed_by_hand, REFUSED)
    verdict = world.retry(DELIVERY.key, 2)
    assert verdict.decision is Decision.WAIT
    assert verdict.seconds == 315
    assert world.stored.scheduled_attempts == 2
    assert len(world.stored.attempts) == 3


def test_a_success_by_hand_behind_a_recorded_failure_has_no_reason(world: World) -> None:
    def exhausted() -> None:
        world.deliveries.deliveries[DELIVERY.key] = replace(
            DELIVERY.after(samples.attempt(2), Status.EXHAUSTED), reason="http_status"
        )

    during(world, exhausted, Outcome(status_code=200))
    assert world.retrier.resend(DELIVERY.key).succeeded
    assert (world.stored.status, world.stored.reason) == (Status.SUCCEEDED, None)


def test_a_full_log_takes_no_more_attempts_by_hand(world: World) -> None:
    full = replace(DELIVERY, attempts=tuple(samples.attempt(n) for n in range(1, MAX_ATTEMPTS + 1)))
    world.deliveries.deliveries[DELIVERY.key] = full
    assert not world.retrier.resend(DELIVERY.key).succeeded
    assert world.sender.posts == []
    assert world.stored == full


def test_a_secret_rotated_since_it_was_read_is_tried_when_the_known_one_is_refused(
    world: World,
) -> None:
    new = "whsec_" + "ef" * 32

    def swapped() -> None:
        world.store.rotate_secret(
            "acc_1",
            samples.webhook().id,
            new,
            previous_until_ms=samples.NOW_MS + 1000,
            now_ms=samples.NOW_MS,
        )

    during(world, swapped, Outcome(FailureReason.HTTP_STATUS, status_code=401))
    assert world.retry(DELIVERY.key, 2).decision is Decision.DONE
    assert world.stored.status is Status.SUCCEEDED
    headers = world.sender.posts[-1][2]
    expected = signing.sendcomms_signature(new, DELIVERY.body)
    assert headers["X-SendComms-Signature"] == expected


def test_the_second_request_of_a_rotation_proves_that_the_receiver_moved(world: World) -> None:
    new = "whsec_" + "ef" * 32
    world.store.add(samples.webhook(), Secrets(new, samples.SECRET, samples.NOW_MS + 1000))
    during(world, lambda: None, Outcome(FailureReason.HTTP_STATUS, status_code=403))
    world.retry(DELIVERY.key, 2)
    first, second = (headers["webhook-signature"] for _, _, headers in world.sender.posts)
    assert len(first.split()) == 2
    assert second == first.split()[0]
