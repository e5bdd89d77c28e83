"""The executions that the two retry state machines start, and the fate of an attempt's claim."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from webhooks.domain.delivery import Claim, Delivery, FailureReason, Outcome
from webhooks.domain.errors import UnavailableError
from webhooks.services.retrier import Decision, Machine

REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)


class RetryMachineFixture(ServiceFixture):
    """A retrier among fakes, with one delivery that failed once."""

    def __init__(self) -> None:
        super().__init__(random=0.5)
        self.add()
        self.delivery = self.put(samples.delivery())

    def stored(self) -> Delivery:
        return self.deliveries.deliveries[self.delivery.key]


@pytest.fixture
def services() -> RetryMachineFixture:
    return RetryMachineFixture()


def test_a_short_run_that_comes_late_starts_no_attempt_but_the_one_after_its_own(
    services: RetryMachineFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    services.short_delay_seconds, services.schedule = 60.0, (5.0, 5.0, 5.0)
    for number in (2, 3):
        services.retry(services.delivery.key, number, machine=Machine.SHORT)
    started = [attempt for _, attempt, _ in services.scheduler.shorts]
    assert started == [3, 4]
    services.retry(services.delivery.key, 2, machine=Machine.SHORT)
    assert len(services.scheduler.shorts) == 2
    # It starts its own next one again: the run before may have ended between record and start.
    services.retry(services.delivery.key, 3, machine=Machine.SHORT)
    assert services.scheduler.shorts[2:] == services.scheduler.shorts[1:2]
    assert len(services.sender.posts) == 2


def test_our_own_trouble_leaves_the_count_of_claims_without_a_result(
    services: RetryMachineFixture,
) -> None:
    def unavailable(*_: object) -> Outcome:
        raise UnavailableError("our own resolver")

    claim = Claim("dead", services.now_ms - 1, 2)
    services.put(replace(services.delivery, claim=claim))
    services.sender.answer = unavailable
    with pytest.raises(UnavailableError):
        services.retry(services.delivery.key, 2)
    assert services.stored().claim == claim


def test_a_standard_execution_goes_on_by_itself_after_any_delay(
    services: RetryMachineFixture,
) -> None:
    services.sender.answer = lambda *_: REFUSED
    services.short_delay_seconds, services.schedule = 60.0, (5.0, 5.0, 5.0)
    assert services.retry(services.delivery.key, 2).decision is Decision.WAIT
    assert not services.stored().short, "the sweep looks at its execution"
    assert services.scheduler.shorts == []
