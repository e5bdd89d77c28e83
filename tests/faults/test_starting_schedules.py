"""Rows 21 to 23: the start of a delivery's schedule is refused, lost, or was made before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import template
from support.faults import SDK_TRIES, answer_lost, refused, timed_out
from support.receiver import Answer
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.faults import Act
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(refused("ThrottlingException"), id="throttled"),
        pytest.param(refused("ExecutionLimitExceeded"), id="too many executions"),
        pytest.param(refused("InternalServerError", 500), id="server error"),
        pytest.param(timed_out(), id="timed out"),
    ],
)
def test_row_21_a_refused_start_is_marked_and_the_message_is_done(
    tenant: Tenant, receiver: MakeReceiver, trouble: Act
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("StartExecution", trouble, about=tenant.account)
    for _ in range(2):
        assert tenant.dispatch(tenant.message()) == []
    delivery = tenant.delivery()
    assert (delivery.status, delivery.unstarted) == (Status.RETRYING, True)
    # The record has the due time, by which the sweep finds it.
    assert delivery.next_attempt_at_ms is not None
    assert tenant.executions() == []
    assert len(hook.requests) == 1
    assert '"retry_unstarted"' in tenant.log.text
    assert "UnstartedRetries" in tenant.log.text


def test_row_21_a_start_that_cannot_be_marked_either_has_the_message_come_again(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    tenant.harness.faults.on("UpdateItem", refused("ThrottlingException"), about="unstarted")
    assert tenant.dispatch(tenant.message()) == ["m0"]
    assert not tenant.delivery().unstarted

    tenant.harness.faults.clear()
    for _ in range(2):
        assert tenant.dispatch(tenant.message()) == []
    assert len(tenant.executions()) == 1
    assert len(hook.requests) == 1


def test_row_21_the_answer_to_the_start_is_lost(tenant: Tenant, receiver: MakeReceiver) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("StartExecution", answer_lost(), about=tenant.account, times=1)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.harness.faults.count("StartExecution", tenant.account) == 2
    assert len(tenant.executions()) == 1
    assert len(hook.requests) == 1


def test_row_22_an_execution_that_exists_already_is_success(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on(
        "StartExecution", refused("ExecutionAlreadyExists"), about=tenant.account
    )
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.harness.faults.count("StartExecution", tenant.account) == 1
    assert len(hook.requests) == 1


@pytest.mark.parametrize("closed", [False, True], ids=["running", "ended"])
def test_row_22_the_name_of_an_execution_stays_taken(
    tenant: Tenant, receiver: MakeReceiver, closed: bool
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    [(name, parameters)] = [
        (body["name"], body)
        for what, body in tenant.harness.faults.sent
        if what == "StartExecution"
    ]
    states = tenant.harness.aws.clients["stepfunctions"]
    if closed:
        machine = parameters["stateMachineArn"]
        states.stop_execution(
            executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        )
    # A later copy has less to wait: another input under the same name.
    assert tenant.dispatch(tenant.message()) == []
    assert len(tenant.executions()) == 1
    assert len(hook.requests) == 1


@pytest.mark.parametrize("code", ["StateMachineDoesNotExist", "AccessDeniedException"])
def test_row_23_a_start_that_can_never_succeed_is_marked_too(
    tenant: Tenant, receiver: MakeReceiver, code: str
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("StartExecution", refused(code), about=tenant.account)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.delivery().unstarted
    assert tenant.rejected() == {}
    assert len(hook.requests) == 1


def test_row_23_retries_that_are_not_started_raise_an_alarm() -> None:
    alarm = template.load()["Resources"]["UnstartedRetriesAlarm"]["Properties"]
    counted = [
        one["MetricStat"]["Metric"]["MetricName"] for one in alarm["Metrics"] if "MetricStat" in one
    ]
    assert counted == ["UnstartedRetries", "UnstartedRetries"]


def test_row_21_a_start_that_is_throttled_for_a_moment_is_the_sdks_own_affair(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.webhook(receiver(Answer(500)))
    throttled = refused("ThrottlingException")
    tenant.harness.faults.on("StartExecution", throttled, about=tenant.account, times=SDK_TRIES - 1)
    assert tenant.dispatch(tenant.message()) == []
    assert len(tenant.executions()) == 1
