"""Executions of the former release, run to their ends by this release.

That release called the worker `RetrierFunction`, its jobs' state machine `RecoveryStateMachine` and
the error that is tried again for hours `Unavailable`. Its stored items are read too.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import retrier.handler
import worker.handler
from integration.state_machines.former_executions import (
    DEFINITIONS,
    NOW_MS,
    FormerExecutionFixture,
    former,
    rendered,
)
from local import resources, template
from local.aws import aws_client, aws_server, invoking
from local.servers import listen
from support import samples
from support.faults import Faults
from support.receiver import Answer, Receiver
from support.state_machines import hurried
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.delivery_items import delivery_item, read_delivery
from webhooks.adapters.dynamodb.job_items import CHECKS
from webhooks.adapters.dynamodb.jobs import DynamoDBJobStore
from webhooks.domain.delivery import FailureReason, Outcome, Status
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, RecoveryKey
from webhooks.domain.jobs.check import Check, CheckRequest, CheckStatus, check_id
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus, digest, erasure_id
from webhooks.domain.jobs.replay import NOT_ARRIVED, Replay, ReplayStatus, replay_id
from webhooks.domain.selection import Selection
from webhooks.domain.signing import sendcomms_signature
from webhooks.services.jobs import recovery as recoveries
from webhooks.wiring import jobs as wired_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.receiver import Request

RECIPIENT = "anna@example.com"
SALT = bytes(range(32))


@pytest.fixture(scope="module")
def executions() -> Iterator[FormerExecutionFixture]:
    faults = Faults()
    translated = template.load(parameters={"FormerNames": "true"})
    for machine, name in DEFINITIONS.items():
        owned = translated["Resources"][machine]["Properties"]
        owned["DefinitionString"] = json.dumps(former(name))
        owned["DefinitionSubstitutions"] = {
            "RetrierFunctionArn": {"Fn::GetAtt": ["RetrierFunction", "Arn"]},
            "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
        }
        hurried(translated, machine)
    with (
        pytest.MonkeyPatch.context() as patch,
        aws_server([listen("127.0.0.1", 0, "AWS_PORT")]) as endpoint,
    ):
        patch.setattr(recoveries, "SETTLE_SECONDS", 1.0)
        patch.setattr(wired_jobs, "SETTLE_SECONDS", 1.0)
        made = FormerExecutionFixture(endpoint, resources.create(translated, endpoint), faults)
        functions = [
            made.function("RetrierFunction", retrier.handler.handle),
            made.function("WorkerFunction", worker.handler.handle),
        ]
        with invoking(functions), faults.installed():
            yield made


@pytest.fixture(autouse=True)
def faultless(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "executions" in request.fixturenames:
        request.getfixturevalue("executions").faults.clear()


def test_a_schedule_of_retries_comes_to_its_end(executions: FormerExecutionFixture) -> None:
    with Receiver(Answer(500), Answer(500), Answer(200)) as receiver:
        executions.webhook("acc_retry", receiver)
        delivery = executions.delivery("acc_retry")
        ids = delivery.key._asdict()
        execution = executions.start(
            "RetryStateMachine",
            {"version": 1, **ids, "generation": 0, "attempt": 2, "decision": "wait", "seconds": 0},
        )
        ran = executions.ran("RetryStateMachine", execution)
    assert ran.status == "SUCCEEDED"
    assert ran.errors == ["Unavailable"]
    assert ran.walk.count("Attempt: retry 1") == 1, "the rule that tries for hours"
    assert ran.walk.count("Decide: wait -> Wait") == 2
    assert [request.headers["x-sendcomms-attempt"] for request in receiver.requests] == [
        *("2", "3", "4")
    ]
    assert executions.now(delivery).status is Status.SUCCEEDED
    assert executions.called == {"RetrierFunction": 4}


def test_a_schedule_that_is_exhausted_leaves_a_dead_letter(
    executions: FormerExecutionFixture,
) -> None:
    with Receiver(*[Answer(500)] * 3) as receiver:
        executions.webhook("acc_dead", receiver)
        delivery = executions.delivery("acc_dead")
        ids = delivery.key._asdict()
        execution = executions.start(
            "RetryStateMachine", {"version": 1, **ids, "attempt": 2, "seconds": 0}
        )
        ran = executions.ran("RetryStateMachine", execution)
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert ran.walk[-2:] == ["Decide: dead_letter -> DeadLetter", "DeadLetter -> Done"]
    queue = aws_client("sqs", executions.endpoint)
    [message] = queue.receive_message(QueueUrl=executions.made.queues["DeadLetterQueue"])[
        "Messages"
    ]
    assert json.loads(message["Body"]).items() >= {"type": "delivery.exhausted", **ids}.items()


def test_a_recovery_brings_its_webhook_back(executions: FormerExecutionFixture) -> None:
    key = RecoveryKey("acc_recovery", samples.WEBHOOK_ID, "0f8fad5b-d9cb-469f-a165-70867728950e")
    with Receiver() as receiver:
        executions.webhook("acc_recovery", receiver)
        health = executions.services._health_store
        health.failed(*key[:2], FAILURES_TO_OPEN, NOW_MS)
        assert health.open(key, NOW_MS, NOW_MS) == key.recovery_id
        waiting = [
            executions.delivery(
                "acc_recovery",
                number,
                status=Status.WAITING,
                attempts=(),
                next_attempt_at_ms=None,
                reason="webhook_down",
            )
            for number in range(4)
        ]
        ran = executions.ran(
            "RecoveryStateMachine",
            executions.start(
                "RecoveryStateMachine",
                {
                    "version": 1,
                    "action": "recover",
                    **key._asdict(),
                    "steps": 7,
                    "probe": 3,
                    "after": waiting[-1].id,
                    "pace": 2.5,
                    "seconds": 0,
                    "decision": "wait",
                },
            ),
        )
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert ran.walk.count("Step: retry 1") == 1
    assert [executions.now(each).status for each in waiting] == [Status.SUCCEEDED] * 4
    found = executions.services._destinations.destination(*key[:2])
    assert found is not None
    assert found.webhook.health.circuit is Circuit.CLOSED
    assert set(executions.called) == {"RetrierFunction"}


def test_a_replay_goes_on_in_a_new_execution_of_the_new_definition(
    executions: FormerExecutionFixture,
) -> None:
    replay = Replay(
        account_id="acc_replay",
        webhook_id=samples.WEBHOOK_ID,
        id=replay_id(NOW_MS * 1_000_000, bytes(8)),
        selection=Selection(NOW_MS - 86_400_000, NOW_MS, NOT_ARRIVED),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    with Receiver() as receiver:
        executions.webhook("acc_replay", receiver)
        for number in range(12):
            executions.delivery(
                "acc_replay", number, status=Status.EXHAUSTED, next_attempt_at_ms=None
            )
        assert executions.job_stores.replays.create(replay)
        state = {"version": 1, "action": "replay", **replay.key._asdict(), "steps": 99}
        execution = executions.start(
            "RecoveryStateMachine", {**state, "seconds": 2, "decision": "wait"}
        )
        with updated(executions):
            ran = executions.ran("RecoveryStateMachine", execution)
            assert executions.called["RetrierFunction"] == 2
            machine = executions.machine("RecoveryStateMachine")
            assert machine.ended(machine.named(f"{replay.id}-100"))[0] == "SUCCEEDED"
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert "Continue -> Done" in ran.walk
    assert executions.called == {"RetrierFunction": 2, "WorkerFunction": 1}
    assert len(receiver.requests) == 12
    ended = executions.job_stores.replays.get(replay.key)
    assert ended is not None
    assert (ended.status, ended.succeeded) == (ReplayStatus.COMPLETED, 12)


@contextmanager
def updated(executions: FormerExecutionFixture) -> Iterator[None]:
    """Give the former state machine its definition of this version, the update's act."""
    arn = executions.made.state_machines["RecoveryStateMachine"]
    before = executions.states.describe_state_machine(stateMachineArn=arn)["definition"]
    machine = rendered("true")["Resources"]["RecoveryStateMachine"]
    function = executions.function("WorkerFunction", worker.handler.handle).arn
    start = "arn:aws:states:::states:startExecution"
    after = template.definition(
        machine, {"WorkerFunctionArn": function, "StartExecutionArn": start}
    )
    executions.states.update_state_machine(stateMachineArn=arn, definition=after)
    yield
    executions.states.update_state_machine(stateMachineArn=arn, definition=before)


def test_an_erasure_erases(executions: FormerExecutionFixture) -> None:
    body = json.dumps({"event": "email.sent", "data": {"to": RECIPIENT}}).encode()
    erasure = Erasure(
        account_id="acc_erasure",
        id=erasure_id(NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        salt=SALT,
        digest=digest(SALT, RECIPIENT),
    )
    with Receiver() as receiver:
        executions.webhook("acc_erasure", receiver)
    delivery = executions.delivery(
        "acc_erasure", body=body, status=Status.SUCCEEDED, next_attempt_at_ms=None
    )
    executions.job_stores.erasures.create(erasure)
    state = {"version": 1, "action": "erase", **erasure.key._asdict(), "seconds": 0}
    ran = executions.ran("RecoveryStateMachine", executions.start("RecoveryStateMachine", state))
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    assert executions.now(delivery).erased
    ended = executions.job_stores.erasures.get(erasure.key)
    assert ended is not None
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 1)


def by_contract(request: Request) -> Answer:
    genuine = sendcomms_signature(samples.SECRET, request.body)
    return Answer(200 if request.headers.get("x-sendcomms-signature") == genuine else 401)


def test_a_check_is_made(executions: FormerExecutionFixture) -> None:
    check = Check(
        account_id="acc_check",
        webhook_id=samples.WEBHOOK_ID,
        id=check_id(NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=int(time.time() * 1000),
        updated_at_ms=NOW_MS,
    )
    with Receiver(by_contract) as receiver:
        executions.webhook("acc_check", receiver)
        executions.job_stores.checks.create(check)
        state = {"version": 1, "action": "check", **check.key._asdict(), "seconds": 0}
        ran = executions.ran(
            "RecoveryStateMachine", executions.start("RecoveryStateMachine", state)
        )
    assert (ran.status, ran.errors) == ("SUCCEEDED", ["Unavailable"])
    ended = executions.job_stores.checks.get(check.key)
    assert ended is not None
    assert ended.status is CheckStatus.COMPLETED
    assert set(ended.outcomes) == set(CheckRequest)


def test_a_job_that_is_given_up_is_recorded_as_failed(executions: FormerExecutionFixture) -> None:
    check = Check(
        account_id="acc_given_up",
        webhook_id=samples.WEBHOOK_ID,
        id=check_id((NOW_MS + 1) * 1_000_000, bytes(8)),
        created_at_ms=int(time.time() * 1000),
        updated_at_ms=NOW_MS,
    )
    executions.job_stores.checks.create(check)
    state = {"version": 99, "action": "check", **check.key._asdict(), "seconds": 0}
    ran = executions.ran("RecoveryStateMachine", executions.start("RecoveryStateMachine", state))
    assert ran.status == "FAILED"
    assert ran.walk[-3:] == [
        *("UnknownDecision -> Abandon", "Abandon: retry 1", "Abandon -> Interrupted")
    ]
    ended = executions.job_stores.checks.get(check.key)
    assert ended is not None
    assert (ended.status, ended.reason) == (CheckStatus.FAILED, "internal_error")


class OneItem:
    """A DynamoDB client of one item, which holds that version's words."""

    def __init__(self, item: dict[str, Any]) -> None:
        text = json.dumps(item).replace("response_too_large", "answer_too_large")
        assert "answer_too_large" in text
        self.item = json.loads(text)

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.item}


def test_an_attempt_that_the_version_before_recorded_is_read() -> None:
    attempt = samples.attempt(1, error=FailureReason.RESPONSE_TOO_LARGE)
    delivery = samples.delivery(attempts=(attempt,))
    assert read_delivery(OneItem(delivery_item(delivery, 60)).item) == delivery


def test_a_check_that_the_version_before_recorded_is_read() -> None:
    outcomes = {CheckRequest.VALID: Outcome(FailureReason.RESPONSE_TOO_LARGE, 200, 5)}
    check = Check("acc_1", samples.WEBHOOK_ID, check_id(1, bytes(8)), 1, 1, outcomes=outcomes)
    item = {
        **item_keys.job_key("check", *check.key),
        **CHECKS.attributes(check),
        "status": {"S": check.status.value},
        **{name: item_keys.number(1) for name in ("created_at", "updated_at", "expires_at")},
    }
    client: Any = OneItem(item)
    store = DynamoDBJobStore(client, "DeliveriesTable", CHECKS, retention_days=1, clock=lambda: 0)
    assert store.get(check.key) == check
