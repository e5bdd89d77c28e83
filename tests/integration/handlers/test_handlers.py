"""The dispatcher's and the worker's handlers with real adapters and a real receiver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dispatcher.handler
import worker.handler
from support import samples
from support.backend import Backend, backend, lambda_context, sqs_event
from support.receiver import Answer, Receiver
from support.stores import webhook_store
from webhooks.adapters.dynamodb.delivery_items import read_delivery
from webhooks.domain import signing
from webhooks.domain.delivery import Status
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from webhooks.domain.delivery import Delivery

ROOT = Path(__file__).parents[3]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


def register(aws: Backend, receiver: Receiver, number: int = 1) -> None:
    store = webhook_store(aws.clients["dynamodb"])
    store.create(samples.webhook(number, url=receiver.url), samples.SECRET, limit=50)


def dispatch(aws: Backend, *bodies: str, remaining_seconds: float = 60.0) -> list[str]:
    answer = dispatcher.handler.handle(
        sqs_event(*bodies), lambda_context(remaining_seconds), aws.services(DispatcherServices)
    )
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def stored(aws: Backend) -> list[Delivery]:
    items = aws.clients["dynamodb"].scan(TableName="DeliveriesTable")["Items"]
    return [read_delivery(item) for item in items]


def test_an_event_is_delivered_signed_and_recorded(aws: Backend) -> None:
    with Receiver() as receiver:
        register(aws, receiver)
        assert dispatch(aws, samples.event_text()) == []
    [request] = receiver.requests
    assert request.method == "POST"
    assert request.json["event"] == "email.delivered"
    [delivery] = stored(aws)
    assert delivery.status is Status.SUCCEEDED
    assert delivery.body == request.body
    expected = signing.sendcomms_signature(samples.SECRET, request.body)
    assert request.headers["x-sendcomms-signature"] == expected
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "SendComms-Webhooks/1.0"
    assert request.headers["accept"] == "*/*"


def test_the_cost_of_ten_successful_deliveries(
    aws: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [samples.event_text(transaction_id=f"txn_{number}") for number in range(10)]
    with Receiver() as receiver:
        register(aws, receiver)
        aws.calls.clear()
        capsys.readouterr()
        assert dispatch(aws, *bodies) == []
    assert aws.calls == {"Query": 1, "BatchGetItem": 1, "BatchWriteItem": 1}
    assert len(receiver.requests) == 10
    printed = capsys.readouterr()
    [line] = (printed.out + printed.err).splitlines()
    assert json.loads(line)["Succeeded"] == [10.0]


def test_a_failure_starts_one_execution_named_after_the_delivery(aws: Backend) -> None:
    with Receiver(Answer(500)) as receiver:
        register(aws, receiver)
        assert dispatch(aws, samples.event_text()) == []
        assert dispatch(aws, samples.event_text()) == []
    assert len(receiver.requests) == 1
    [delivery] = stored(aws)
    [state] = aws.executions()
    assert 5 <= state.pop("seconds") <= 6
    assert state == {
        "version": 1,
        "account_id": "acc_1",
        "webhook_id": delivery.webhook_id,
        "delivery_id": delivery.id,
        "attempt": 2,
    }


def test_poison_lands_in_the_dead_letter_queue_with_its_reason(aws: Backend) -> None:
    with Receiver() as receiver:
        register(aws, receiver)
        assert dispatch(aws, "{", samples.event_text(), "") == []
        assert len(receiver.requests) == 1
    reasons = {
        message["Body"]: message["MessageAttributes"]["reason"]["StringValue"]
        for message in aws.rejected()
    }
    assert reasons == {"{": "not_json", " ": "not_json"}


def test_the_worker_makes_the_attempts_that_the_state_asks_for(aws: Backend) -> None:
    with Receiver(Answer(500), Answer(503), Answer(200)) as receiver:
        register(aws, receiver)
        dispatch(aws, samples.event_text())
        [state] = aws.executions()
        state = retry(aws, state)
        assert (state["decision"], state["attempt"]) == ("wait", 3)
        assert 300 <= state["seconds"] <= 331
        assert retry(aws, state)["decision"] == "done"
    assert [request.headers["x-sendcomms-attempt"] for request in receiver.requests] == [
        "1",
        "2",
        "3",
    ]
    assert len({request.body for request in receiver.requests}) == 1
    [delivery] = stored(aws)
    assert delivery.status is Status.SUCCEEDED
    assert [attempt.status_code for attempt in delivery.attempts] == [500, 503, 200]


def test_an_exhausted_delivery_says_what_an_operator_needs(aws: Backend) -> None:
    aws.settings = replace(aws.settings, retry_schedule=(1.0,))
    with Receiver(Answer(500)) as receiver:
        register(aws, receiver)
        dispatch(aws, samples.event_text())
        [state] = aws.executions()
        state = retry(aws, state)
    [delivery] = stored(aws)
    assert state["decision"] == "dead_letter"
    assert (state["account_id"], state["delivery_id"]) == ("acc_1", delivery.id)
    facts = state["dead_letter"]
    assert facts.pop("exhausted_at").endswith("Z")
    assert facts == {
        "event_id": delivery.event_id,
        "event_type": "email.delivered",
        "reason": "exhausted",
        "attempts": 2,
        "last_error": "http_status",
        "last_status_code": 500,
        "generation": 0,
    }


def test_a_state_of_an_unknown_version_goes_to_the_dead_letter_queue(aws: Backend) -> None:
    state = {"version": 99, "account_id": "acc_1", "webhook_id": "w", "delivery_id": "d"}
    answer = retry(aws, state)
    assert answer["decision"] == "dead_letter"
    assert answer["dead_letter"]["reason"] == "unknown_version"
    assert aws.calls["GetItem"] == 0


def retry(aws: Backend, state: dict[str, Any]) -> dict[str, Any]:
    answer = worker.handler.handle(state, lambda_context(), aws.services(WorkerServices))
    # Step Functions gets the answer as JSON.
    parsed: dict[str, Any] = json.loads(json.dumps(answer))
    return parsed


@pytest.mark.parametrize(
    ("function", "service"), [("dispatcher", "dispatcher"), ("worker", "retrier")]
)
def test_the_senders_functions_load_nothing_that_they_can_do_without(
    function: str, service: str
) -> None:
    code = (
        f"import {function}.handler, sys\n"
        "from webhooks.settings import Settings\n"
        f"from webhooks.wiring.{function} import {function.title()}Services as Services\n"
        f"Services(Settings(events_dead_letter_queue_url='q')).{service}\n"
        "print(' '.join(sys.modules))\n"
    )
    loaded = set(printed(code).split())
    forbidden = {
        "pydantic",
        "aws_xray_sdk",
        "boto3",
        "s3transfer",
        "aws_lambda_powertools.event_handler",
        "aws_lambda_powertools.utilities.idempotency",
        "cryptography",
    }
    assert not loaded & forbidden


def test_the_api_loads_cryptography_only_once_it_seals() -> None:
    code = (
        "import api.handler, sys\n"
        "from webhooks.settings import Settings\n"
        "from webhooks.wiring.api import ApiServices\n"
        "made = ApiServices(Settings(cursor_key=b'k'))\n"
        "made.webhook_service, made.api_key_service, made.delivery_log_service\n"
        "made.idempotency_store\n"
        "print('cryptography' in sys.modules)\n"
        "made.sealer\n"
        "print('cryptography' in sys.modules)\n"
    )
    assert printed(code).split() == ["False", "True"]


def printed(code: str) -> str:
    """Run a program in the state of a function's process; returns its output."""
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "functions"), str(ROOT / "layers/core")]
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return run.stdout
