"""A message that may end its dispatcher is alone, and harms no other message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from support import samples
from support.service_fixture import ServiceFixture
from unit.services.dispatch.batching import KilledError, Queue, broken, event, fail, handle, posted
from webhooks.domain.delivery import Outcome
from webhooks.domain.resending import Outgoing
from webhooks.services.dispatch.batches import (
    MOST_SUSPICIONS,
    SECONDS_FOR_ONE_MESSAGE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.services.dispatch.messages import QueueMessage

NOW_MS = samples.NOW_MS


@pytest.fixture
def services() -> ServiceFixture:
    made = ServiceFixture()
    made.add()
    return made


def test_a_message_received_more_than_twice_is_sent_again_and_not_handled(
    services: ServiceFixture,
) -> None:
    assert handle(services, event(1, receive_count=3, tries=4), event(2)) == []
    [again] = services.queue.sent
    assert (again.suspicions, again.tries, again.arrived_at_ms) == (1, 4, NOW_MS)
    assert again.delay_seconds > 0
    assert posted(services) == ["txn_2"]


def test_a_suspect_is_sent_again_before_anything_else_is_done(services: ServiceFixture) -> None:
    def killed(account_id: str, shard: Any = None) -> Any:
        raise KilledError

    services.store.destinations = killed  # type: ignore[method-assign]
    with pytest.raises(KilledError):
        handle(services, event(1, receive_count=3), event(2))
    assert [one.suspicions for one in services.queue.sent] == [1]


def test_with_five_suspicions_a_message_is_dead_lettered_as_killed(
    services: ServiceFixture,
) -> None:
    suspect = event(1, receive_count=3, suspicions=MOST_SUSPICIONS - 1)
    assert handle(services, suspect, event(2)) == []
    [rejected] = services.rejected.messages
    assert (rejected.reason, rejected.body, rejected.group) == ("killed", suspect.body, "acc_1")
    assert rejected.arrived_at_ms == NOW_MS
    assert services.queue.sent == []
    assert posted(services) == ["txn_2"]


def test_a_suspect_is_handled_when_the_others_are_done_and_deleted(
    services: ServiceFixture,
) -> None:
    seen: list[tuple[int, list[list[str]]]] = []

    def answer(*_: object) -> Outcome:
        seen.append((len(services.deliveries.deliveries), [*services.received.deleted]))
        return Outcome(status_code=200, duration_ms=1)

    services.sender.answer = answer
    fail(services, "acc_broken")
    batch = [event(1, suspicions=2), event(2), broken(3), event(4)]
    assert handle(services, *batch) == []
    assert posted(services)[-1] == "txn_1"
    # The failed one too: it was sent again before.
    assert seen[-1] == (2, [["r2", "r3", "r4"]])


def test_suspects_of_one_suspicion_are_handled_one_after_the_other(
    services: ServiceFixture,
) -> None:
    """Like all messages after Lambda had no room for them: each costs one message alone."""
    batch = [event(number, suspicions=1) for number in range(10)]
    assert handle(services, *batch) == []
    assert posted(services) == [f"txn_{number}" for number in range(10)]
    assert services.received.deleted == [[f"r{number}"] for number in range(9)]
    assert services.queue.sent == []


def test_of_suspects_of_more_suspicions_only_one_is_handled_at_a_time(
    services: ServiceFixture,
) -> None:
    batch = [event(1, suspicions=3), event(2, suspicions=2), event(3, suspicions=4)]
    assert handle(services, *batch) == []
    assert posted(services) == ["txn_2"]
    assert [(one.body, one.suspicions) for one in services.queue.sent] == [
        (event(1).body, 3),
        (event(3).body, 4),
    ]


def test_a_suspect_that_cannot_be_put_back_is_received_again(services: ServiceFixture) -> None:
    services.queue.refuse = {0}
    batch = [event(1, suspicions=2), event(2, suspicions=3)]
    assert handle(services, *batch) == ["m2"]
    assert posted(services) == ["txn_1"]


def test_where_the_others_cannot_be_deleted_no_suspect_is_handled(services: ServiceFixture) -> None:
    services.received.failures.plan("delete", True)
    assert handle(services, event(1, suspicions=1, tries=2), event(2)) == []
    assert posted(services) == ["txn_2"]
    assert [(one.suspicions, one.tries) for one in services.queue.sent] == [(1, 2)]


def test_with_too_little_time_suspects_are_put_back_as_they_are(services: ServiceFixture) -> None:
    left = SECONDS_FOR_ONE_MESSAGE - 1
    assert handle(services, event(1, suspicions=1), remaining=[left]) == []
    assert posted(services) == []
    assert [one.suspicions for one in services.queue.sent] == [1]
    assert "PostponedEvents" not in services.telemetry.counts


@pytest.mark.parametrize(("random", "first"), [(0.0, "txn_2"), (0.74, "txn_2"), (0.76, "txn_1")])
def test_a_suspect_is_not_held_up_for_ever_by_messages_that_take_all_the_time(
    services: ServiceFixture, random: float, first: str
) -> None:
    services.random = random
    [suspect, busy] = event(1, suspicions=1), event(2, group="acc_2", tries=3)
    assert (
        services.batches.handle([suspect, busy], lambda: 60.0 - 30.0 * len(posted(services))) == []
    )
    assert posted(services) == [first]
    [back] = services.queue.sent
    if first == "txn_1":
        assert back == Outgoing(busy.body, "acc_2", 0, NOW_MS, tries=3)
        assert services.received.deleted == [["r2"]]


def test_a_suspect_that_fails_and_gives_an_answer_is_suspected_no_more(
    services: ServiceFixture,
) -> None:
    fail(services, "acc_broken")
    assert handle(services, broken(1, suspicions=3, tries=1)) == []
    assert [(one.suspicions, one.tries) for one in services.queue.sent] == [(0, 2)]


def test_a_suspect_that_cannot_be_sent_again_is_handled_after_the_others(
    services: ServiceFixture,
) -> None:
    """A suspect that is too large for the attributes, or any suspect while the queue refuses."""
    services.queue.refuse = {0}
    assert handle(services, event(1, receive_count=9), event(2)) == []
    assert posted(services) == ["txn_2", "txn_1"]


def test_what_the_dispatcher_cannot_dead_letter_as_killed_is_handled_last(
    services: ServiceFixture,
) -> None:
    services.rejected.refuse = {"m1"}
    assert handle(services, event(1, receive_count=3, suspicions=4), event(2)) == []
    assert posted(services) == ["txn_2", "txn_1"]


@pytest.mark.parametrize("killers", [1, 2])
def test_a_message_that_kills_its_dispatcher_takes_no_other_with_it(
    services: ServiceFixture, killers: int
) -> None:
    queue = Queue(services)
    queue.add(*(event(number) for number in range(30)))
    texts = [f"txn_{number}" for number in range(killers)]
    dispatch = services.dispatcher.dispatch

    def doomed(messages: Sequence[QueueMessage], remaining_seconds: Any) -> list[str]:
        if any(json.loads(one.body)["transaction_id"] in texts for one in messages):
            raise KilledError
        return dispatch(messages, remaining_seconds)

    services.dispatcher.dispatch = doomed  # type: ignore[method-assign]
    killed = queue.run()
    assert sorted(posted(services)) == sorted(f"txn_{number}" for number in range(killers, 30))
    rejects = services.rejected.messages
    rejected = {json.loads(one.body)["transaction_id"]: one.reason for one in rejects}
    assert rejected == dict.fromkeys(texts, "killed")
    # Two receives for each suspicion, those in one batch counted once.
    assert MOST_SUSPICIONS <= killed <= 2 * MOST_SUSPICIONS * killers


def test_receives_while_lambda_was_throttled_cost_a_sending_and_nothing_else(
    services: ServiceFixture,
) -> None:
    queue = Queue(services)
    queue.add(*(event(number, receive_count=40) for number in range(30)))
    assert queue.run() == 0
    assert sorted(posted(services)) == sorted(f"txn_{number}" for number in range(30))
    assert services.rejected.messages == []
    assert queue.numbers == 30
