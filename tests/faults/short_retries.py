"""Short retries of a fault's tenant: their executions' inputs, and the worker called with them."""

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
    from faults.fault_harness import Tenant
    from support.backend import Made

SCHEDULE = (5.0, 5.0, 300.0)


def services(tenant: Tenant, kind: type[Made], *, late_seconds: float = 0.0) -> Made:
    """Return the services of a process whose delays up to a minute are short."""
    made = tenant.harness.fresh(kind, short_delay_seconds=60.0, retry_schedule=SCHEDULE)
    made._clock = lambda: time.time() + late_seconds
    return made


def fail_once(tenant: Tenant) -> dict[str, Any]:
    """Fail a first attempt; returns the input of its short execution."""
    assert tenant.dispatch(tenant.message(), services=services(tenant, DispatcherServices)) == []
    [state] = tenant.short_executions()
    return state


def run(tenant: Tenant, state: dict[str, Any], *, late_seconds: float = 0.0) -> Any:
    """Let the worker make the attempt of a short execution, in its own invocation."""
    return tenant.retry(
        {"action": Action.SHORT_ATTEMPT, "state": state},
        services(tenant, WorkerServices, late_seconds=late_seconds),
    )


def claimed_by_another(
    tenant: Tenant, count: int = 1, lease_seconds: float = LEASE_SECONDS
) -> None:
    """Let an invocation that died hold the claim of the only delivery's next attempt."""
    until_ms = int((time.time() + lease_seconds) * 1000)
    tenant.harness.aws.clients["dynamodb"].update_item(
        TableName=tenant.harness.aws.settings.deliveries_table,
        Key=item_keys.delivery_key(tenant.delivery().key),
        UpdateExpression="SET claim = :claim",
        ExpressionAttributeValues={":claim": claim_value(Claim("dead", until_ms, count))},
    )


def after_another_claim(tenant: Tenant, status: int) -> Answer:
    claimed_by_another(tenant)
    return Answer(status)


def operations(tenant: Tenant) -> list[str]:
    return [
        operation
        for operation, body in tenant.harness.faults.sent
        if operation in {"PutItem", "UpdateItem", "StartExecution"}
        and tenant.account in str(body)
        and "failing_since" not in str(body)
    ]
