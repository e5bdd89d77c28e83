"""Rows 10 to 14: a function that is killed at each step of its work, or runs out of time.

It is a process of its own, which the kernel ends: no code of it runs after the step. The test does
the next acts of SQS, a fresh dispatcher for the same messages, and of Step Functions, the worker
called again with the same state.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from faults.fault_harness import one_event
from faults.killed_process import AFTER, BEFORE, BEFORE_THE_POST, run_victim
from faults.running_out import RunningOut
from support.backend import sqs_event
from support.faults import refused
from support.receiver import Answer
from webhooks.domain.delivery import Status
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver, Request

    MakeReceiver = Callable[..., Receiver]


def kill(tenant: Tenant, when: str, *messages: str, about: str = "") -> None:
    """Handle the messages with a dispatcher that is killed on the way.

    The step is the first request that names the account, or its `about`.
    """
    batch = sqs_event(*messages)
    tenant.log.add(
        run_victim(tenant.harness.aws.settings, batch, when, about=about or tenant.account)
    )


def kill_worker(tenant: Tenant, when: str, state: dict[str, Any], about: str = "") -> None:
    """Handle a state with a worker that is killed on the way."""
    settings = tenant.harness.aws.settings
    about = about or f"{tenant.account}#"
    tenant.log.add(run_victim(settings, state, when, about=about, function="worker"))


def assert_settled(tenant: Tenant, status: int) -> None:
    """Assert that there is one record, and one schedule if one is due.

    The schedule's next attempt, to a receiver that is well again, ends it.
    """
    delivery = tenant.delivery()
    assert [attempt.number for attempt in delivery.attempts] == [1]
    if status == 200:
        assert delivery.status is Status.SUCCEEDED
        assert tenant.executions() == []
        return
    assert delivery.status is Status.RETRYING
    [state] = tenant.executions()
    assert tenant.retry(state)["decision"] == "done"
    assert tenant.delivery().status is Status.SUCCEEDED
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]


@pytest.mark.parametrize("status", [200, 500])
def test_row_10_killed_before_the_post(tenant: Tenant, receiver: MakeReceiver, status: int) -> None:
    hook = receiver(Answer(status), Answer(200))
    tenant.webhook(hook)
    kill(tenant, BEFORE_THE_POST, tenant.message())
    assert hook.requests == []
    assert tenant.deliveries() == []

    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert_settled(tenant, status)


@pytest.mark.parametrize(
    "when", [f"{BEFORE} Query", f"{AFTER} Query", f"{BEFORE} BatchGetItem", f"{AFTER} BatchGetItem"]
)
def test_row_10_killed_while_it_reads(tenant: Tenant, receiver: MakeReceiver, when: str) -> None:
    hook = receiver()
    tenant.webhook(hook)
    kill(tenant, when, tenant.message())
    assert hook.requests == []
    assert tenant.deliveries() == []

    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert_settled(tenant, 200)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_10_killed_while_it_puts_poison_by(
    tenant: Tenant, receiver: MakeReceiver, when: str
) -> None:
    """Poison may be dead-lettered twice; its neighbours are sent once."""
    hook = receiver()
    tenant.webhook(hook)
    poison = '{"account_id": "' + tenant.account + '", "event": "email.lost"}'
    kill(tenant, f"{when} SendMessage", poison, tenant.message())
    assert hook.requests == []

    assert tenant.dispatch(poison, tenant.message()) == []
    assert tenant.rejected() == {poison: "unknown_event"}
    assert len(hook.requests) == 1
    assert_settled(tenant, 200)


@pytest.mark.parametrize(("status", "record"), [(200, "BatchWriteItem"), (500, "PutItem")])
def test_row_11_killed_after_the_post_before_the_record(
    tenant: Tenant, receiver: MakeReceiver, status: int, record: str
) -> None:
    hook = receiver(Answer(status), Answer(status), Answer(200))
    tenant.webhook(hook)
    kill(tenant, f"{BEFORE} {record}", tenant.message())
    assert len(hook.requests) == 1
    assert tenant.deliveries() == []

    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    assert_settled(tenant, status)


def test_row_11_killed_after_the_record_of_a_success(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    kill(tenant, f"{AFTER} BatchWriteItem", tenant.message())
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert_settled(tenant, 200)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
@pytest.mark.parametrize("status", [200, 503])
def test_row_11_killed_around_the_record_of_a_later_attempt(
    tenant: Tenant, receiver: MakeReceiver, when: str, status: int
) -> None:
    hook = receiver(Answer(500), Answer(status))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    [state] = tenant.executions()
    kill_worker(tenant, f"{when} UpdateItem", state, about=":attempts_before")
    assert len(hook.requests) == 2
    assert len(tenant.delivery().attempts) == (2 if when == AFTER else 1)

    if when == BEFORE:
        # The killed process holds the claim: no other process sends until its lease is over.
        assert tenant.retry(state)["decision"] == "wait"
        assert len(hook.requests) == 2
    after = tenant.retry(state, tenant.after_the_lease())
    assert after["decision"] == ("done" if status == 200 else "wait")
    assert len(hook.requests) == (2 if when == AFTER else 3)
    assert one_event(*hook.requests)
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]
    assert [one.headers["x-sendcomms-attempt"] for one in hook.requests[1:]] == (
        ["2"] if when == AFTER else ["2", "2"]
    )


@pytest.mark.parametrize(
    ("when", "schedules"),
    [(f"{AFTER} PutItem", 0), (f"{BEFORE} StartExecution", 0), (f"{AFTER} StartExecution", 1)],
)
def test_row_12_killed_after_the_record_around_the_schedules_start(
    tenant: Tenant, receiver: MakeReceiver, when: str, schedules: int
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    kill(tenant, when, tenant.message())
    assert tenant.delivery().status is Status.RETRYING
    assert len(tenant.executions()) == schedules

    assert tenant.dispatch(tenant.message()) == []
    assert tenant.dispatch(tenant.message()) == []
    assert len(hook.requests) == 1
    assert_settled(tenant, 500)
    assert one_event(*hook.requests)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_12_killed_around_the_start_of_a_recovery(
    tenant: Tenant, receiver: MakeReceiver, when: str
) -> None:
    """It opened the circuit: no other process opens it again or knows that it did."""
    tenant.webhook(receiver(Answer(500)))
    messages = [tenant.message(f"txn_{number}") for number in range(FAILURES_TO_OPEN)]
    kill(tenant, f"{when} StartExecution", *messages, about="recover")
    assert tenant.health().health.circuit is Circuit.OPEN
    assert len(tenant.recoveries()) == (when == AFTER)

    tenant.health(recovery_due_at={"N": "1"})
    assert tenant.dispatch(*messages) == []
    [state] = tenant.recoveries()
    # A recovery that is not the webhook's own would end.
    assert tenant.retry(state)["decision"] == "wait"


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_row_12_killed_around_the_start_of_a_drained_deliverys_schedule(
    tenant: Tenant, receiver: MakeReceiver, when: str
) -> None:
    """The repeated step finds no waiting delivery: if no start was made, the sweep makes it."""
    hook = receiver(Answer(500))
    webhook = tenant.webhook(hook, active=False)
    assert tenant.dispatch(tenant.message()) == []
    path = f"/api/v1/webhooks/{webhook.id}"
    assert tenant.acme.call("PATCH", path, json={"active": True}).status == 200
    # As after the probe, which was another delivery.
    tenant.health(circuit={"S": "draining"}, draining_since={"N": "1"})
    [recovery] = tenant.recoveries()
    kill_worker(tenant, f"{when} StartExecution", recovery, about=tenant.delivery().id)
    assert tenant.delivery().status is Status.RETRYING
    assert len(hook.requests) == 1

    assert tenant.retry(recovery)["decision"] == "wait"
    tenant.overdue(tenant.delivery())
    tenant.retry({"action": "sweep"})
    assert len(hook.requests) == 1
    [state] = tenant.executions()
    assert state["generation"] == tenant.delivery().generation
    hook.answer_with(Answer(200))
    assert tenant.retry(state)["decision"] == "done"
    assert tenant.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)


def test_row_13_killed_mid_batch(tenant: Tenant, receiver: MakeReceiver) -> None:
    """Seven of ten are not answered while the first process lives; the three are."""
    names = [f"txn_{number}" for number in range(10)]
    at_once = set(names[:3])
    alive = threading.Event()

    def answer(request: Request) -> Answer:
        if request.json["transaction_id"] not in at_once:
            alive.wait(30)
        return Answer(200)

    hook = receiver(answer)
    tenant.webhook(hook)
    messages = [tenant.message(name) for name in names]
    kill(tenant, f"{AFTER} BatchWriteItem", *messages)
    alive.set()
    # It was killed after its first record, which may hold fewer than all three.
    recorded = {one.transaction_id for one in tenant.deliveries()}
    assert recorded
    assert recorded <= at_once

    assert tenant.dispatch(*messages) == []
    posts = {name: [one for one in hook.requests if name in str(one.body)] for name in names}
    assert {name for name, sent in posts.items() if len(sent) == 1} >= recorded
    assert all(1 <= len(sent) <= 2 and one_event(*sent) for sent in posts.values())
    assert {one.transaction_id for one in tenant.deliveries()} == set(names)
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}
    assert tenant.executions() == []


def test_row_14_the_invocations_time_runs_out_mid_batch(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    messages = [tenant.message(f"txn_{number}") for number in range(10)]
    # Once for each message and 8 times around the reads, and then for each attempt.
    context: Any = RunningOut(asked=11 + 8 + 5)
    assert tenant.dispatch(*messages, context=context) == []
    assert 0 < len(hook.requests) < 10
    left = tenant.harness.aws.queued()
    assert len(left) == 10 - len(hook.requests)
    assert tenant.dispatch(*left) == []
    names = [request.json["transaction_id"] for request in hook.requests]
    assert sorted(names) == sorted(f"txn_{number}" for number in range(10))
    assert tenant.executions() == []


def test_row_14_what_is_left_comes_again_by_its_message_where_the_queue_does_not_take_it(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    messages = [tenant.message(f"txn_{number}") for number in range(10)]
    tenant.harness.faults.on(
        "SendMessageBatch", refused("ServiceUnavailable", 503), about=tenant.account
    )
    context: Any = RunningOut(asked=11 + 8 + 5)
    failed = tenant.dispatch(*messages, context=context)
    assert len(failed) == 10 - len(hook.requests) > 0
    tenant.harness.faults.clear()
    assert tenant.dispatch(*messages) == []
    names = [request.json["transaction_id"] for request in hook.requests]
    assert sorted(names) == sorted(f"txn_{number}" for number in range(10))
