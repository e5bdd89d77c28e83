"""Rows 24 to 27 and 60: the retry state machine, really run, with the real functions behind it.

Only the machine's own delays between its tries are cut short.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local import template
from ops.redrive import Stack, Wanted, redrive_deliveries
from support.executions import MACHINE, running_world
from support.fault_harness import Case, one_event
from support.faults import SDK_TRIES, Faults, refused
from support.receiver import Answer
from support.stack import eventually
from webhooks.domain.delivery import Status
from webhooks.wiring.redrive import RedriveServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.executions import World
    from support.log_capture import Watch
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


def failing(case: Case, receiver: MakeReceiver) -> Receiver:
    """Let a delivery's first attempt fail; returns its receiver, which refuses all others."""
    hook = receiver(Answer(500))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    return hook


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(Faults()) as ready:
        yield ready


@pytest.fixture
def case(world: World, log: Watch) -> Iterator[Case]:
    yield Case(world.stand, log)
    world.stand.faults.clear()
    world.task.failures, world.task.fails_always = [], None
    world.task.states.clear()
    world.dead_letters()


def execution_of(case: Case) -> str:
    """Return the name of the execution of the account's only delivery."""
    delivery = case.delivery()
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
    case: Case, world: World, receiver: MakeReceiver, error: str
) -> None:
    world.task.failures = [error]
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    status, entered = world.ended(execution_of(case))
    assert (status, entered) == ("SUCCEEDED", ["Wait", "Attempt", "Decide", "Done"])
    assert [state["attempt"] for state in world.task.states] == [2, 2]
    assert len(hook.requests) == 2
    assert [attempt.number for attempt in case.delivery().attempts] == [1, 2]
    assert world.dead_letters() == []


def test_row_24_what_fails_on_our_side_leaves_the_webhooks_health_alone(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    # Of the machine's three tries of its two attempts the first ends before anything is sent.
    case.stand.faults.on(
        "GetItem", refused("InternalServerError", 500), about=case.account, times=SDK_TRIES
    )
    assert case.dispatch(case.message()) == []
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    assert [state["attempt"] for state in world.task.states] == [2, 2, 3]
    assert len(hook.requests) == 3
    assert len(case.delivery().attempts) == 3
    assert case.health().health.failures == 3


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
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    world.task.fails_always = "KeyError"
    hook = receiver(Answer(500))
    webhook = case.webhook(hook)
    assert case.dispatch(case.message()) == []
    status, entered = world.ended(execution_of(case))
    assert (status, entered[-2:]) == ("FAILED", ["DeadLetterInterrupted", "Interrupted"])
    delivery = case.delivery()
    [letter] = world.dead_letters()
    assert (letter["account_id"], letter["webhook_id"]) == (case.account, webhook.id)
    assert (letter["delivery_id"], letter["error"]) == (delivery.id, "KeyError")
    assert delivery.status is Status.RETRYING
    assert len(hook.requests) == 1


def test_row_26_a_dead_letter_that_cannot_be_sent_fails_in_sight(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    with world.without_dead_letter_queue():
        failing(case, receiver)
        status, entered = world.ended(execution_of(case))
    assert (status, entered[-1]) == ("FAILED", "DeadLetter")
    assert world.machine.failures(world.machine.named(execution_of(case))) == 2
    # The result is in the record all the same, and an alarm watches failed executions.
    delivery = case.delivery()
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


def redrive(case: Case, world: World) -> dict[str, int]:
    """Redrive the dead-letter queue with the operator's command."""
    settings = case.stand.aws.settings
    stack = Stack(
        deliveries_table=settings.deliveries_table,
        retry_state_machine_arn=settings.retry_state_machine_arn,
        dead_letter_queue_url=world.dead_letter_queue,
        events_dead_letter_queue_url=settings.events_dead_letter_queue_url,
        events_queue_url=settings.events_queue_url,
    )
    redriver = case.stand.services(RedriveServices).redriver
    counts = redrive_deliveries(world.sqs, stack, redriver, Wanted(case.account), case.log.add)
    return dict(counts)


def test_row_27_a_redriven_delivery_is_a_new_generation_that_reads_the_webhook_again(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    dead, moved = receiver(Answer(500)), receiver(Answer(503), Answer(200))
    webhook = case.webhook(dead)
    assert case.dispatch(case.message()) == []
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    assert (case.delivery().status, case.delivery().generation) == (Status.EXHAUSTED, 0)
    path = f"/api/v1/webhooks/{webhook.id}"
    assert case.acme.call("PATCH", path, json={"url": moved.url}).status == 200

    assert sum(redrive(case, world).values()) == 1
    eventually(lambda: case.delivery().status is Status.SUCCEEDED, "it arrives")
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    delivery = case.delivery()
    assert delivery.generation == 1
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3, 4, 5]
    assert (len(dead.requests), len(moved.requests)) == (3, 2)
    assert one_event(*dead.requests, *moved.requests)
    assert world.dead_letters() == []


def test_row_27_a_redriven_delivery_that_fails_has_a_whole_schedule_again(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = failing(case, receiver)
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    redrive(case, world)
    status, entered = world.ended(execution_of(case))
    assert (status, entered[-2:]) == ("SUCCEEDED", ["NoteDeadLetter", "Done"])
    delivery = case.delivery()
    assert delivery.status is Status.EXHAUSTED
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3, 4, 5, 6]
    assert len(hook.requests) == 6
    # The old generation's execution, run again, does nothing.
    old = {"version": 1, "attempt": 2, "seconds": 0, **delivery.key._asdict()}
    assert case.retry(old)["decision"] == "done"
    assert len(hook.requests) == 6


def test_row_27_each_of_two_redrives_has_a_whole_schedule_and_a_dead_letter_of_its_own(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = failing(case, receiver)
    for redrives in range(3):
        assert world.ended(execution_of(case))[0] == "SUCCEEDED"
        delivery = case.delivery()
        assert (delivery.status, delivery.generation) == (Status.EXHAUSTED, redrives)
        assert len(delivery.attempts) == len(hook.requests) == 3 * (redrives + 1)
        if redrives < 2:
            assert redrive(case, world) == {"started": 1}
    [letter] = world.dead_letters()
    assert (letter["delivery_id"], letter["attempts"]) == (case.delivery().id, 9)
    assert one_event(*hook.requests)


def test_row_27_an_attempt_by_hand_is_none_of_a_redriven_schedule(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = failing(case, receiver)
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    assert not case.stand.services(WorkerServices).retrier.resend(case.delivery().key).succeeded
    assert case.delivery().attempts[3].manual
    assert redrive(case, world) == {"started": 1}
    assert world.ended(execution_of(case))[0] == "SUCCEEDED"
    delivery = case.delivery()
    assert delivery.status is Status.EXHAUSTED
    # Three before, the one by hand, and three again.
    assert [one.number for one in delivery.attempts if one.scheduled] == [1, 2, 3, 5, 6, 7]
    assert len(hook.requests) == 7
    assert len(world.dead_letters()) == 1


def test_row_60_a_state_of_another_version_is_dead_lettered_and_not_retried(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    case.webhook(hook)
    ids = {"account_id": case.account, "webhook_id": "w", "delivery_id": "d"}
    state = {"version": 99, **ids, "attempt": 2, "seconds": 0}
    status, entered = world.machine.execute(state, name=f"{case.account}-of-another-version")
    assert status == "SUCCEEDED"
    assert entered == ["Wait", "Attempt", "Decide", "DeadLetter", "NoteDeadLetter", "Done"]
    assert len(world.task.states) == 1
    [letter] = world.dead_letters()
    assert letter["reason"] == "unknown_version"
    assert {name: letter[name] for name in ids} == ids
    assert '"unknown_version"' in case.log.text


def test_row_60_an_execution_from_before_there_were_generations_goes_on(
    case: Case, world: World, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    case.webhook(hook)
    world.task.fails_always = "UnavailableError"
    assert case.dispatch(case.message()) == []
    [state] = case.executions()
    old = {name: value for name, value in state.items() if name != "generation"}
    assert case.retry(old)["decision"] == "done"
    assert case.delivery().status is Status.SUCCEEDED
    assert world.ended(execution_of(case))[0] == "FAILED"


def test_row_60_a_recovery_of_another_version_is_given_up_at_once(case: Case) -> None:
    state = {"version": 99, "action": "recover", "account_id": case.account}
    assert case.retry(state)["decision"] == "unknown_version"
    resource = template.load()["Resources"]["JobStateMachine"]
    states = json.loads(template.definition(resource, {}))["States"]
    known = {choice.get("StringEquals") for choice in states["Decide"]["Choices"]}
    assert "unknown_version" not in known
    assert states["Decide"]["Default"] not in {"Wait", "Step"}
