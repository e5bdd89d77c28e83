"""Rows 54 and 55: clocks that differ or leap, and a late time to live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from faults.fault_harness import one_event
from support.receiver import Answer
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.domain.delivery import Status
from webhooks.domain.health import SETTLE_SECONDS
from webhooks.domain.timestamps import to_text
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import FaultHarness, Tenant
    from support.backend import Made
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

TEN_MINUTES = 600.0


def with_clock(harness: FaultHarness, kind: type[Made], clock: Callable[[], float]) -> Made:
    """Return a function's services on another clock, the stores' own included."""
    made = harness.fresh(kind)
    made._deliveries = DynamoDBDeliveryStore(
        made._dynamodb,
        made.settings.deliveries_table,
        retention_days=made.settings.retention_days,
        clock=clock,
    )
    made._clock = clock
    return made


def off_by(seconds: float) -> Callable[[], float]:
    return lambda: time.time() + seconds


@pytest.mark.parametrize("first", [TEN_MINUTES, -TEN_MINUTES])
def test_row_54_the_order_of_attempts_is_that_of_their_numbers(
    tenant: Tenant, receiver: MakeReceiver, first: float
) -> None:
    hook = receiver(Answer(500), Answer(500), Answer(200))
    tenant.webhook(hook)
    dispatcher = with_clock(tenant.harness, DispatcherServices, off_by(first))
    worker_services = with_clock(tenant.harness, WorkerServices, off_by(-first))
    assert tenant.dispatch(tenant.message(), services=dispatcher) == []
    [state] = tenant.executions()
    # From the record on, so that a slow machine has used some of it up.
    assert 0 <= state["seconds"] <= 6
    # A record made under one clock has not expired under the other.
    state = tenant.retry(state, services=worker_services)
    assert state["attempt"] == 3
    assert 270 <= state["seconds"] <= 331
    assert tenant.retry(state, services=worker_services)["decision"] == "done"
    delivery = tenant.delivery()
    assert delivery.status is Status.SUCCEEDED
    assert [attempt.number for attempt in delivery.attempts] == [1, 2, 3]
    assert (delivery.attempts[0].started_at_ms > delivery.attempts[1].started_at_ms) == (first > 0)
    assert one_event(*hook.requests)


@pytest.mark.parametrize(("recorded", "scheduled"), [(600.0, -600.0), (-600.0, 600.0)])
def test_row_54_a_schedule_started_under_another_clock_begins_within_their_difference(
    tenant: Tenant, receiver: MakeReceiver, recorded: float, scheduled: float
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    tenant.harness.faults.on("StartExecution", lambda *_: 1 / 0, about=tenant.account, times=1)
    first = with_clock(tenant.harness, DispatcherServices, off_by(recorded))
    second = with_clock(tenant.harness, DispatcherServices, off_by(scheduled))
    assert tenant.dispatch(tenant.message(), services=first) == ["m0"]
    assert tenant.dispatch(tenant.message(), services=second) == []
    [state] = tenant.executions()
    assert 0 <= state["seconds"] <= 6 + 2 * TEN_MINUTES
    assert len(hook.requests) == 1


@pytest.mark.parametrize("leap", [3600.0, -3600.0])
def test_row_54_a_leap_in_time_makes_no_delay_negative(
    tenant: Tenant, receiver: MakeReceiver, leap: float
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)

    def clock() -> float:
        return time.time() + (leap if hook.requests else 0.0)

    leaping = with_clock(tenant.harness, DispatcherServices, clock)
    assert tenant.dispatch(tenant.message(), services=leaping) == []
    [state] = tenant.executions()
    assert 0 <= state["seconds"] <= 6


@pytest.mark.parametrize("apart", [TEN_MINUTES, -TEN_MINUTES])
def test_row_54_a_recovery_waits_for_slow_dispatchers_whatever_their_clocks(
    tenant: Tenant, receiver: MakeReceiver, apart: float
) -> None:
    """A function on another clock recorded the start of the draining; a third defers late."""
    hook = receiver()
    webhook = tenant.webhook(hook, active=False)
    path = f"/api/v1/webhooks/{webhook.id}"
    assert tenant.acme.call("PATCH", path, json={"active": True}).status == 200
    [state] = tenant.recoveries()
    # No delivery waits that could be its probe.
    state = tenant.retry(state)
    since_ms = int((time.time() + apart) * 1000)
    tenant.health(draining_since={"N": str(since_ms)})
    state = tenant.retry(state)
    assert (state["decision"], state["seconds"]) == ("wait", SETTLE_SECONDS)

    tenant.health(active={"BOOL": False})
    assert tenant.dispatch(tenant.message()) == []
    tenant.health(active={"BOOL": True})
    assert tenant.delivery().status is Status.WAITING
    state = tenant.retry(state)
    assert tenant.delivery().status is Status.SUCCEEDED
    assert tenant.retry(state)["decision"] == "done"
    assert len(hook.requests) == 1


def test_row_54_the_timestamp_is_that_of_the_attempt(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    """Receivers allow five minutes; a retry days later must carry its own time, not the event's."""
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    assert tenant.retry()["decision"] == "done"
    for request in hook.requests:
        assert abs(int(request.headers["webhook-timestamp"]) - request.received_at) < 60


def test_row_54_the_timestamp_of_a_late_attempt_is_late_too(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500), Answer(200))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    later = with_clock(tenant.harness, WorkerServices, off_by(7200.0))
    assert tenant.retry(services=later)["decision"] == "done"
    first, second = (int(request.headers["webhook-timestamp"]) for request in hook.requests)
    assert second - first >= 7000


def test_row_54_a_step_that_comes_again_late_waits_no_negative_time(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    [state] = tenant.executions()
    after = tenant.retry(state)
    assert (after["decision"], after["attempt"]) == ("wait", 3)
    later = with_clock(tenant.harness, WorkerServices, off_by(3600.0))
    again = tenant.retry(state, services=later)
    assert (again["decision"], again["attempt"], again["seconds"]) == ("wait", 3, 0)
    assert len(hook.requests) == 2


def expire(tenant: Tenant) -> None:
    """Put the delivery past its time to live, and leave it in the table, which DynamoDB may do."""
    tenant.harness.aws.clients["dynamodb"].update_item(
        TableName="DeliveriesTable",
        Key=item_keys.delivery_key(tenant.delivery().key),
        UpdateExpression="SET expires_at = :past",
        ExpressionAttributeValues={":past": {"N": str(int(time.time()) - 3 * 86_400)}},
    )


def test_row_55_an_expired_delivery_is_not_shown(tenant: Tenant, receiver: MakeReceiver) -> None:
    webhook = tenant.webhook(receiver())
    assert tenant.dispatch(tenant.message()) == []
    path = f"/api/v1/webhooks/{webhook.id}/deliveries"
    assert len(tenant.acme.call("GET", path).data) == 1
    expire(tenant)
    assert tenant.acme.call("GET", path).data == []
    answer = tenant.acme.call("GET", f"{path}/{tenant.delivery().id}")
    assert answer.error["code"] == "delivery_not_found"


def test_row_55_an_expired_delivery_ends_its_execution(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver(Answer(500))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    expire(tenant)
    assert tenant.retry()["decision"] == "done"
    assert len(hook.requests) == 1


@pytest.mark.parametrize("status", ["succeeded", "retrying", None])
def test_row_55_an_expired_delivery_is_not_replayed(
    tenant: Tenant, receiver: MakeReceiver, status: str | None
) -> None:
    """An item that the table still holds is found by its status, and by its time alone."""
    hook = receiver(Answer(200 if status == "succeeded" else 500))
    path = f"/api/v1/webhooks/{tenant.webhook(hook).id}"
    now = int(time.time() * 1000)
    assert tenant.dispatch(tenant.message(timestamp=to_text(now)), sent_at_ms=now) == []
    assert len(hook.requests) == 1
    expire(tenant)
    since = to_text(now - 3_600_000)
    request = {"since": since} | ({"status": status} if status else {})
    started = tenant.acme.call("POST", f"{path}/replay", json=request)
    assert started.status == 202
    [state] = tenant.recoveries()
    assert tenant.retry(state)["decision"] == "done"
    replay = tenant.acme.call("GET", f"{path}/replays/{started.data['id']}").data
    assert (replay["status"], replay["sent"]) == ("completed", 0)
    assert len(hook.requests) == 1
    assert len(tenant.delivery().attempts) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_row_55_an_event_published_again_after_its_delivery_expired_is_new(
    tenant: Tenant, receiver: MakeReceiver, status: int
) -> None:
    hook = receiver(Answer(500), Answer(status))
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()) == []
    first = tenant.delivery()
    expire(tenant)
    assert tenant.dispatch(tenant.message()) == []
    again = tenant.delivery()
    assert again.id == first.id
    assert len(again.attempts) == 1
    assert again.created_at_ms > first.created_at_ms
    assert len(hook.requests) == 2
    assert len(tenant.executions()) == (1 if status == 200 else 2)
