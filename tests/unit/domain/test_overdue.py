"""The sweep's part of a due delivery, and the way in which it is restarted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support import samples
from webhooks.domain.delivery import Claim, Delivery, Status
from webhooks.domain.overdue import (
    MAX_CLAIMS,
    Overdue,
    given_another_execution,
    overdue,
)

NOW_MS = samples.NOW_MS
MINUTE_MS = 60_000
DAY_SECONDS = 86_400
RETENTION_SECONDS = 30 * DAY_SECONDS


def due(ago_ms: int, **changes: Any) -> Delivery:
    return samples.delivery(next_attempt_at_ms=NOW_MS - ago_ms, **changes)


def why(delivery: Delivery) -> Overdue:
    return overdue(delivery, NOW_MS, RETENTION_SECONDS)


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        (due(1, unstarted=True), Overdue.UNSTARTED),
        (due(1, unstarted=True, short=True), Overdue.UNSTARTED),
        (due(0, unstarted=True), Overdue.NOT),
        (due(MINUTE_MS, short=True), Overdue.NOT),
        (due(MINUTE_MS + 1, short=True), Overdue.SHORT),
        (due(MINUTE_MS + 1), Overdue.NOT),
        (due(10 * MINUTE_MS), Overdue.NOT),
        (due(10 * MINUTE_MS + 1), Overdue.LONG),
        (due(10 * MINUTE_MS + 1, status=Status.EXHAUSTED), Overdue.LONG),
        (due(1, status=Status.EXHAUSTED, unstarted=True), Overdue.UNSTARTED),
        (replace(due(1), next_attempt_at_ms=None, status=Status.SUCCEEDED), Overdue.NOT),
    ],
)
def test_a_delivery_is_overdue_after_the_grace_of_its_machine(
    delivery: Delivery, expected: Overdue
) -> None:
    assert why(delivery) is expected


@pytest.mark.parametrize("changes", [{"short": True}, {"unstarted": True}, {}])
def test_a_claim_is_respected_until_its_lease_is_over(changes: dict[str, Any]) -> None:
    delivery = due(20 * MINUTE_MS, **changes)
    assert why(replace(delivery, claim=Claim("one", NOW_MS + 1))) is Overdue.NOT
    assert why(replace(delivery, claim=Claim("one", NOW_MS))) is why(delivery)
    assert why(delivery) is not Overdue.NOT


def test_a_lost_short_one_is_started_again_on_its_machine_until_it_was_claimed_thrice() -> None:
    for count in range(1, MAX_CLAIMS + 1):
        delivery = due(MINUTE_MS + 1, short=True, claim=Claim("one", NOW_MS - 1, count))
        again = given_another_execution(delivery, NOW_MS, 0)
        assert again.short is (count < MAX_CLAIMS)
        assert again.claim == delivery.claim
        assert (again.generation, again.restarts) == (1, 1)
        assert again.unstarted, "until its start is seen to"
        assert again.next_attempt_at_ms == NOW_MS


def test_one_that_was_claimed_thrice_and_is_unstarted_leaves_the_short_machine_too() -> None:
    claim = Claim("one", NOW_MS - 1, MAX_CLAIMS)
    delivery = due(MINUTE_MS + 1, short=True, unstarted=True, claim=claim)
    assert why(delivery) is Overdue.SHORT


def test_one_whose_restart_waits_for_long_is_not_short() -> None:
    again = given_another_execution(due(MINUTE_MS + 1, short=True, restarts=1), NOW_MS, 600)
    assert not again.short
    assert again.next_attempt_at_ms == NOW_MS + 600_000


def test_an_exhausted_delivery_keeps_its_generation() -> None:
    """Both of its messages to the dead-letter queue then name the same."""
    untold = due(11 * MINUTE_MS, status=Status.EXHAUSTED, generation=4)
    again = given_another_execution(untold, NOW_MS, 0)
    assert again == replace(untold, next_attempt_at_ms=NOW_MS, restarts=1, unstarted=True)


def test_a_waiting_delivery_expires_a_day_after_its_notice() -> None:
    waiting = samples.delivery(
        status=Status.WAITING,
        attempts=(),
        next_attempt_at_ms=None,
        created_at_ms=NOW_MS - 29 * DAY_SECONDS * 1000,
    )
    assert why(waiting) is Overdue.NOT
    old = replace(waiting, created_at_ms=waiting.created_at_ms - 1)
    assert why(old) is Overdue.EXPIRING
    assert why(replace(old, expiring=True)) is Overdue.NOT, "once"
    assert why(replace(old, attempts=(samples.attempt(),))) is Overdue.NOT, "it is kept for longer"
