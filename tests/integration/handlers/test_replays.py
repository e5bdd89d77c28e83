"""The worker's handler as the task of the job state machine, on real adapters."""

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
from webhooks.adapters.dynamodb.job_items import REPLAYS
from webhooks.adapters.dynamodb.jobs import DynamoDBJobStore
from webhooks.domain.delivery import Status, delivery_id
from webhooks.domain.errors import UnavailableError
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus, replay_id
from webhooks.domain.selection import Selection
from webhooks.wiring.worker import WorkerServices
from worker.jobs import STEPS_AN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.jobs.replay import ReplayKey

NOW_MS = int(time.time() * 1000)
"""The real time: the items of these handlers expire by the real clock."""

MISSED = 25
"""Two full batches of ten and one of five."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


def missed(aws: Backend, receiver: Receiver) -> Replay:
    """Register a webhook whose deliveries are exhausted, and a replay of them."""
    dynamodb = aws.clients["dynamodb"]
    webhook = samples.webhook(url=receiver.url)
    webhook_store(dynamodb).create(webhook, samples.SECRET, limit=50)
    deliveries = DynamoDBDeliveryStore(dynamodb, "DeliveriesTable", retention_days=30)
    for number in range(MISSED):
        occurred_at_ms = NOW_MS - number * 1000
        one = samples.delivery(
            id=delivery_id(f"evt_{number}", occurred_at_ms, webhook.id),
            event_id=f"evt_{number}",
            status=Status.EXHAUSTED,
            created_at_ms=occurred_at_ms,
            next_attempt_at_ms=None,
        )
        deliveries.create(one)
    replay = Replay(
        account_id="acc_1",
        webhook_id=webhook.id,
        id=replay_id(NOW_MS * 1_000_000, bytes(8)),
        selection=Selection(NOW_MS - 86_400_000, NOW_MS, NOT_ARRIVED),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    assert replays(aws).create(replay)
    return replay


def replays(aws: Backend) -> DynamoDBJobStore[Replay]:
    return DynamoDBJobStore(aws.clients["dynamodb"], "DeliveriesTable", REPLAYS, retention_days=30)


def state_of(key: ReplayKey, **more: Any) -> dict[str, Any]:
    return {"version": 1, "action": "replay", **key._asdict(), "seconds": 0, **more}


def call(aws: Backend, state: dict[str, Any], remaining_seconds: float = 45.0) -> dict[str, Any]:
    answer = worker.handler.handle(
        state, lambda_context(remaining_seconds), aws.services(WorkerServices)
    )
    return dict(json.loads(json.dumps(answer)))


def test_a_replay_is_carried_out_step_by_step(aws: Backend) -> None:
    with Receiver() as receiver:
        replay = missed(aws, receiver)
        state = call(aws, state_of(replay.key))
        assert state == state_of(replay.key, seconds=1, steps=1, decision="wait")
        assert len(receiver.requests) == 10
        state = call(aws, state)
        assert (state["decision"], state["steps"]) == ("wait", 2)
        state = call(aws, state)
        assert state["decision"] == "done"
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == MISSED
    assert {request.headers["x-sendcomms-attempt"] for request in receiver.requests} == {"2"}
    ended = replays(aws).get(replay.key)
    assert ended
    assert (ended.status, ended.sent, ended.succeeded) == (ReplayStatus.COMPLETED, 25, 25)


def test_what_a_step_costs(aws: Backend) -> None:
    with Receiver() as receiver:
        replay = missed(aws, receiver)
        aws.calls.clear()
        call(aws, state_of(replay.key))
    # The replay and the webhook, three statuses in the index, the deliveries in one batch; then a
    # write for each attempt, and one for the progress.
    assert aws.calls == {
        "GetItem": 2,
        "Query": 3,
        "BatchGetItem": 1,
        "UpdateItem": 10,
        "PutItem": 1,
    }


def test_an_execution_hands_over_after_so_many_steps(aws: Backend) -> None:
    with Receiver() as receiver:
        replay = missed(aws, receiver)
        state = call(aws, state_of(replay.key, steps=STEPS_AN_EXECUTION - 1))
    assert state["decision"] == "continue"
    assert state["name"] == f"{replay.id}-{STEPS_AN_EXECUTION}"
    assert state["input"] == state_of(replay.key, seconds=1, steps=STEPS_AN_EXECUTION)
    assert len(state["name"]) <= 80


def test_too_little_time_for_a_step_is_our_own_fault(aws: Backend) -> None:
    with Receiver() as receiver:
        replay = missed(aws, receiver)
        with pytest.raises(UnavailableError):
            call(aws, state_of(replay.key), remaining_seconds=5.0)
        assert receiver.requests == []


def test_a_receiver_that_answers_410_ends_its_replay(aws: Backend) -> None:
    with Receiver(Answer(410)) as receiver:
        replay = missed(aws, receiver)
        state = call(aws, state_of(replay.key))
        state = call(aws, state)
        assert state["decision"] == "done"
        assert len(receiver.requests) == 10
    ended = replays(aws).get(replay.key)
    assert ended
    assert (ended.status, ended.reason) == (ReplayStatus.FAILED, "webhook_disabled")


def test_what_the_state_machine_gives_up_has_failed_and_the_next_may_start(
    aws: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    with Receiver() as receiver:
        replay = missed(aws, receiver)
    error = {"Error": "KeyError", "Cause": "a secret"}
    state = state_of(replay.key, error=error)
    call(aws, {"version": 1, "action": "abandon", "state": state})
    ended = replays(aws).get(replay.key)
    assert ended
    assert (ended.status, ended.reason) == (ReplayStatus.FAILED, "internal_error")
    assert "a secret" not in capsys.readouterr().out
    again = Replay(
        **{
            **{name: getattr(replay, name) for name in ("account_id", "webhook_id", "selection")},
            "id": replay_id((NOW_MS + 1) * 1_000_000, bytes(8)),
            "created_at_ms": NOW_MS,
            "updated_at_ms": NOW_MS,
        }
    )
    assert replays(aws).create(again)


def test_a_state_of_an_unknown_version_is_no_decision_that_the_machine_knows(aws: Backend) -> None:
    state = {"version": 2, "action": "replay", "replay_id": "r"}
    assert call(aws, state) == {**state, "decision": "unknown_version"}
