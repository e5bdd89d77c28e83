from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.world import World as Services
from webhooks.domain import signing
from webhooks.domain.delivery import AttemptError, Delivery, Outcome, Status
from webhooks.domain.errors import Unavailable
from webhooks.domain.webhook import Secrets
from webhooks.services.retrier import Decision

REFUSED = Outcome(AttemptError.HTTP_STATUS, status_code=500)
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
    verdict = world.retrier.retry(world.delivery.key, 2)
    assert verdict.decision is Decision.DONE
    assert world.stored().status is Status.SUCCEEDED
    assert [attempt.number for attempt in world.stored().attempts] == [1, 2]
    [(_, body, headers)] = world.sender.posts
    assert body == world.delivery.body
    assert headers["X-SendComms-Attempt"] == "2"


def test_a_failure_waits_for_the_next_attempt_with_jitter(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    verdict = world.retrier.retry(world.delivery.key, 2)
    assert verdict.decision is Decision.WAIT
    assert verdict.seconds == pytest.approx(315.0)
    assert world.stored().next_attempt_at_ms == samples.NOW_MS + 315_000


def test_the_last_failure_exhausts_the_delivery(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    world.retrier.retry(world.delivery.key, 2)
    verdict = world.retrier.retry(world.delivery.key, 3)
    assert verdict.decision is Decision.DEAD_LETTER
    assert (world.stored().status, world.stored().reason) == (Status.EXHAUSTED, "http_status")
    assert world.stored().next_attempt_at_ms is None


def test_retry_after_moves_the_next_attempt_later(world: World) -> None:
    world.sender.answer = lambda *_: Outcome(
        AttemptError.HTTP_STATUS, status_code=503, retry_after_seconds=4_000
    )
    assert world.retrier.retry(world.delivery.key, 2).seconds == pytest.approx(4_000)


def test_an_attempt_made_before_is_not_made_again(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    first = world.retrier.retry(world.delivery.key, 2)
    assert world.retrier.retry(world.delivery.key, 2) == first
    assert len(world.sender.posts) == 1


def test_a_dead_letter_whose_answer_was_lost_is_decided_again(world: World) -> None:
    world.sender.answer = lambda *_: REFUSED
    for number in (2, 3):
        world.retrier.retry(world.delivery.key, number)
    assert world.retrier.retry(world.delivery.key, 3).decision is Decision.DEAD_LETTER
    assert len(world.sender.posts) == 2


def test_a_deleted_webhooks_delivery_is_cancelled_without_an_attempt(world: World) -> None:
    world.store.delete("acc_1", samples.webhook().id)
    assert world.retrier.retry(world.delivery.key, 2).decision is Decision.DONE
    assert (world.stored().status, world.stored().reason) == (Status.CANCELLED, "webhook_deleted")
    assert world.sender.posts == []


def test_a_disabled_webhooks_delivery_waits(world: World) -> None:
    world.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert world.retrier.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.stored().status is Status.WAITING
    assert world.sender.posts == []


def test_gone_disables_the_webhook(world: World) -> None:
    world.sender.answer = lambda *_: Outcome(AttemptError.HTTP_STATUS, status_code=410)
    assert world.retrier.retry(world.delivery.key, 2).decision is Decision.DONE
    webhook = world.store.get("acc_1", samples.webhook().id)
    assert webhook is not None
    assert not webhook.active
    assert world.stored().status is Status.WAITING


def test_a_moved_webhook_is_sent_to_its_new_url_with_its_new_secret(world: World) -> None:
    moved = samples.webhook(url="https://new.example.com/hook")
    world.store.add(moved, Secrets("a-secret-of-the-users-own"))
    world.retrier.retry(world.delivery.key, 2)
    [(url, _, headers)] = world.sender.posts
    assert url == moved.url
    expected = signing.sendcomms_signature("a-secret-of-the-users-own", world.delivery.body)
    assert headers["X-SendComms-Signature"] == expected


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED, Status.WAITING])
def test_a_delivery_no_longer_retrying_is_left_alone(world: World, status: Status) -> None:
    settled = replace(world.delivery, status=status)
    world.deliveries.deliveries[settled.key] = settled
    assert world.retrier.retry(settled.key, 2).decision is Decision.DONE
    assert world.sender.posts == []
    assert world.stored() == settled


def test_a_delivery_past_its_retention_is_done(world: World) -> None:
    world.deliveries.deliveries.clear()
    assert world.retrier.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.observer.logged("delivery_expired")


def test_whoever_recorded_first_decides(world: World) -> None:
    rival = world.delivery.after(samples.attempt(2, status_code=200, error=None), Status.SUCCEEDED)

    def answer(*_: object) -> Outcome:
        world.deliveries.deliveries[rival.key] = rival
        return REFUSED

    world.sender.answer = answer
    assert world.retrier.retry(world.delivery.key, 2).decision is Decision.DONE
    assert world.stored() == rival


@pytest.mark.parametrize("method", ["get", "update"])
def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(
    world: World, method: str
) -> None:
    world.deliveries.failures.plan(method, True)
    with pytest.raises(Unavailable):
        world.retrier.retry(world.delivery.key, 2)
    assert len(world.stored().attempts) == 1
