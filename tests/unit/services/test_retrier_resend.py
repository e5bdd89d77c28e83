"""A manual attempt during the schedule, and everything that may happen at the same time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain import signing
from webhooks.domain.delivery import MAX_ATTEMPTS, Delivery, FailureReason, Outcome, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.webhook import Secrets
from webhooks.services.retrier import Decision

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)
DELIVERY = samples.delivery()


class ResendFixture(ServiceFixture):
    """A retrier among fakes, with one delivery that failed once."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add()
        self.put(DELIVERY)

    @property
    def stored(self) -> Delivery:
        return self.deliveries.deliveries[DELIVERY.key]


@pytest.fixture
def services() -> ResendFixture:
    return ResendFixture()


@pytest.mark.parametrize("status", Status)
def test_a_success_settles_the_delivery_whatever_it_was(
    services: ResendFixture, status: Status
) -> None:
    services.deliveries.deliveries[DELIVERY.key] = replace(DELIVERY, status=status)
    assert services.retrier.resend(DELIVERY.key).succeeded is True
    assert (services.stored.status, services.stored.next_attempt_at_ms) == (Status.SUCCEEDED, None)
    assert [attempt.manual for attempt in services.stored.attempts] == [False, True]


@pytest.mark.parametrize("status", Status)
def test_a_failure_is_logged_and_changes_nothing_else(
    services: ResendFixture, status: Status
) -> None:
    before = replace(DELIVERY, status=status)
    services.deliveries.deliveries[DELIVERY.key] = before
    services.sender.answer = lambda *_: REFUSED
    assert services.retrier.resend(DELIVERY.key).succeeded is False
    assert replace(services.stored, attempts=before.attempts) == before
    assert len(services.stored.attempts) == 2


def test_manual_attempts_do_not_use_up_the_schedule(services: ResendFixture) -> None:
    services.sender.answer = lambda *_: REFUSED
    for _ in range(5):
        services.retrier.resend(DELIVERY.key)
    verdict = services.retry(DELIVERY.key, 2)
    assert verdict.decision is Decision.WAIT
    assert services.stored.scheduled_attempts == 2
    assert [attempt.number for attempt in services.stored.attempts] == [*range(1, 8)]


def test_what_the_schedule_recorded_meanwhile_is_kept(services: ResendFixture) -> None:
    rival = DELIVERY.after(samples.attempt(2), Status.EXHAUSTED)

    def answer(*_: object) -> Outcome:
        services.deliveries.deliveries[DELIVERY.key] = rival
        return REFUSED

    services.sender.answer = answer
    assert services.retrier.resend(DELIVERY.key).succeeded is False
    assert services.stored.status is Status.EXHAUSTED
    assert services.stored.attempts[:2] == rival.attempts
    assert (services.stored.attempts[2].number, services.stored.attempts[2].manual) == (3, True)


@pytest.mark.parametrize("gone", ["delivery", "webhook", "disabled"])
def test_nothing_is_sent_where_there_is_nothing_to_send_or_to_send_to(
    services: ResendFixture, gone: str
) -> None:
    if gone == "delivery":
        services.deliveries.deliveries.clear()
    elif gone == "webhook":
        services.store.delete("acc_1", samples.webhook().id)
    else:
        services.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
    assert services.retrier.resend(DELIVERY.key).succeeded is False
    assert services.sender.posts == []
    assert services.telemetry.logged("resend_dropped")


def test_without_a_secret_a_delivery_that_succeeded_stays_so(services: ResendFixture) -> None:
    succeeded = replace(DELIVERY, status=Status.SUCCEEDED, next_attempt_at_ms=None)
    services.deliveries.deliveries[DELIVERY.key] = succeeded
    services.store.add(samples.webhook(), Secrets(None))
    assert services.retrier.resend(DELIVERY.key).succeeded is False
    assert services.stored == succeeded
    assert services.sender.posts == []


def test_our_own_trouble_is_raised_for_the_state_machine_to_try_again(
    services: ResendFixture,
) -> None:
    services.deliveries.failures.plan("get", True)
    with pytest.raises(UnavailableError):
        services.retrier.resend(DELIVERY.key)
    assert services.sender.posts == []


def during(services: ResendFixture, happens: Callable[[], object], outcome: Outcome) -> None:
    """Answer the next request with `outcome`, after an act of the test."""

    def answer(*_: object) -> Outcome:
        services.sender.answer = lambda *_: Outcome(status_code=200)
        happens()
        return outcome

    services.sender.answer = answer


def test_a_delivery_deferred_during_a_failed_resend_stays_deferred(services: ResendFixture) -> None:
    def disabled() -> None:
        services.health_store.disable("acc_1", samples.webhook().id, "gone", samples.NOW_MS)
        assert services.retry(DELIVERY.key, 2).decision is Decision.DONE

    during(services, disabled, REFUSED)
    assert not services.retrier.resend(DELIVERY.key).succeeded
    assert services.stored.status is Status.WAITING
    assert [attempt.manual for attempt in services.stored.attempts] == [False, True]


def test_a_scheduled_success_is_kept_when_a_manual_failure_is_recorded_first(
    services: ResendFixture,
) -> None:
    def failed_by_hand() -> None:
        services.sender.answer = lambda *_: REFUSED
        assert not services.retrier.resend(DELIVERY.key).succeeded

    during(services, failed_by_hand, Outcome(status_code=200))
    assert services.retry(DELIVERY.key, 2).decision is Decision.DONE
    assert services.stored.status is Status.SUCCEEDED
    assert [(a.number, a.manual) for a in services.stored.attempts] == [
        (1, False),
        (2, True),
        (3, False),
    ]


def test_a_scheduled_failure_goes_on_behind_a_manual_one(services: ResendFixture) -> None:
    def failed_by_hand() -> None:
        services.sender.answer = lambda *_: REFUSED
        services.retrier.resend(DELIVERY.key)

    during(services, failed_by_hand, REFUSED)
    verdict = services.retry(DELIVERY.key, 2)
    assert verdict.decision is Decision.WAIT
    assert verdict.seconds == 315
    assert services.stored.scheduled_attempts == 2
    assert len(services.stored.attempts) == 3


def test_a_success_by_hand_behind_a_recorded_failure_has_no_reason(services: ResendFixture) -> None:
    def exhausted() -> None:
        services.deliveries.deliveries[DELIVERY.key] = replace(
            DELIVERY.after(samples.attempt(2), Status.EXHAUSTED), reason="http_status"
        )

    during(services, exhausted, Outcome(status_code=200))
    assert services.retrier.resend(DELIVERY.key).succeeded
    assert (services.stored.status, services.stored.reason) == (Status.SUCCEEDED, None)


def test_a_full_log_takes_no_more_attempts_by_hand(services: ResendFixture) -> None:
    full = replace(DELIVERY, attempts=tuple(samples.attempt(n) for n in range(1, MAX_ATTEMPTS + 1)))
    services.deliveries.deliveries[DELIVERY.key] = full
    assert not services.retrier.resend(DELIVERY.key).succeeded
    assert services.sender.posts == []
    assert services.stored == full


def test_a_secret_rotated_since_it_was_read_is_tried_when_the_known_one_is_refused(
    services: ResendFixture,
) -> None:
    new = "whsec_" + "ef" * 32

    def swapped() -> None:
        services.store.rotate_secret(
            "acc_1",
            samples.webhook().id,
            new,
            previous_until_ms=samples.NOW_MS + 1000,
            now_ms=samples.NOW_MS,
        )

    during(services, swapped, Outcome(FailureReason.HTTP_STATUS, status_code=401))
    assert services.retry(DELIVERY.key, 2).decision is Decision.DONE
    assert services.stored.status is Status.SUCCEEDED
    headers = services.sender.posts[-1][2]
    expected = signing.sendcomms_signature(new, DELIVERY.body)
    assert headers["X-SendComms-Signature"] == expected


def test_the_second_request_of_a_rotation_proves_that_the_receiver_moved(
    services: ResendFixture,
) -> None:
    new = "whsec_" + "ef" * 32
    services.store.add(samples.webhook(), Secrets(new, samples.SECRET, samples.NOW_MS + 1000))
    during(services, lambda: None, Outcome(FailureReason.HTTP_STATUS, status_code=403))
    services.retry(DELIVERY.key, 2)
    first, second = (headers["webhook-signature"] for _, _, headers in services.sender.posts)
    assert len(first.split()) == 2
    assert second == first.split()[0]
