"""Rows 67, 71 and 72: the sweep finds, every minute, the work that no process is doing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.fault_harness import one_event
from faults.log_capture import RECIPIENT
from support.faults import refused
from support.receiver import Answer
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.delivery_items import claim_value
from webhooks.domain.delivery import Claim, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

SWEEP = {"version": 1, "action": "sweep"}
LONG_AGO = {"N": "1"}
DAY_MS = 86_400_000


def edit(tenant: Tenant, key: dict[str, Any], **values: Any) -> None:
    """Write attributes of an item of the deliveries' table; None removes an attribute."""
    removed = [name for name, value in values.items() if value is None]
    written = {name: value for name, value in values.items() if value is not None}
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in written)
    if removed:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in removed)
    with tenant.harness.faults.out_of_the_way():
        tenant.harness.aws.clients["dynamodb"].update_item(
            TableName=tenant.harness.aws.settings.deliveries_table,
            Key=key,
            UpdateExpression=expression,
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues={f":{name}": value for name, value in written.items()},
        )


def starts(tenant: Tenant) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and the inputs of the executions that were started for the account."""
    return [
        (body["name"], json.loads(body["input"]))
        for operation, body in tenant.harness.faults.sent
        if operation == "StartExecution"
        and json.loads(body["input"])["account_id"] == tenant.account
    ]


def failed_once(tenant: Tenant, receiver: MakeReceiver, **values: Any) -> Receiver:
    """Fail a first attempt, and edit its delivery as the table then has it."""
    hook = receiver(Answer(500), Answer(204))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    edit(tenant, item_keys.delivery_key(tenant.delivery().key), **values)
    tenant.harness.faults.sent.clear()
    return hook


def test_row_67_what_express_lost_is_swept_and_sent_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = failed_once(tenant, receiver, short={"BOOL": True}, next_attempt_at=LONG_AGO)
    tenant.retry(SWEEP)
    [(_, state)] = starts(tenant)
    assert (state["generation"], state["seconds"]) == (1, 0)
    tenant.retry(state)
    tenant.retry({**state, "generation": 0})
    assert tenant.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    tenant.retry(SWEEP)
    assert len(starts(tenant)) == 1


def test_row_67_a_run_that_died_with_its_claim_is_swept_once_its_lease_is_over(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    def claim(until_ms: int) -> dict[str, Any]:
        return claim_value(Claim("dead", until_ms))

    lease_ms = int(time.time() * 1000) + 90_000
    failed_once(
        *(tenant, receiver),
        short={"BOOL": True},
        next_attempt_at=LONG_AGO,
        claim=claim(lease_ms),
    )
    tenant.retry(SWEEP)
    assert starts(tenant) == []
    edit(tenant, item_keys.delivery_key(tenant.delivery().key), claim=claim(lease_ms - 90_001))
    tenant.retry(SWEEP)
    assert len(starts(tenant)) == 1
    tenant.retry(starts(tenant)[0][1])
    assert tenant.delivery().status is Status.SUCCEEDED


def test_row_67_what_could_not_be_started_is_swept_as_soon_as_it_is_due(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    due_ms = int(time.time() * 1000) - 1
    hook = failed_once(
        tenant, receiver, unstarted={"BOOL": True}, next_attempt_at={"N": str(due_ms)}
    )
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    with pytest.raises(Exception, match="starting an execution"):
        tenant.retry(SWEEP)
    assert tenant.delivery().unstarted
    tenant.harness.faults.clear()
    tenant.retry(SWEEP)
    [(_, state)] = starts(tenant)
    assert state["seconds"] == 0
    assert state.get("generation", 0) == 0, "the same execution, should it have been started"
    assert not tenant.delivery().unstarted
    tenant.retry(state)
    assert tenant.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2


def erasure_key(tenant: Tenant, erasure_id: str) -> dict[str, Any]:
    return item_keys.job_key("erasure", tenant.account, erasure_id)


def erase(tenant: Tenant) -> Any:
    return tenant.acme.call("DELETE", f"/api/v1/recipients/{RECIPIENT}")


def erasure(tenant: Tenant, erasure_id: str) -> Any:
    return tenant.acme.call("GET", f"/api/v1/recipients/erasures/{erasure_id}").data


def test_row_71_a_job_that_an_outage_left_without_an_execution_is_started(tenant: Tenant) -> None:
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    tenant.harness.faults.on("PutItem", refused("ThrottlingException"), about="not_started")
    assert erase(tenant).status == 503
    [(job_id, _), *_] = starts(tenant)
    tenant.harness.faults.clear()
    assert erasure(tenant, job_id)["status"] == "running"
    edit(tenant, erasure_key(tenant, job_id), next_attempt_at=LONG_AGO)
    tenant.retry(SWEEP)
    [(name, state)] = starts(tenant)
    assert name == f"{job_id}-run1"
    assert (state["erasure_id"], state["run"]) == (job_id, 1)
    assert tenant.retry(state)["decision"] == "wait"
    tenant.retry(SWEEP)
    assert len(starts(tenant)) == 1, "it goes on"


def test_row_71_a_call_that_finds_its_job_running_sees_that_it_was_started(tenant: Tenant) -> None:
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    tenant.harness.faults.on("PutItem", refused("ThrottlingException"), about="not_started")
    assert erase(tenant).status == 503
    tenant.harness.faults.clear()
    again = erase(tenant)
    assert (again.status, again.data["status"]) == (202, "running")
    [(name, _)] = starts(tenant)
    assert name == again.data["id"]


def test_row_71_a_replay_in_the_way_of_another_is_seen_to(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    webhook = tenant.webhook(receiver())
    path, body = f"/api/v1/webhooks/{webhook.id}/replay", {"since": "2025-12-01T00:00:00Z"}
    tenant.harness.faults.on("StartExecution", refused("ThrottlingException"), about=tenant.account)
    tenant.harness.faults.on(
        "TransactWriteItems", refused("ThrottlingException"), about="not_started"
    )
    assert tenant.acme.call("POST", path, json=body).status == 503
    tenant.harness.faults.clear()
    assert tenant.acme.call("POST", path, json=body).status == 409
    [(_, state)] = starts(tenant)
    assert tenant.retry(state)["decision"] == "done"
    assert tenant.acme.call("POST", path, json=body).status == 202


def test_row_71_a_job_whose_execution_died_goes_on_under_another_name(tenant: Tenant) -> None:
    job_id = erase(tenant).data["id"]
    [(_, first)] = starts(tenant)
    edit(tenant, erasure_key(tenant, job_id), next_attempt_at=LONG_AGO)
    tenant.retry(SWEEP)
    [_, (name, second)] = starts(tenant)
    assert name == f"{job_id}-run1"
    assert tenant.retry(first)["decision"] == "done", "should it not have died"
    assert erasure(tenant, job_id)["status"] == "running"
    after = tenant.retry({**second, "steps": 99})
    assert (after["decision"], after["name"]) == ("continue", f"{job_id}-run1-100")
    assert after["input"]["run"] == 1


def test_row_71_a_job_that_is_restarted_in_vain_has_failed(tenant: Tenant) -> None:
    job_id = erase(tenant).data["id"]
    edit(tenant, erasure_key(tenant, job_id), next_attempt_at=LONG_AGO, restarts={"N": "6"})
    tenant.retry(SWEEP)
    found = erasure(tenant, job_id)
    assert (found["status"], found["reason"]) == ("failed", "internal_error")
    assert len(starts(tenant)) == 1


def test_row_72_the_end_of_a_waiting_deliverys_retention_is_notified_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    webhook = tenant.webhook(hook, active=False, disabled_reason="failing")
    assert tenant.dispatch(tenant.message()) == []
    waiting = tenant.delivery()
    assert waiting.status is Status.WAITING
    path = f"/api/v1/webhooks/{webhook.id}/deliveries/{waiting.id}"
    assert "next_attempt_at" not in tenant.acme.call("GET", path).data
    tenant.retry(SWEEP)
    assert tenant.announced("delivery.expiring") == []

    retention_days = tenant.harness.aws.settings.retention_days
    created_ms = int(time.time() * 1000) - (retention_days - 1) * DAY_MS - 1
    key = item_keys.delivery_key(waiting.key)
    edit(tenant, key, created_at={"N": str(created_ms)}, next_attempt_at=LONG_AGO)
    for _ in range(2):
        tenant.retry(SWEEP)
    [notice] = tenant.announced("delivery.expiring")
    assert notice["delivery_id"] == waiting.id
    assert notice["reason"] == waiting.reason
    assert tenant.delivery().status is Status.WAITING, (
        "it is sent if its webhook is enabled in time"
    )
    assert hook.requests == []
