"""Rows 67, 71 and 72: the sweep finds, every minute, the work that no process is doing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.fault_harness import one_event
from support.faults import refused
from support.log_capture import RECIPIENT
from support.receiver import Answer
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.delivery_items import claim_value
from webhooks.domain.delivery import Claim, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fault_harness import Case
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

SWEEP = {"version": 1, "action": "sweep"}
LONG_AGO = {"N": "1"}
DAY_MS = 86_400_000


def edit(case: Case, key: dict[str, Any], **values: Any) -> None:
    """Write attributes of an item of the deliveries' table; None removes an attribute."""
    removed = [name for name, value in values.items() if value is None]
    written = {name: value for name, value in values.items() if value is not None}
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in written)
    if removed:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in removed)
    with case.stand.faults.out_of_the_way():
        case.stand.aws.clients["dynamodb"].update_item(
            TableName=case.stand.aws.settings.deliveries_table,
            Key=key,
            UpdateExpression=expression,
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues={f":{name}": value for name, value in written.items()},
        )


def starts(case: Case) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and the inputs of the executions that were started for the account."""
    return [
        (body["name"], json.loads(body["input"]))
        for operation, body in case.stand.faults.sent
        if operation == "StartExecution" and json.loads(body["input"])["account_id"] == case.account
    ]


def failed_once(case: Case, receiver: MakeReceiver, **values: Any) -> Receiver:
    """Fail a first attempt, and edit its delivery as the table then has it."""
    hook = receiver(Answer(500), Answer(204))
    case.webhook(hook)
    assert case.dispatch(case.message()) == []
    edit(case, item_keys.delivery_key(case.delivery().key), **values)
    case.stand.faults.sent.clear()
    return hook


def test_row_67_what_express_lost_is_swept_and_sent_once(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = failed_once(case, receiver, short={"BOOL": True}, next_attempt_at=LONG_AGO)
    case.retry(SWEEP)
    [(_, state)] = starts(case)
    assert (state["generation"], state["seconds"]) == (1, 0)
    case.retry(state)
    case.retry({**state, "generation": 0})
    assert case.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2
    assert one_event(*hook.requests)
    case.retry(SWEEP)
    assert len(starts(case)) == 1


def test_row_67_a_run_that_died_with_its_claim_is_swept_once_its_lease_is_over(
    case: Case, receiver: MakeReceiver
) -> None:
    def claim(until_ms: int) -> dict[str, Any]:
        return claim_value(Claim("dead", until_ms))

    lease_ms = int(time.time() * 1000) + 90_000
    failed_once(
        *(case, receiver),
        short={"BOOL": True},
        next_attempt_at=LONG_AGO,
        claim=claim(lease_ms),
    )
    case.retry(SWEEP)
    assert starts(case) == []
    edit(case, item_keys.delivery_key(case.delivery().key), claim=claim(lease_ms - 90_001))
    case.retry(SWEEP)
    assert len(starts(case)) == 1
    case.retry(starts(case)[0][1])
    assert case.delivery().status is Status.SUCCEEDED


def test_row_67_what_could_not_be_started_is_swept_as_soon_as_it_is_due(
    case: Case, receiver: MakeReceiver
) -> None:
    due_ms = int(time.time() * 1000) - 1
    hook = failed_once(case, receiver, unstarted={"BOOL": True}, next_attempt_at={"N": str(due_ms)})
    case.stand.faults.on("StartExecution", refused("ThrottlingException"), about=case.account)
    with pytest.raises(Exception, match="starting an execution"):
        case.retry(SWEEP)
    assert case.delivery().unstarted
    case.stand.faults.clear()
    case.retry(SWEEP)
    [(_, state)] = starts(case)
    assert state["seconds"] == 0
    assert state.get("generation", 0) == 0, "the same execution, should it have been started"
    assert not case.delivery().unstarted
    case.retry(state)
    assert case.delivery().status is Status.SUCCEEDED
    assert len(hook.requests) == 2


def erasure_key(case: Case, erasure_id: str) -> dict[str, Any]:
    return item_keys.job_key("erasure", case.account, erasure_id)


def erase(case: Case) -> Any:
    return case.acme.call("DELETE", f"/api/v1/recipients/{RECIPIENT}")


def erasure(case: Case, erasure_id: str) -> Any:
    return case.acme.call("GET", f"/api/v1/recipients/erasures/{erasure_id}").data


def test_row_71_a_job_that_an_outage_left_without_an_execution_is_started(case: Case) -> None:
    case.stand.faults.on("StartExecution", refused("ThrottlingException"), about=case.account)
    case.stand.faults.on("PutItem", refused("ThrottlingException"), about="not_started")
    assert erase(case).status == 503
    [(job_id, _), *_] = starts(case)
    case.stand.faults.clear()
    assert erasure(case, job_id)["status"] == "running"
    edit(case, erasure_key(case, job_id), next_attempt_at=LONG_AGO)
    case.retry(SWEEP)
    [(name, state)] = starts(case)
    assert name == f"{job_id}-run1"
    assert (state["erasure_id"], state["run"]) == (job_id, 1)
    assert case.retry(state)["decision"] == "wait"
    case.retry(SWEEP)
    assert len(starts(case)) == 1, "it goes on"


def test_row_71_a_call_that_finds_its_job_running_sees_that_it_was_started(case: Case) -> None:
    case.stand.faults.on("StartExecution", refused("ThrottlingException"), about=case.account)
    case.stand.faults.on("PutItem", refused("ThrottlingException"), about="not_started")
    assert erase(case).status == 503
    case.stand.faults.clear()
    again = erase(case)
    assert (again.status, again.data["status"]) == (202, "running")
    [(name, _)] = starts(case)
    assert name == again.data["id"]


def test_row_71_a_replay_in_the_way_of_another_is_seen_to(
    case: Case, receiver: MakeReceiver
) -> None:
    webhook = case.webhook(receiver())
    path, body = f"/api/v1/webhooks/{webhook.id}/replay", {"since": "2025-12-01T00:00:00Z"}
    case.stand.faults.on("StartExecution", refused("ThrottlingException"), about=case.account)
    case.stand.faults.on("TransactWriteItems", refused("ThrottlingException"), about="not_started")
    assert case.acme.call("POST", path, json=body).status == 503
    case.stand.faults.clear()
    assert case.acme.call("POST", path, json=body).status == 409
    [(_, state)] = starts(case)
    assert case.retry(state)["decision"] == "done"
    assert case.acme.call("POST", path, json=body).status == 202


def test_row_71_a_job_whose_execution_died_goes_on_under_another_name(case: Case) -> None:
    job_id = erase(case).data["id"]
    [(_, first)] = starts(case)
    edit(case, erasure_key(case, job_id), next_attempt_at=LONG_AGO)
    case.retry(SWEEP)
    [_, (name, second)] = starts(case)
    assert name == f"{job_id}-run1"
    assert case.retry(first)["decision"] == "done", "should it not have died"
    assert erasure(case, job_id)["status"] == "running"
    after = case.retry({**second, "steps": 99})
    assert (after["decision"], after["name"]) == ("continue", f"{job_id}-run1-100")
    assert after["input"]["run"] == 1


def test_row_71_a_job_that_is_restarted_in_vain_has_failed(case: Case) -> None:
    job_id = erase(case).data["id"]
    edit(case, erasure_key(case, job_id), next_attempt_at=LONG_AGO, restarts={"N": "6"})
    case.retry(SWEEP)
    found = erasure(case, job_id)
    assert (found["status"], found["reason"]) == ("failed", "internal_error")
    assert len(starts(case)) == 1


def test_row_72_the_end_of_a_waiting_deliverys_retention_is_notified_once(
    case: Case, receiver: MakeReceiver
) -> None:
    hook = receiver()
    webhook = case.webhook(hook, active=False, disabled_reason="failing")
    assert case.dispatch(case.message()) == []
    waiting = case.delivery()
    assert waiting.status is Status.WAITING
    path = f"/api/v1/webhooks/{webhook.id}/deliveries/{waiting.id}"
    assert "next_attempt_at" not in case.acme.call("GET", path).data
    case.retry(SWEEP)
    assert case.announced("delivery.expiring") == []

    retention_days = case.stand.aws.settings.retention_days
    created_ms = int(time.time() * 1000) - (retention_days - 1) * DAY_MS - 1
    key = item_keys.delivery_key(waiting.key)
    edit(case, key, created_at={"N": str(created_ms)}, next_attempt_at=LONG_AGO)
    for _ in range(2):
        case.retry(SWEEP)
    [notice] = case.announced("delivery.expiring")
    assert notice["delivery_id"] == waiting.id
    assert notice["reason"] == waiting.reason
    assert case.delivery().status is Status.WAITING, "it is sent if its webhook is enabled in time"
    assert hook.requests == []
