"""Rows 24 to 27 and 60: the retry state machine, really run, with the real functions behind it.

Only the machine's own delays between its tries are cut short.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from faults.executions import MACHINE, running_executions
from faults.fault_harness import Tenant, one_event
from local import template
from ops.redrive import Stack, Wanted, redrive_deliveries
from support.faults import SDK_TRIES, Faults, refused
from support.receiver import Answer
from support.stack import eventually
from webhooks.domain.delivery import Status
from webhooks.wiring.redrive import RedriveServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.executions import ExecutionFixture
    from faults.log_capture import LogCapture
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

OUR_OWN_SIDE = {
    "UnavailableError": "the function says so itself: a table, a queue, a key or our resolver",
    "Lambda.ServiceException": "Lambda's own error, a 500",
    "Lambda.AWSLambdaException": "any other answer of Lambda's that is none of the function's",
    "Lambda.SdkClientException": "Step Functions did not reach Lambda, or not in time",
    "Lambda.TooManyRequestsException": "no room for one function more: throttled",
    "Lambda.Unknown": "Lambda ended the function: out of memory, or killed",
    "Sandbox.Timedout": "the function's own 50 seconds were over",
    "States.Timeout": "the task's 60 seconds were over",
}
"""The errors of our own side, none a receiver's fault, each with its meaning."""


def failing(tenant: Tenant, receiver: MakeReceiver) -> Receiver:
    """Let a delivery's first attempt fail; returns its receiver, which refuses all others."""
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    return hook


@pytest.fixture(scope="module")
def executions() -> Iterator[ExecutionFixture]:
    with running_executions(Faults()) as ready:
        yield ready


@pytest.fixture
def tenant(executions: ExecutionFixture, log: LogCapture) -> Iterator[Tenant]:
    yield Tenant(executions.harness, log)
    executions.harness.faults.clear()
    executions.task.failures, executions.task.fails_always = [], None
    executions.task.states.clear()
    executions.dead_letters()


def execution_of(tenant: Tenant) -> str:
    """Return the name of the execution of the account's only delivery."""
    delivery = tenant.delivery()
    name = f"{delivery.id}-{delivery.created_at_ms}"
    return f"{name}-{delivery.generation}" if delivery.generation else name


@pytest.mark.parametrize(
    "error",
    [
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "Lambda.SdkClientException",
        "Sandbox.Timedout",
        "States.Timeout",
    ],
)
def test_row_24_lambda_itself_fails_and_the_receiver_is_not_blamed(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver, error: str
) -> None:
    executions.task.failures = [error]
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    status, entered = executions.ended(execution_of(tenant))
    assert (status, entered) == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert [state["attempt"] for state in executions.task.states] == [2, 2]
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in tenant.delivery().attempts] == [1, 2]
    assert executions.dead_letters() == []


def test_row_24_what_fails_on_our_side_leaves_the_webhooks_health_alone(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    # Of the machine's three tries of its two attempts the first ends before anything is sent.
    tenant.harness.faults.on(
        "GetItem", refused("InternalServerError", 500), about=tenant.account, times=SDK_TRIES
    )
    assert tenant.dispatch(tenant.message()) == []
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    assert [state["attempt"] for state in executions.task.states] == [2, 2, 3]
    assert len(hook.requests) == 3
    assert len(tenant.delivery().attempts) == 3
    assert tenant.health().health.failures == 3


@pytest.mark.parametrize(("machine", "task"), [(MACHINE, "Attempt"), ("JobStateMachine", "Step")])
def test_row_24_the_tries_are_spread_and_last_for_hours(machine: str, task: str) -> None:
    resource = template.load()["Resources"][machine]
    first, *_, second = json.loads(template.definition(resource, {}))["States"][task]["Retry"]
    assert sorted(first["ErrorEquals"]) == sorted(OUR_OWN_SIDE)
    assert (first["JitterStrategy"], first["BackoffRate"]) == ("FULL", 2)
    assert first["MaxAttempts"] * first["MaxDelaySeconds"] > 12 * 3600
    # The second rule covers our own bugs, such as half an hour of a bad deployment, but no
    # time-out.
    assert second["ErrorEquals"] == ["States.TaskFailed"]
    assert second["MaxAttempts"] == 3


def test_row_25_an_unexpected_error_is_dead_lettered_with_the_deliverys_id(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    executions.task.fails_always = "KeyError"
    hook = receiver(Answer(500))
    webhook = tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    status, entered = executions.ended(execution_of(tenant))
    assert (status, entered[-2:]) == ("FAILED", ["DeadLetterInterrupted", "Interrupted"])
    delivery = tenant.delivery()
    [letter] = executions.dead_letters()
    assert (letter["account_id"], letter["webhook_id"]) == (tenant.account, webhook.id)
    assert (letter["delivery_id"], letter["error"]) == (delivery.id, "KeyError")
    assert delivery.status is Status.RETRYING
    assert len(hook.requests) == 1


def test_row_26_a_dead_letter_that_cannot_be_sent_fails_in_sight(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    with executions.without_dead_letter_queue():
        failing(tenant, receiver)
        status, entered = executions.ended(execution_of(tenant))
    assert (status, entered[-1]) == ("FAILED", "DeadLetter")
    assert executions.machine.failures(executions.machine.named(execution_of(tenant))) == 2
    # The result is in the record all the same, and an alarm watches failed executions.
    delivery = tenant.delivery()
    assert (delivery.status, len(delivery.attempts)) == (Status.EXHAUSTED, 3)
    alarm = template.load()["Resources"]["FailedRetriesAlarm"]["Properties"]
    assert alarm["MetricName"] == "ExecutionsFailed"


def test_row_26_the_dead_letter_is_tried_for_a_day() -> None:
    resource = template.load()["Resources"][MACHINE]
    states = json.loads(template.definition(resource, {}))["States"]
    for name in ("DeadLetter", "DeadLetterInterrupted"):
        [rule] = states[name]["Retry"]
        assert rule["ErrorEquals"] == ["States.ALL"]
        assert (rule["BackoffRate"], rule["MaxDelaySeconds"]) == (2, 3600)
        # Full jitter halves a delay on average.
        assert rule["MaxAttempts"] * rule["MaxDelaySeconds"] / 2 > 86_400


def redrive(tenant: Tenant, executions: ExecutionFixture) -> dict[str, int]:
    """Redrive the dead-letter queue with the operator's command."""
    settings = tenant.harness.aws.settings
    stack = Stack(
        deliveries_table=settings.deliveries_table,
        retry_state_machine_arn=settings.retry_state_machine_arn,
        dead_letter_queue_url=executions.dead_letter_queue,
        events_dead_letter_queue_url=settings.events_dead_letter_queue_url,
        events_queue_url=settings.events_queue_url,
    )
    redriver = tenant.harness.services(RedriveServices).redriver
    counts = redrive_deliveries(
        executions.sqs, stack, redriver, Wanted(tenant.account), tenant.log.add
    )
    return dict(counts)


def test_row_27_a_redriven_delivery_is_a_new_generation_that_reads_the_webhook_again(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    dead, moved = receiver(Answer(500)), receiver(Answer(503), Answer(200))
    webhook = tenant.webhook(dead)
    assert tenant.dispatch(tenant.message()) == []
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    assert (tenant.delivery().status, tenant.delivery().generation) == (Status.EXHAUSTED, 0)
    path = f"/api/v1/webhooks/{webhook.id}"
    assert tenant.acme.call("PATCH", path, json={"url": moved.url}).status == 200

    assert sum(redrive(tenant, executions).values()) == 1
    eventually(lambda: tenant.delivery().status is Status.SUCCEEDED, "it arrives")
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    delivery = tenant.delivery()
    assert delivery.generation == 1
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3, 4, 5]
    assert (len(dead.requests), len(moved.requests)) == (3, 2)
    assert one_event(*dead.requests, *moved.requests)
    assert executions.dead_letters() == []


def test_row_27_a_redriven_delivery_that_fails_has_a_whole_schedule_again(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = failing(tenant, receiver)
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    redrive(tenant, executions)
    status, entered = executions.ended(execution_of(tenant))
    assert (status, entered[-2:]) == ("SUCCEEDED", ["NoteDeadLetter", "Done"])
    delivery = tenant.delivery()
    assert delivery.status is Status.EXHAUSTED
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3, 4, 5, 6]
    assert len(hook.requests) == 6
    # The old generation's execution, run again, does nothing.
    old = {"version": 1, "attempt": 2, "seconds": 0, **delivery.key._asdict()}
    assert tenant.retry(old)["decision"] == "done"
    assert len(hook.requests) == 6


def test_row_27_each_of_two_redrives_has_a_whole_schedule_and_a_dead_letter_of_its_own(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = failing(tenant, receiver)
    for redrives in range(3):
        assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
        delivery = tenant.delivery()
        assert (delivery.status, delivery.generation) == (Status.EXHAUSTED, redrives)
        assert len(delivery.attempts) == len(hook.requests) == 3 * (redrives + 1)
        if redrives < 2:
            assert redrive(tenant, executions) == {"started": 1}
    [letter] = executions.dead_letters()
    assert (letter["delivery_id"], letter["attempts"]) == (tenant.delivery().id, 9)
    assert one_event(*hook.requests)


def test_row_27_an_attempt_by_hand_is_none_of_a_redriven_schedule(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = failing(tenant, receiver)
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    assert (
        not tenant.harness.services(WorkerServices).retrier.resend(tenant.delivery().key).succeeded
    )
    assert tenant.delivery().attempts[3].manual
    assert redrive(tenant, executions) == {"started": 1}
    assert executions.ended(execution_of(tenant))[0] == "SUCCEEDED"
    delivery = tenant.delivery()
    assert delivery.status is Status.EXHAUSTED
    # Three before, the one by hand, and three again.
    assert [one.number for one in delivery.attempts if one.scheduled] == [1, 2, 3, 5, 6, 7]
    assert len(hook.requests) == 7
    assert len(executions.dead_letters()) == 1


def test_row_60_a_state_of_another_version_is_dead_lettered_and_not_retried(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    ids = {"account_id": tenant.account, "webhook_id": "w", "delivery_id": "d"}
    state = {"version": 99, **ids, "attempt": 2, "seconds": 0}
    status, entered = executions.machine.execute(state, name=f"{tenant.account}-of-another-version")
    assert status == "SUCCEEDED"
    assert entered == ["Wait", "Attempt", "Decide", "DeadLetter", "NoteDeadLetter", "Done"]
    assert len(executions.task.states) == 1
    [letter] = executions.dead_letters()
    assert letter["reason"] == "unknown_version"
    assert {name: letter[name] for name in ids} == ids
    assert '"unknown_version"' in tenant.log.text


def test_row_60_an_execution_from_before_there_were_generations_goes_on(
    tenant: Tenant, executions: ExecutionFixture, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    executions.task.fails_always = "UnavailableError"
    assert tenant.dispatch(tenant.message()) == []
    [state] = tenant.executions()
    old = {name: value for name, value in state.items() if name != "generation"}
    assert tenant.retry(old)["decision"] == "done"
    assert tenant.delivery().status is Status.SUCCEEDED
    assert executions.ended(execution_of(tenant))[0] == "FAILED"


def test_row_60_a_recovery_of_another_version_is_given_up_at_once(tenant: Tenant) -> None:
    state = {"version": 99, "action": "recover", "account_id": tenant.account}
    assert tenant.retry(state)["decision"] == "unknown_version"
    resource = template.load()["Resources"]["JobStateMachine"]
    states = json.loads(template.definition(resource, {}))["States"]
    known = {choice.get("StringEquals") for choice in states["Decide"]["Choices"]}
    assert "unknown_version" not in known
    assert states["Decide"]["Default"] not in {"Wait", "Step"}
