"""A manual attempt beside the schedule, and everything that may happen at the same time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from support import samples
from support.fakes import FakeDeliveryStore, FakeObserver, FakeSender, FakeWebhookStore
from webhooks.domain.delivery import AttemptError, Delivery, Outcome, Status
from webhooks.domain.errors import Unavailable
from webhooks.domain.webhook import Secrets
from webhooks.services.deliverer import Deliverer
from webhooks.services.retrier import Decision, Retrier

REFUSED = Outcome(AttemptError.HTTP_STATUS, status_code=500)
DELIVERY = samples.delivery()


@dataclass
class World:
    """A retrier among fakes, with one delivery that failed once."""

    store: FakeWebhookStore = field(default_factory=FakeWebhookStore)
    deliveries: FakeDeliveryStore = field(default_factory=FakeDeliveryStore)
    sender: FakeSender = field(default_factory=FakeSender)
    observer: FakeObserver = field(default_factory=FakeObserver)

    def __post_init__(self) -> None:
        self.store.add(samples.webhook(), Secrets(samples.SECRET))
        self.deliveries.create(DELIVERY)
        self.retrier = Retrier(
            deliveries=self.deliveries,
            destinations=self.store,
            deliverer=Deliverer(
                sender=self.sender,
                destinations=self.store,
                observer=self.observer,
                schedule=(5.0, 300.0),
                clock=lambda: samples.NOW_MS / 1000,
                random=lambda: 0.5,
            ),
            observer=self.observer,
            clock=lambda: samples.NOW_MS / 1000,
        )

    @property
    def stored(self) -> Delivery:
        return self.deliveries.deliveries[DELIVERY.key]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("status", Status)
def test_a_success_settles_the_delivery_whatever_it_was(world: World, status: Status) -> None:
    world.deliveries.deliveries[DELIVERY.key] = replace(DELIVERY, status=status)
    assert world.retrier.resend(DELIVERY.key) is True
    assert (world.stored.status, world.stored.next_attempt_at_ms) == (Status.SUCCEEDED, None)
    assert [attempt.manual for attempt in world.stored.attempts] == [False, True]


@pytest.mark.parametrize("status", Status)
def test_a_failure_is_logged_and_changes_nothing_else(world: World, status: Status) -> None:
    before = replace(DELIVERY, status=status)
    world.deliveries.deliveries[DELIVERY.key] = before
    world.sender.answer = lambda *_: REFUSED
    assert world.retrier.resend(DELIVERY.key) is False
    assert replace(world.stored, attempts=before.attempts) == before
    assert len(world.stored.attempts) == 2


def test_manual_attempts_do_not_use_up_the_schedule(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    for _ in range(5):
        world.retrier.resend(DELIVERY.key)
    verdict = world.retrier.retry(DELIVERY.key, 2)
    assert verdict.decision is Decision.WAIT
    assert world.stored.scheduled_attempts == 2
    assert [attempt.number for attempt in world.stored.attempts] == [*range(1, 8)]


def test_what_the_schedule_recorded_meanwhile_is_kept(world: World) -> None:
    rival = DELIVERY.after(samples.attempt(2), Status.EXHAUSTED)

    def answer(*_: object) -> Outcome:
        world.deliveries.deliveries[DELIVERY.key] = rival
        return REFUSED

    world.sender.answer = answer
    assert world.retrier.resend(DELIVERY.key) is False
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
        world.store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert world.retrier.resend(DELIVERY.key) is False
    assert world.sender.posts == []
    assert world.observer.logged("resend_dropped")


def test_without_a_secret_a_delivery_that_succeeded_stays_so(world: World) -> None:
    succeeded = replace(DELIVERY, status=Status.SUCCEEDED, next_attempt_at_ms=None)
    world.deliveries.deliveries[DELIVERY.key] = succeeded
    world.store.add(samples.webhook(), Secrets(None))
    assert world.retrier.resend(DELIVERY.key) is False
    assert world.stored == succeeded
    assert world.sender.posts == []


def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(world: World) -> None:
    world.deliveries.failures.plan("get", True)
    with pytest.raises(Unavailable):
        world.retrier.resend(DELIVERY.key)
    assert world.sender.posts == []
