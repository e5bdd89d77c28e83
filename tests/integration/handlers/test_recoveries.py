"""The worker's handler as the task that brings a webhook back, on real adapters."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import worker.handler
from support import samples
from support.backend import Backend, backend, lambda_context
from support.receiver import Answer, Receiver
from support.stores import webhook_store
from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
from webhooks.adapters.dynamodb.destinations import DynamoDBDestinationStore
from webhooks.adapters.dynamodb.health import DynamoDBHealthStore
from webhooks.domain.delivery import Delivery, Status, delivery_id
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Health, RecoveryKey
from webhooks.services.jobs.sweep import Swept
from webhooks.wiring.worker import WorkerServices
from worker.jobs import STEPS_AN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_MS = int(time.time() * 1000)
"""The real time: the items of these handlers expire by the real clock."""

KEY = RecoveryKey("acc_1", samples.WEBHOOK_ID, "019b4069-0000-4000-8000-0000000000aa")
STATE: dict[str, Any] = {"version": 1, "action": "recover", **KEY._asdict(), "seconds": 0}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def broken() -> Iterator[Receiver]:
    with Receiver(Answer(500)) as receiver:
        yield receiver


def go_down(aws: Backend, receiver: Receiver, waiting: int = 3) -> list[Delivery]:
    """Register a webhook that is down; returns the waiting deliveries, oldest first."""
    dynamodb = aws.clients["dynamodb"]
    webhook_store(dynamodb).create(samples.webhook(url=receiver.url), samples.SECRET, limit=50)
    health = DynamoDBHealthStore(dynamodb, "WebhooksTable")
    health.failed(*KEY[:2], FAILURES_TO_OPEN, NOW_MS)
    assert health.open(KEY, NOW_MS, NOW_MS) == KEY.recovery_id
    deliveries = DynamoDBDeliveryStore(dynamodb, "DeliveriesTable", retention_days=30)
    return [
        deliveries.create(
            samples.delivery(
                id=delivery_id(f"evt_{number}", NOW_MS + number, samples.WEBHOOK_ID),
                event_id=f"evt_{number}",
                status=Status.WAITING,
                attempts=(),
                created_at_ms=NOW_MS,
                next_attempt_at_ms=None,
                reason="webhook_down",
            )
        )
        for number in range(waiting)
    ]


def health(aws: Backend) -> Health:
    found = DynamoDBDestinationStore(aws.clients["dynamodb"], "WebhooksTable").destination(*KEY[:2])
    assert found is not None
    return found.webhook.health


def statuses(aws: Backend, deliveries: list[Delivery]) -> list[Status]:
    dynamodb = aws.clients["dynamodb"]
    store = DynamoDBDeliveryStore(dynamodb, "DeliveriesTable", retention_days=30)
    found = store.get_many([delivery.key for delivery in deliveries])
    return [one.status for one in (found[each.key] for each in deliveries) if one is not None]


def step(aws: Backend, state: dict[str, Any]) -> dict[str, Any]:
    services = aws.services(WorkerServices)
    after = worker.handler.handle(json.loads(json.dumps(state)), lambda_context(45), services)
    return dict(json.loads(json.dumps(after)))


def test_a_probe_that_fails_says_which_is_next_and_when(aws: Backend, broken: Receiver) -> None:
    oldest, second, _ = go_down(aws, broken)

    after = step(aws, STATE)

    assert after.items() >= {"version": 1, "action": "recover", **KEY._asdict()}.items()
    assert (after["decision"], after["steps"], after["probe"]) == ("wait", 1, 2)
    assert after["after"] == oldest.id
    assert 60 <= after["seconds"] <= 67

    assert step(aws, after)["after"] == second.id
    assert [request.headers["x-sendcomms-delivery"] for request in broken.requests] == [
        oldest.id,
        second.id,
    ]
    assert health(aws).recovery_due_at_ms > NOW_MS + 60_000


def test_a_webhook_is_brought_back(aws: Backend, receiver: Receiver) -> None:
    deliveries = go_down(aws, receiver)

    after = step(aws, STATE)
    assert (after["decision"], after["seconds"], after["probe"]) == ("wait", 1, 0)
    assert health(aws).circuit is Circuit.DRAINING
    assert statuses(aws, deliveries) == [Status.SUCCEEDED, Status.WAITING, Status.WAITING]

    after = step(aws, after)
    assert after["seconds"] == 1
    assert statuses(aws, deliveries) == [Status.SUCCEEDED] * 3
    assert len(receiver.requests) == 3

    after = step(aws, after)
    assert (after["decision"], after["steps"]) == ("wait", 3)
    assert 60 < after["seconds"] <= 90
    assert aws.calls["PutEvents"] == 1


def test_how_far_draining_has_come_is_part_of_the_state(aws: Backend, receiver: Receiver) -> None:
    _, second, third = deliveries = go_down(aws, receiver)
    after = step(aws, step(aws, STATE) | {"past": second.id})
    assert (after["seconds"], after["past"]) == (1, second.id)
    assert [request.headers["x-sendcomms-delivery"] for request in receiver.requests][1:] == [
        third.id
    ]
    after = step(aws, after)
    assert "past" not in after
    step(aws, after)
    assert statuses(aws, deliveries) == [Status.SUCCEEDED] * 3


def test_the_pace_of_a_receiver_with_a_limit_is_part_of_the_state(
    aws: Backend, receiver: Receiver
) -> None:
    """And of no other receiver's: an execution of the former release has no rate either."""
    deliveries = go_down(aws, receiver, waiting=5)
    after = step(aws, STATE)
    assert "pace" not in after
    receiver.answer_with(Answer(429))
    after = step(aws, after | {"pace": 2})
    assert (after["pace"], after["seconds"], after["probe"]) == (1, 1, 0)
    receiver.answer_with(Answer(200))
    after = step(aws, after)
    assert (after["pace"], after["seconds"]) == (1.1, 1)
    assert statuses(aws, deliveries) == [
        *[Status.SUCCEEDED, Status.RETRYING, Status.RETRYING],
        *[Status.SUCCEEDED, Status.WAITING],
    ]


def test_a_recovery_whose_place_was_taken_is_done(aws: Backend, receiver: Receiver) -> None:
    go_down(aws, receiver)
    assert step(aws, STATE | {"recovery_id": "another"})["decision"] == "done"
    assert receiver.requests == []


def test_an_execution_hands_its_probe_over_after_so_many_steps(
    aws: Backend, broken: Receiver
) -> None:
    oldest, *_ = go_down(aws, broken)
    after = step(aws, STATE | {"steps": STEPS_AN_EXECUTION - 1, "probe": 7})
    assert (after["decision"], after["name"]) == ("continue", f"{KEY.recovery_id}-100")
    following = after["input"]
    assert following.items() >= {"action": "recover", **KEY._asdict(), "probe": 8}.items()
    assert (following["after"], following["steps"]) == (oldest.id, STEPS_AN_EXECUTION)
    # The next execution makes as many steps of its own.
    assert step(aws, following)["decision"] == "wait"


def test_a_recovery_that_is_abandoned_is_overdue_before_long_and_begun_anew(
    aws: Backend, receiver: Receiver
) -> None:
    go_down(aws, receiver)
    dynamodb = aws.clients["dynamodb"]
    DynamoDBHealthStore(dynamodb, "WebhooksTable").keep(KEY, NOW_MS - 700_000)
    state = {"version": 1, "action": "abandon", "state": STATE | {"error": {"Error": "KeyError"}}}
    assert step(aws, state)["recovery_id"] == KEY.recovery_id

    assert step(aws, {"version": 1, "action": "sweep"}) == Swept(overdue_recoveries=1)._asdict()

    began = health(aws).recovery_id
    assert began != KEY.recovery_id
    machine = aws.settings.job_state_machine_arn
    [execution] = aws.clients["stepfunctions"].list_executions(stateMachineArn=machine)[
        "executions"
    ]
    assert execution["name"] == began
