"""Short retries of a fault's case: their executions' inputs, and the worker called with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from support.receiver import Answer
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.delivery_items import claim_value
from webhooks.domain.delivery import Claim
from webhooks.domain.jobs import Action
from webhooks.services.retrier import LEASE_SECONDS
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from support.backend import Made
    from support.fault_harness import Case

SCHEDULE = (5.0, 5.0, 300.0)


def services(case: Case, kind: type[Made], *, late_seconds: float = 0.0) -> Made:
    """Return the services of a process whose delays up to a minute are short."""
    made = case.stand.fresh(kind, short_delay_seconds=60.0, retry_schedule=SCHEDULE)
    made._clock = lambda: time.time() + late_seconds
    return made


def fail_once(case: Case) -> dict[str, Any]:
    """Fail a first attempt; returns the input of its short execution."""
    assert case.dispatch(case.message(), services=services(case, DispatcherServices)) == []
    [state] = case.short_executions()
    return state


def run(case: Case, state: dict[str, Any], *, late_seconds: float = 0.0) -> Any:
    """Let the worker make the attempt of a short execution, in its own invocation."""
    return case.retry(
        {"action": Action.SHORT_ATTEMPT, "state": state},
        services(case, WorkerServices, late_seconds=late_seconds),
    )


def claimed_by_another(case: Case, count: int = 1, lease_seconds: float = LEASE_SECONDS) -> None:
    """Let an invocation that died hold the claim of the only delivery's next attempt."""
    until_ms = int((time.time() + lease_seconds) * 1000)
    case.stand.aws.clients["dynamodb"].update_item(
        TableName=case.stand.aws.settings.deliveries_table,
        Key=item_keys.delivery_key(case.delivery().key),
        UpdateExpression="SET claim = :claim",
        ExpressionAttributeValues={":claim": claim_value(Claim("dead", until_ms, count))},
    )


def after_another_claim(case: Case, status: int) -> Answer:
    claimed_by_another(case)
    return Answer(status)


def operations(case: Case) -> list[str]:
    return [
        operation
        for operation, body in case.stand.faults.sent
        if operation in {"PutItem", "UpdateItem", "StartExecution"}
        and case.account in str(body)
        and "failing_since" not in str(body)
    ]
