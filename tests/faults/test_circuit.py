"""Receivers that accept a part of their deliveries, and owners who enable dead webhooks.

Each receives 300 events in twelve seconds. The cost is counted over all state machines, a failing
delivery as one execution for its first retry and one for the later retries.
"""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING

import pytest

from faults.owner_and_receiver import Story
from webhooks.domain.delivery import FailureReason, Outcome
from webhooks.domain.health import Circuit, HealthState

if TYPE_CHECKING:
    from collections.abc import Callable

TAKEN = Outcome(status_code=200)
REFUSED = Outcome(FailureReason.HTTP_STATUS, status_code=500)

EVENTS = 300
MOST_EXECUTIONS = 30
MOST_POSTS = 100
TEN_MINUTES = 600
HOUR = 3600


def takes(some: int, of: int) -> Callable[[], Outcome]:
    """Return a receiver that accepts the last `some` of each `of` requests."""
    numbers = count()
    return lambda: TAKEN if next(numbers) % of >= of - some else REFUSED


def takes_at_random(of: int, seed: str) -> Callable[[], Outcome]:
    """Return a receiver that accepts each request with a chance of one in `of`."""
    chance = random.Random(f"{of} {seed}")  # noqa: S311
    return lambda: TAKEN if chance.random() * of < 1 else REFUSED


def dead() -> Outcome:
    return REFUSED


@pytest.mark.parametrize("dispatchers", [1, 2, 3, 5])
def test_row_78_one_in_eight_costs_few_executions_and_requests(dispatchers: int) -> None:
    story = Story(takes(1, of=8), dispatchers=dispatchers)
    story.events(EVENTS, a_second=25)
    story.go_on(TEN_MINUTES)
    health = story.services.webhook().health
    assert (health.on_trial, health.state) == (True, HealthState.DOWN)
    assert story.executions <= MOST_EXECUTIONS
    assert story.posts <= MOST_POSTS
    assert story.notices == ["webhook.down"]
    # It goes on with the waiting deliveries, and one notice is published.
    before = story.delivered
    story.go_on(HOUR)
    assert story.delivered > before
    assert story.executions <= MOST_EXECUTIONS
    assert story.notices == ["webhook.down"]


@pytest.mark.parametrize("dispatchers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("of", [5, 8, 12])
def test_row_78_one_in_eight_at_random_costs_as_little(of: int, dispatchers: int) -> None:
    """One success in a row of failures is no reason to send everything at once."""
    for seed in range(6):
        story = Story(takes_at_random(of, f"{dispatchers} {seed}"), dispatchers=dispatchers)
        story.events(EVENTS, a_second=25)
        story.go_on(TEN_MINUTES)
        assert story.executions <= MOST_EXECUTIONS
        assert story.posts <= MOST_POSTS
        assert story.services.webhook().health.state is HealthState.DOWN


@pytest.mark.parametrize("dispatchers", [1, 3])
def test_row_78_a_success_has_new_events_sent_at_once_again(dispatchers: int) -> None:
    story = Story(dead, dispatchers=dispatchers)
    story.events(EVENTS, a_second=25)
    story.go_on(4.9)
    assert story.services.webhook().health.state is HealthState.DOWN
    story.receiver = lambda: TAKEN
    # The first retry, five seconds after the failures; the probe would come after thirty.
    story.go_on(10)
    assert story.delivered > EVENTS / 3
    assert not story.services.webhook().health.on_probation
    story.go_on(60)
    assert story.delivered == EVENTS
    assert story.notices == ["webhook.down", "webhook.recovered"]


def test_row_78_what_waits_is_sent_once_the_receiver_takes_most() -> None:
    story = Story(takes(1, of=8))
    story.events(EVENTS, a_second=25)
    story.go_on(TEN_MINUTES)
    story.receiver = takes(9, of=10)
    story.go_on(TEN_MINUTES)
    assert story.delivered == EVENTS
    assert story.services.webhook().health.circuit is Circuit.CLOSED
    assert story.notices == ["webhook.down", "webhook.recovered"]


@pytest.mark.parametrize(("some", "dispatchers"), [(6, 1), (7, 1), (9, 1), (7, 3), (9, 3)])
def test_row_78_a_receiver_that_takes_most_is_never_down(some: int, dispatchers: int) -> None:
    """One of several functions may report twenty of which most failed, though 60 % succeed."""
    story = Story(takes(some, of=10), dispatchers=dispatchers)
    story.events(3_000, a_second=25)
    story.go_on(TEN_MINUTES)
    assert story.notices == []


@pytest.mark.parametrize("dispatchers", [1, 2, 5])
def test_row_79_enabling_a_dead_webhook_again_and_again_costs_little(dispatchers: int) -> None:
    story = Story(dead, dispatchers=dispatchers)
    story.events(EVENTS, a_second=25)
    story.owner_repeats(0.1, seconds=20, active=True)
    story.go_on(TEN_MINUTES)
    assert story.services.webhook().health.state is HealthState.DOWN
    assert story.refused == 200 - 60
    assert story.executions <= MOST_EXECUTIONS
    assert story.posts <= MOST_POSTS
    assert story.notices == ["webhook.down"]


@pytest.mark.parametrize(
    "changes", [{"description": "new"}, {"url": "https://hook1.example.com/events"}]
)
def test_row_79_any_other_call_again_and_again_costs_no_more(changes: dict[str, str]) -> None:
    """Even if it comes while every single request is on its way."""
    story = Story(dead)
    story.events(EVENTS, a_second=25)
    story.owner_acts_during_requests(**changes)
    story.go_on(60)
    assert story.executions <= MOST_EXECUTIONS
    assert story.posts <= MOST_POSTS


def test_row_79_an_owner_who_moves_a_dead_webhook_to_and_fro_is_stopped() -> None:
    """A changed url begins a clean record, so changes are limited like enabling."""
    story = Story(dead)
    story.events(EVENTS, a_second=25)
    story.owner_repeats(0.2, seconds=20, url="https://hook2.example.com/")
    story.go_on(0.1)
    story.owner_repeats(0.2, seconds=20, url="https://hook3.example.com/")
    story.go_on(TEN_MINUTES)
    assert story.refused > 100
    assert story.posts <= MOST_POSTS


def test_row_79_a_webhook_that_is_enabled_is_probed_with_one_delivery() -> None:
    story = Story(dead)
    story.owner_repeats(1, seconds=1, active=False)
    story.events(EVENTS, a_second=100)
    story.go_on(10)
    assert story.posts == 0
    story.owner_repeats(1, seconds=1, active=True)
    story.go_on(25)
    assert story.posts == 1
    assert story.executions == 1
    story.receiver = lambda: TAKEN
    story.go_on(45)
    # The next probe succeeds, and then a delivery a second, ten per cent more each time.
    assert 2 <= story.posts <= 15
    story.go_on(TEN_MINUTES)
    assert story.delivered == EVENTS
    assert story.services.webhook().health.circuit is Circuit.CLOSED


def test_row_79_a_webhook_that_is_enabled_with_nothing_waiting_is_not_held_up() -> None:
    story = Story(lambda: TAKEN)
    story.owner_repeats(1, seconds=1, active=False)
    story.go_on(1)
    story.owner_repeats(1, seconds=1, active=True)
    story.go_on(3)
    story.events(10, a_second=25)
    story.go_on(1)
    assert story.delivered == 10
    assert story.notices == []
