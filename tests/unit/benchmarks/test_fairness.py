"""The model of SQS's fair queue keeps the written rule, and a quiet account gains by it."""

from __future__ import annotations

import pytest

from benchmarks.fairness import QUIET, Case, Simulation, Waited
from support.fair_queue import QUIET_AFTER_SECONDS, RECENT_SECONDS, FairQueue, Received


def queue_of(*groups: str | None) -> FairQueue[str]:
    """Return a queue with a message of each group, in their order."""
    made: FairQueue[str] = FairQueue()
    send(made, *groups)
    return made


def send(queue: FairQueue[str], *groups: str | None) -> None:
    for group in groups:
        queue.send(group or "none", group)


def take(queue: FairQueue[str], most: int, now: float = 0.0) -> list[Received[str]]:
    """Receive so many messages in batches of one, each judged anew."""
    return [message for _ in range(most) for message in queue.receive(1, now)]


def contents(messages: list[Received[str]]) -> list[str]:
    return [one.content for one in messages]


def test_quiet_tenants_are_served_in_the_order_of_their_messages() -> None:
    queue = queue_of("a", None, "b", "a")
    assert contents(take(queue, 4)) == ["a", "none", "b", "a"]
    assert len(queue) == 0


def test_a_group_is_noisy_with_thirty_in_flight_and_not_with_fewer() -> None:
    queue = queue_of(*["a"] * 40)
    take(queue, 29)
    send(queue, "b")
    assert contents(take(queue, 2)) == ["a", "b"]
    assert queue.noisy == {"a"}


def test_thirty_are_not_noisy_where_they_are_a_tenth_of_those_in_flight() -> None:
    queue = queue_of(*[None] * 270, *["a"] * 40)
    take(queue, 300)
    send(queue, "b")
    assert contents(take(queue, 1)) == ["a"]
    assert contents(take(queue, 1)) == ["b"]


def test_messages_without_a_group_are_never_noisy() -> None:
    queue = queue_of(*[None] * 100)
    for message in take(queue, 60):
        queue.delete(message, 50.0)
    send(queue, "b")
    assert contents(take(queue, 41, 50.0)) == ["none"] * 40 + ["b"]


def test_a_group_is_noisy_for_its_share_of_the_recent_processing_time() -> None:
    queue = queue_of(*[None] * 9, "slow", "slow", "slow")
    for message in take(queue, 10):
        queue.delete(message, 2.0 if message.group else 1.0)
    send(queue, "b")
    assert contents(take(queue, 1, 2.0)) == ["b"]
    assert queue.noisy == {"slow"}


def test_processing_time_is_forgotten_when_it_is_not_recent() -> None:
    queue = queue_of("slow", "slow", "slow")
    [first] = take(queue, 1)
    queue.delete(first, 5.0)
    send(queue, "b")
    assert contents(take(queue, 1, 6.0 + RECENT_SECONDS)) == ["slow"]


def test_processing_time_that_is_not_recent_leaves_nothing() -> None:
    queue = queue_of()
    now = 0.0
    for number in range(100):
        send(queue, "ab"[number % 2])
        [message] = take(queue, 1, now)
        now += 0.1 + number / 7
        queue.delete(message, now)
    now += 2 * RECENT_SECONDS
    assert take(queue, 1, now) == []
    send(queue, "a", "b", "a")
    assert contents(take(queue, 2, now)) == ["a", "b"]
    assert queue.noisy == set()


def test_of_noisy_groups_the_one_with_fewest_in_flight_is_served_first() -> None:
    queue = queue_of(*["a"] * 40, *["b"] * 40)
    received = take(queue, 61)
    assert queue.noisy == {"a", "b"}
    for message in received[:40]:
        queue.delete(message, 0.0)
    fewest = min("ab", key=lambda group: queue.in_flight[group])
    assert contents(take(queue, 1)) == [fewest] == ["a"]
    for message in received[40:]:
        queue.delete(message, 0.0)
    assert contents(take(queue, 1)) == ["b"]


def test_a_noisy_group_is_quiet_when_its_backlog_is_gone() -> None:
    queue = queue_of(*["a"] * 32)
    take(queue, 32)
    assert queue.noisy == {"a"}
    take(queue, 1)
    send(queue, "a", "b")
    queue.in_flight.clear()
    assert contents(take(queue, 1)) == ["a"]


def test_a_noisy_group_is_quiet_after_five_minutes_without_any_in_flight() -> None:
    queue = queue_of(*["a"] * 33)
    for message in take(queue, 31):
        queue.delete(message, 0.0)
    assert queue.noisy == {"a"}
    send(queue, "b", *["c"] * 2)
    assert contents(take(queue, 1, QUIET_AFTER_SECONDS - 1)) == ["b"]
    assert contents(take(queue, 1, QUIET_AFTER_SECONDS)) == ["a"]


def waited(dispatchers: int, seconds: float, *, grouped: bool) -> Waited:
    return Simulation(Case(dispatchers, seconds, grouped), flood=600).run()


@pytest.mark.parametrize("dispatchers", [2, 4])
def test_a_quiet_account_waits_for_the_floods_first_messages_only(dispatchers: int) -> None:
    """Two dispatchers have no thirty messages in flight: the processing time marks the flood."""
    without = waited(dispatchers, 4.0, grouped=False)
    put_back = waited(dispatchers, 4.0, grouped=True)
    assert without.longest > 600 / (dispatchers * 10) * 4.0 - 4
    # Three rounds of four seconds, one in progress, and the flood's way back.
    assert put_back.longest < 4 * 4.1 + 600 / 10 * 0.02 / dispatchers + 1


def test_every_record_arrives_once() -> None:
    simulation = Simulation(Case(4, 0.1), flood=600)
    simulation.run()
    assert len(simulation.waited["acc_loud"]) == 600
    assert len(simulation.waited[QUIET]) > 30
    assert simulation.queue.noisy <= {"acc_loud"}
