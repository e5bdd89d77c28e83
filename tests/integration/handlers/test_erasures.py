"""An erasure on the real adapters: its steps, their cost, and all of it on the local stack."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import worker.handler
from local.aws import aws_client
from local.constants import REGION
from local.stack import LocalStack, StackOptions
from support import samples
from support.backend import Backend, backend, lambda_context
from support.receiver import Answer, Receiver
from support.stack import call, eventually
from support.stores import on_dynamodb
from webhooks.domain.delivery import Status, delivery_id
from webhooks.domain.jobs.erasure import Erasure, ErasureStatus, digest, erasure_id
from webhooks.domain.recipient import addresses_of
from webhooks.wiring import jobs as wired_jobs
from webhooks.wiring.worker import WorkerServices
from worker.jobs import STEPS_AN_EXECUTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.jobs.erasure import ErasureKey

NOW_MS = int(time.time() * 1000)
"""The real time: the items of these handlers expire by the real clock."""

ANNA = "anna.private@example.com"
SALT = b"s" * 32
MENTIONING = 30


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    monkeypatch.setattr(wired_jobs, "SETTLE_SECONDS", 0.0)
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


def begun(aws: Backend) -> Erasure:
    """Record deliveries of two webhooks, one of them deleted, and an erasure."""
    stores = on_dynamodb(aws.clients["dynamodb"], time.time)
    for number in (1, 2):
        stores.webhooks.create(samples.webhook(number), samples.SECRET, limit=50)
        webhook_id = samples.webhook(number).id
        for each in range(MENTIONING):
            for to in (ANNA, "bob@example.com"):
                event_id = f"evt_{each}_{to[0]}"
                body = json.dumps({"event": "email.sent", "data": {"to": to}})
                one = samples.delivery(
                    number,
                    id=delivery_id(event_id, NOW_MS - each * 1000, webhook_id),
                    event_id=event_id,
                    body=body.encode(),
                    created_at_ms=NOW_MS,
                    attempts=(samples.attempt(started_at_ms=NOW_MS, response_body=to),),
                    status=Status.EXHAUSTED,
                    next_attempt_at_ms=None,
                )
                stores.deliveries.create(one)
    stores.webhooks.delete("acc_1", samples.webhook(2).id)
    erasure = Erasure(
        account_id="acc_1",
        id=erasure_id(NOW_MS * 1_000_000, bytes(8)),
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        salt=SALT,
        digest=digest(SALT, ANNA),
    )
    stores.erasures.create(erasure)
    return erasure


def state_of(key: ErasureKey, **more: Any) -> dict[str, Any]:
    return {"version": 1, "action": "erase", **key._asdict(), "seconds": 0, **more}


def step(aws: Backend, state: dict[str, Any]) -> dict[str, Any]:
    answer = worker.handler.handle(state, lambda_context(45.0), aws.services(WorkerServices))
    return dict(json.loads(json.dumps(answer)))


def stored_addresses(dynamodb: Any, table: str) -> set[str]:
    """Return every address in a table, bodies unpacked."""
    found: set[str] = set()
    for page in dynamodb.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            found |= addresses_of(json.loads(json.dumps(item, default=_text)))
    return found


def _text(value: bytes) -> str:
    import zlib

    try:
        return zlib.decompress(value).decode()
    except zlib.error:
        return value.hex()


def test_an_erasure_is_carried_out_step_by_step(
    aws: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    erasure = begun(aws)
    dynamodb = aws.clients["dynamodb"]
    assert ANNA in stored_addresses(dynamodb, "DeliveriesTable")
    state = step(aws, state_of(erasure.key))
    assert state == state_of(erasure.key, seconds=1, steps=1, decision="wait")
    assert stored_addresses(dynamodb, "DeliveriesTable") == {"bob@example.com"}
    state = step(aws, state)
    assert state["decision"] == "done"
    ended = on_dynamodb(dynamodb, time.time).erasures.get(erasure.key)
    assert ended
    assert (ended.status, ended.erased) == (ErasureStatus.COMPLETED, 2 * MENTIONING)
    assert ended.examined == 2 * 4 * MENTIONING
    assert "anna" not in capsys.readouterr().out


def test_what_a_step_costs(aws: Backend) -> None:
    erasure = begun(aws)
    aws.calls.clear()
    step(aws, state_of(erasure.key))
    # The record; the first webhook, the second, and the absence of a third, in two tables each; the
    # oldest delivery and the deliveries of both; a write for each erased one, and one for the
    # progress.
    assert aws.calls == {
        "GetItem": 1,
        "Query": 3 * 2 + 2 * 2,
        "UpdateItem": 2 * MENTIONING,
        "PutItem": 1,
    }


def test_an_execution_hands_over_after_so_many_steps(aws: Backend) -> None:
    erasure = begun(aws)
    state = step(aws, state_of(erasure.key, steps=STEPS_AN_EXECUTION - 1))
    assert state["decision"] == "continue"
    assert state["name"] == f"{erasure.id}-{STEPS_AN_EXECUTION}"
    assert state["input"] == state_of(erasure.key, seconds=1, steps=STEPS_AN_EXECUTION)


def test_what_the_state_machine_gives_up_has_failed(aws: Backend) -> None:
    erasure = begun(aws)
    step(aws, {"version": 1, "action": "abandon", "state": state_of(erasure.key)})
    ended = on_dynamodb(aws.clients["dynamodb"], time.time).erasures.get(erasure.key)
    assert ended
    assert (ended.status, ended.reason) == (ErasureStatus.FAILED, "internal_error")


def test_a_recipient_is_erased_from_all_that_a_stack_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wired_jobs, "SETTLE_SECONDS", 1.0)
    with LocalStack(StackOptions(parameters={"RetrySchedule": "600"})) as stack, Receiver() as one:
        url = stack.outputs["ApiUrl"]
        headers = {
            "Authorization": f"Bearer {stack.outputs['ApiKey']}",
            "Content-Type": "application/json",
        }

        def ask(method: str, path: str, body: object = None, status: int = 200) -> Any:
            text = None if body is None else json.dumps(body)
            answer = call(url, method, f"/api/v1/{path}", headers=headers, body=text)
            assert answer.status == status, answer.text
            return answer.data

        one.answer_with(Answer(200))
        with Receiver(Answer(500, body=f"no {ANNA}".encode())) as other:
            ids = [
                ask("POST", "webhooks", {"url": each.url, "events": ["*"]}, 201)["id"]
                for each in (one, other)
            ]
            for to in (f"Anna <{ANNA.upper()}>", "bob@example.com"):
                ask("POST", "events", {"event": "email.sent", "data": {"to": to}}, 202)
            logs = [f"webhooks/{webhook_id}/deliveries" for webhook_id in ids]
            recorded = [("succeeded", logs[0]), ("retrying", logs[1])]
            for status, log in recorded:
                eventually(
                    lambda log=log, status=status: len(ask("GET", f"{log}?status={status}")) == 2,  # type: ignore[misc]
                    f"two deliveries have {status}",
                )
        started = ask("DELETE", f"recipients/{ANNA.replace('@', '%40')}", status=202)
        path = f"recipients/erasures/{started['id']}"
        ended = eventually(
            lambda: next(filter(lambda job: job["status"] != "running", [ask("GET", path)]), None),
            "the erasure ends",
        )
        assert (ended["status"], ended["erased"], ended["examined"]) == ("completed", 2, 8)
        assert [each.get("erased", False) for each in ask("GET", logs[0])] == [False, True]
        cancelled = ask("GET", f"{logs[1]}?status=cancelled")
        assert [each["reason"] for each in cancelled] == ["recipient_erased"]

        endpoint = stack.outputs["AwsEndpointUrl"]
        dynamodb = aws_client("dynamodb", endpoint)
        for table in dynamodb.list_tables()["TableNames"]:
            assert ANNA not in stored_addresses(dynamodb, table), table
        states = aws_client("stepfunctions", endpoint)
        machine = stack.outputs["JobStateMachineArn"]
        [execution] = states.list_executions(stateMachineArn=machine)["executions"]
        history = states.get_execution_history(
            executionArn=execution["executionArn"], maxResults=1000
        )
        assert REGION in execution["executionArn"]
        assert "anna" not in json.dumps(history["events"], default=str).lower()
