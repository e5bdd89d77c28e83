"""Rows 10 to 14: a function that is killed at each step of its work, or runs out of time.

It is a process of its own, which the kernel ends: no code of it runs after the step. The test does
the next acts of SQS, a fresh dispatcher for the same messages, and of Step Functions, the worker
called again with the same state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.backend import sqs_event
from support.fault_harness import one_event
from support.faults import refused
from support.killed_process import AFTER, BEFORE, BEFORE_THE_POST, run_victim
from support.receiver import Answer
from support.running_out import RunningOut
from webhooks.domain.delivery import Status
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


def kill(case: Case, when: str, *messages: str, about: str = "") -> None:
    """Handle the messages with a dispatcher that is killed on the way.

    The step is the first request that names the account, or its `about`.
    """
    batch = sqs_event(*messages)
    case.log.add(run_victim(case.stand.aws.settings, batch, when, about=about or case.account))


def kill_worker(case: Case, when: str, state: dict[str, Any], about: str = "") -> None:
    """Handle a state with a worker that is killed on the way."""
    settings = case.stand.aws.settings
    about = about or f"{case.account}#"
    case.log.add(run_victim(settings, state, when, about=about, function="worker"))


def assert_settled(case: Case, status: int) -> None:
    """Assert that there is one record, and one schedule if one is due.

    The schedule's next attempt, to a receiver that is well again, ends it.
    """
    delivery = case.delivery()
    assert [attempt.number for attempt in delivery.attempts] == [1]
    if status == 200:
        assert delivery.status is Status.SUCCEEDED
        assert case.executions() == []
        return
    assert delivery.status is Status.RETRYING
    [state] = case.executions()
    assert case.retry(state)["decision"] == "done"
    assert case.delivery().status is Status.SUCCEEDED
    assert [attempt.number for attempt in case.delivery().attempts] == [1, 2]


@pytest.mark.parametrize("status", [200, 500])
def test_row_10_killed_before_the_post(case: Case, receiver: MakeReceiver, status: int) -> None:
    hook = receiver(Answer(status), Answer(200))
    case.webhook(hook)
    kill(case, BEFORE_THE_POST, case.message())
    assert hook.requests == []
    assert case.deliveries() == []

    assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 1
    assert_settled(case, status)


@pytest.mark.parametrize(
    "when", [f"{BEFORE} Query", f"{AFTER} Query", f"{BEFORE} BatchGetItem", f"{AFTER} BatchGetItem"]
)
def test_row_10_killed_while_it_reads(case: Case, receiver: MakeReceiver, when: str) -> None:
    hook = receiver()
    case.webhook(hook)
    kill(case, when, case.message())
    assert hook.requests == []
    assert case.deliveries() == []

    assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 1
    assert_settled(case, 200)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_10_killed_while_it_puts_poison_by(
    case: Case, receiver: MakeReceiver, when: str
) -> None:
    """Poison may be dead-lettered twice; its neighbours are sent once."""
    hook = receiver()
    case.webhook(hook)
    poison = '{"account_id": "' + case.account + '", "event": "email.lost"}'
    kill(case, f"{when} SendMessage", poison, case.message())
    assert hook.requests == []

    assert case.dispatch(poison, case.message()) == []
    assert case.rejected() == {poison: "unknown_event"}
    assert len(hook.requests) == 1
    assert_settled(case, 200)


@pytest.mark.parametrize(("status", "record"), [(200, "BatchWriteItem"), (500, "PutItem")])
def test_row_11_killed_after_the_post_before_the_record(
    case: Case, receiver: MakeReceiver, status: int, record: str
) -> None:
    hook = receiver(Answer(status), Answer(status), Answer(200))
    case.webhook(hook)
    kill(case, f"{BEFORE} {record}", case.message())
    assert len(hook.requests) == 1
    assert case.deliveries() == []

    assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    assert_settled(case, status)


def test_row_11_killed_after_the_record_of_a_success(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook)
    kill(case, f"{AFTER} BatchWriteItem", case.message())
    assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 1
    assert_settled(case, 200)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("status", [200, 503])
def test_row_11_killed_around_the_record_of_a_later_attempt(
    case: Case, receiver: MakeReceiver, when: str, status: int
) -> None:
    hook = receiver(Answer(500), Answer(status))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    [state] = case.executions()
    kill_worker(case, f"{when} UpdateItem", state, about=":attempts_before")
    assert len(hook.requests) == 2
    assert len(case.delivery().attempts) == (2 if when == AFTER else 1)

    if when == BEFORE:
        # The killed process holds the claim: no other process sends until its lease is over.
        assert case.retry(state)["decision"] == "wait"
        assert len(hook.requests) == 2
    after = case.retry(state, case.after_the_lease())
    assert after["decision"] == ("done" if status == 200 else "wait")
    assert len(hook.requests) == (2 if when == AFTER else 3)
    assert one_event(*hook.requests)
    assert [attempt.number for attempt in case.delivery().attempts] == [1, 2]
    assert [one.headers["x-sendcomms-attempt"] for one in hook.requests[1:]] == (
        ["2"] if when == AFTER else ["2", "2"]
    )


@pytest.mark.parametrize(
    ("when", "schedules"),
    [(f"{AFTER} PutItem", 0), (f"{BEFORE} StartExecution", 0), (f"{AFTER} StartExecution", 1)],
)
def test_row_12_killed_after_the_record_around_the_schedules_start(
    case: Case, receiver: MakeReceiver, when: str, schedules: int
) -> None:
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    kill(case, when, case.message())
    assert case.delivery().status is Status.RETRYING
    assert len(case.executions()) == schedules

    assert case.dispatch(case.message()) == []
    assert case.dispatch(case.message()) == []
    assert len(hook.requests) == 1
    assert_settled(case, 500)
    assert one_event(*hook.requests)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_12_killed_around_the_start_of_a_recovery(
    case: Case, receiver: MakeReceiver, when: str
) -> None:
    """It opened the circuit: no other process opens it again or knows that it did."""
    case.webhook(receiver(Answer(500)))
    messages = [case.message(f"txn_{number}") for number in range(FAILURES_TO_OPEN)]
    kill(case, f"{when} StartExecution", *messages, about="recover")
    assert case.health().health.circuit is Circuit.OPEN
    assert len(case.recoveries()) == (when == AFTER)

    case.health(recovery_due_at={"N": "1"})
    assert case.dispatch(*messages) == []
    [state] = case.recoveries()
    # A recovery that is not the webhook's own would end.
    assert case.retry(state)["decision"] == "wait"


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_12_killed_around_the_start_of_a_drained_deliverys_schedule(
    case: Case, receiver: MakeReceiver, when: str
) -> None:
    """The repeated step finds no waiting delivery: if no start was made, the sweep makes it."""
    hook = receiver(Answer(500))
    webhook = case.webhook(hook, active=False)
    assert case.dispatch(case.message()) == []
    path = f"/api/v1/webhooks/{webhook.id}"
    assert case.acme.call("PATCH", path, json={"active": True}).status == 200
    # As after the probe, which was another delivery.
    case.health(circuit={"S": "draining"}, draining_since={"N": "1"})
    [recovery] = case.recoveries()
    kill_worker(case, f"{when} StartExecution", recovery, about=case.delivery().id)
    assert case.delivery().status is Status.RETRYING
    assert len(hook.requests) == 1

    assert case.retry(recovery)["decision"] == "wait"
    case.overdue(case.delivery())
    case.retry({"action": "sweep"})
    assert len(hook.requests) == 1
    [state] = case.executions()
    assert state["generation"] == case.delivery().generation
    hook.answer_with(Answer(200))
    assert case.retry(state)["decision"] == "done"
    assert case.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)


def test_row_13_killed_mid_batch(case: Case, receiver: MakeReceiver) -> None:
    """Seven of ten are not answered while the first process lives; the three are."""
    names = [f"txn_{number}" for number in range(10)]
    at_once = set(names[:3])
    alive = threading.Event()

    def answer(request: Request) -> Answer:
        if request.json["transaction_id"] not in at_once:
            alive.wait(30)
        return Answer(200)

    hook = receiver(answer)
    case.webhook(hook)
    messages = [case.message(name) for name in names]
    kill(case, f"{AFTER} BatchWriteItem", *messages)
    alive.set()
    # It was killed after its first record, which may hold fewer than all three.
    recorded = {one.transaction_id for one in case.deliveries()}
    assert recorded
    assert recorded <= at_once

    assert case.dispatch(*messages) == []
    posts = {name: [one for one in hook.requests if name in str(one.body)] for name in names}
    assert {name for name, sent in posts.items() if len(sent) == 1} >= recorded
    assert all(1 <= len(sent) <= 2 and one_event(*sent) for sent in posts.values())
    assert {one.transaction_id for one in case.deliveries()} == set(names)
    assert {one.status for one in case.deliveries()} == {Status.SUCCEEDED}
    assert case.executions() == []


def test_row_14_the_invocations_time_runs_out_mid_batch(case: Case, receiver: MakeReceiver) -> None:
    hook = receiver()
    case.webhook(hook)
    messages = [case.message(f"txn_{number}") for number in range(10)]
    # Once for each message and 8 times around the reads, and then for each attempt.
    context: Any = RunningOut(asked=11 + 8 + 5)
    assert case.dispatch(*messages, context=context) == []
    assert 0 < len(hook.requests) < 10
    left = case.stand.aws.queued()
    assert len(left) == 10 - len(hook.requests)
    assert case.dispatch(*left) == []
    names = [request.json["transaction_id"] for request in hook.requests]
    assert sorted(names) == sorted(f"txn_{number}" for number in range(10))
    assert case.executions() == []


def test_row_14_what_is_left_comes_again_by_its_message_where_the_queue_does_not_take_it(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    case.webhook(hook)
    messages = [case.message(f"txn_{number}") for number in range(10)]
    case.stand.faults.on("SendMessageBatch", refused("ServiceUnavailable", 503), about=case.account)
    context: Any = RunningOut(asked=11 + 8 + 5)
    failed = case.dispatch(*messages, context=context)
    assert len(failed) == 10 - len(hook.requests) > 0
    case.stand.faults.clear()
    assert case.dispatch(*messages) == []
    names = [request.json["transaction_id"] for request in hook.requests]
    assert sorted(names) == sorted(f"txn_{number}" for number in range(10))
