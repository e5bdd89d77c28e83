"""Rows 69 and 70: starts that are refused, and dead letters that are sent at least once."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faults.short_retries import (
    fail_once,
    run,
)
from local import template
from support.faults import refused
from support.receiver import Answer
from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs import Action
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]


def test_row_69_deleting_disabling_and_reading_need_no_step_functions(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    webhook = tenant.webhook(receiver(Answer(200)))
    path = f"/api/v1/webhooks/{webhook.id}"
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    assert tenant.acme.call("GET", path).status == 200
    for active in (False, True, False):
        assert tenant.acme.call("PATCH", path, json={"active": active}).status == 200
    assert tenant.acme.call("DELETE", path).status in {200, 204}
    assert tenant.acme.call("GET", path).status == 404
    assert tenant.recoveries() == []

    # The job that cancels its waiting deliveries is overdue a moment later, for the sweep.
    tenant.harness.faults.clear()
    health = tenant.harness.services(WorkerServices)._health_store
    [key] = [
        one
        for one in health.overdue(int(time.time() * 1000) + 600_000, 100)
        if one.account_id == tenant.account
    ]
    assert health.replace(key, "another", 1)
    assert not health.replace(key, "a third", 1)
    state = {"version": 1, "action": "recover", **key._asdict(), "seconds": 0}
    assert tenant.retry(state)["decision"] == "done"
    assert tenant.account not in {one.account_id for one in health.overdue(2**42, 100)}


@pytest.mark.parametrize("attempts", [1, 2])
def test_row_69_a_refused_start_of_either_kind_is_marked(
    tenant: Tenant, receiver: MakeReceiver, attempts: int
) -> None:
    """After the second attempt, the next short one; after the third, the standard one."""
    tenant.webhook(receiver(Answer(500)))
    state = fail_once(tenant)
    for number in range(attempts):
        if number:
            [state] = [one for one in tenant.short_executions() if one != state]
        if number == attempts - 1:
            tenant.harness.faults.on(
                "StartExecution", refused("ThrottlingException"), about=tenant.account
            )
        assert run(tenant, state)["decision"] == "done"
    delivery = tenant.delivery()
    assert (delivery.unstarted, delivery.short) == (True, attempts == 1)
    assert len(delivery.attempts) == attempts + 1
    assert '"retry_unstarted"' in tenant.log.text


def test_row_69_a_start_that_cannot_be_marked_is_made_by_the_machines_next_try(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    state = fail_once(tenant)
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    tenant.harness.faults.on(
        "UpdateItem", refused("ThrottlingException"), about="unstarted = :true"
    )
    tenant.harness.faults.on(
        "UpdateItem", refused("ThrottlingException"), about="#unstarted = :true"
    )
    with pytest.raises(UnavailableError):
        run(tenant, state)
    tenant.harness.faults.clear()
    run(tenant, state)
    assert len(tenant.short_executions()) == 2
    assert len(hook.requests) == 2


def exhausted(tenant: Tenant, receiver: MakeReceiver) -> tuple[dict[str, Any], Delivery]:
    """Exhaust a schedule in a short run; returns the input of the execution that it started."""
    tenant.webhook(receiver(Answer(500)))
    made = tenant.harness.fresh(DispatcherServices, short_delay_seconds=60.0, retry_schedule=(5.0,))
    assert tenant.dispatch(tenant.message(), services=made) == []
    [state] = tenant.short_executions()
    worker = tenant.harness.fresh(WorkerServices, short_delay_seconds=60.0, retry_schedule=(5.0,))
    short = {"action": Action.SHORT_ATTEMPT, "state": state}
    for _ in range(2):
        assert tenant.retry(short, worker)["decision"] == "done"
    [standard] = tenant.executions()
    return standard, tenant.delivery()


def test_row_70_an_exhausted_delivery_is_due_until_its_dead_letter_is_noted(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    state, delivery = exhausted(tenant, receiver)
    assert (delivery.status, delivery.generation) == (Status.EXHAUSTED, 0)
    assert delivery.next_attempt_at_ms is not None
    assert state["seconds"] == 0
    # The API shows no attempt that will not be made.
    path = f"/api/v1/webhooks/{delivery.webhook_id}/deliveries/{delivery.id}"
    assert tenant.acme.call("GET", path).json["data"].get("next_attempt_at") is None

    letters = [tenant.retry(state) for _ in range(2)]
    assert [one["decision"] for one in letters] == ["dead_letter"] * 2
    named = {(one["delivery_id"], one["dead_letter"]["generation"]) for one in letters}
    assert named == {(delivery.id, 0)}

    tenant.retry({"action": Action.NOTE_DEAD_LETTER, "state": letters[0]})
    assert tenant.delivery() == replace(delivery, next_attempt_at_ms=None)
    assert tenant.retry(state)["decision"] == "done"


def test_row_70_an_execution_of_the_definition_before_ends_as_it_did(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    state, _ = exhausted(tenant, receiver)
    # Without an action: nothing follows its dead letter.
    former = {**state, "action": None}
    assert tenant.retry(former)["decision"] == "dead_letter"
    assert tenant.delivery().next_attempt_at_ms is None
    assert tenant.retry(former)["decision"] == "dead_letter"


def test_row_70_the_dead_letter_is_noted_after_the_queue_has_it() -> None:
    states = json.loads(template.definition(template.load()["Resources"]["RetryStateMachine"], {}))[
        "States"
    ]
    assert states["DeadLetter"]["Next"] == "NoteDeadLetter"
    assert states["DeadLetter"]["ResultPath"] is None
    body = states["DeadLetter"]["Parameters"]["MessageBody"]
    assert body["generation.$"] == "$.dead_letter.generation"
