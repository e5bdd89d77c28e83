"""Resending and trying out, from the API through its execution's input to a real receiver."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import dispatcher.handler
import worker.handler
from api.app import Api
from support import samples
from support.backend import Backend, backend, lambda_context, sqs_event
from support.http_api import AccountClient
from support.receiver import Answer, Receiver
from webhooks.adapters.stepfunctions import StepFunctionsRetryScheduler
from webhooks.domain.errors import UnavailableError
from webhooks.wiring.api import ApiServices
from webhooks.wiring.dispatcher import DispatcherServices
from webhooks.wiring.worker import WorkerServices

if TYPE_CHECKING:
    from collections.abc import Iterator

WEBHOOKS = "/api/v1/webhooks"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with backend(monkeypatch) as aws_backend:
        yield aws_backend


@pytest.fixture
def owner(aws: Backend) -> AccountClient:
    services = aws.services(ApiServices)
    return AccountClient(Api(services), services.api_key_service.issue("acc_1").text)


def register(owner: AccountClient, receiver: Receiver, **fields: Any) -> str:
    """Register a webhook; returns its path."""
    answer = owner.call("POST", json={"url": receiver.url, "events": ["*"], **fields})
    return f"{WEBHOOKS}/{answer.data['id']}"


def dispatch(aws: Backend) -> None:
    event = sqs_event(samples.event_text())
    assert dispatcher.handler.handle(event, lambda_context(), aws.services(DispatcherServices)) == {
        "batchItemFailures": []
    }


def run(aws: Backend, state: dict[str, Any]) -> dict[str, Any]:
    """Give the worker an execution's state in Step Functions' form; returns its answer."""
    answer = worker.handler.handle(state, lambda_context(), aws.services(WorkerServices))
    parsed: dict[str, Any] = json.loads(json.dumps(answer))
    return parsed


def resends(aws: Backend) -> list[dict[str, Any]]:
    return [state for state in aws.executions() if state.get("action") == "resend"]


def test_a_failed_delivery_is_sent_again_beside_its_schedule(
    aws: Backend, owner: AccountClient
) -> None:
    with Receiver(Answer(500), Answer(502), Answer(200)) as receiver:
        path = register(owner, receiver, headers={"X-Team": "billing"})
        dispatch(aws)
        [listed] = owner.call("GET", f"{path}/deliveries").data
        delivery_path = f"{path}/deliveries/{listed['id']}"

        assert owner.call("POST", f"{delivery_path}/resend").status == 202
        [state] = resends(aws)
        assert run(aws, state)["decision"] == "done"
        after_one = owner.call("GET", delivery_path).data
        assert [attempt["manual"] for attempt in after_one["attempts"]] == [False, True]
        assert after_one["status"] == "retrying"
        assert after_one["next_attempt_at"] == listed["next_attempt_at"]

        assert owner.call("POST", f"{delivery_path}/resend").status == 202
        [second] = [one for one in resends(aws) if one != state]
        assert run(aws, second)["decision"] == "done"
        delivered = owner.call("GET", delivery_path).data
        assert delivered["status"] == "succeeded"
        assert [one["status_code"] for one in delivered["attempts"]] == [500, 502, 200]

        [scheduled] = [one for one in aws.executions() if "action" not in one]
        assert run(aws, scheduled)["decision"] == "done"
    assert len(receiver.requests) == 3
    assert len({request.body for request in receiver.requests}) == 1
    assert {request.headers["x-team"] for request in receiver.requests} == {"billing"}
    attempts = [request.headers["x-sendcomms-attempt"] for request in receiver.requests]
    assert attempts == ["1", "2", "3"]


def test_a_test_event_is_delivered_like_any_other_and_marked_in_the_log(
    aws: Backend, owner: AccountClient
) -> None:
    with Receiver(Answer(500), Answer(200)) as receiver:
        path = register(owner, receiver)
        made = owner.call("POST", f"{path}/test", json={"event": "email.bounced"}).data
        [state] = aws.executions()
        assert (state["attempt"], state["seconds"]) == (1, 0)
        assert run(aws, state)["decision"] == "wait"
        assert run(aws, {**state, "attempt": 2})["decision"] == "done"
    shown = owner.call("GET", f"{path}/deliveries/{made['id']}").data
    assert (shown["test"], shown["status"], shown["attempt_count"]) == (True, "succeeded", 2)
    request = receiver.requests[-1]
    assert request.body == shown["body"].encode()
    assert request.json == shown["payload"]
    assert request.json["data"]["bounce"]["type"] == "hard"
    assert "test" not in json.dumps(dict(request.headers)).lower()


def test_a_resend_of_a_webhook_deleted_meanwhile_sends_nothing(
    aws: Backend, owner: AccountClient
) -> None:
    with Receiver(Answer(500)) as receiver:
        path = register(owner, receiver)
        dispatch(aws)
        [listed] = owner.call("GET", f"{path}/deliveries").data
        owner.call("POST", f"{path}/deliveries/{listed['id']}/resend")
        owner.call("DELETE", path)
        [state] = resends(aws)
        assert run(aws, state)["decision"] == "done"
    assert len(receiver.requests) == 1


def test_the_log_is_filtered_and_goes_on_page_by_page(aws: Backend, owner: AccountClient) -> None:
    with Receiver(Answer(500)) as receiver:
        path = register(owner, receiver)
        events = ["email.sent", "email.opened", "email.sent"]
        for number, event in enumerate(events):
            message = samples.event_text(event=event, timestamp=f"2025-12-21T10:30:0{number}Z")
            dispatcher.handler.handle(
                sqs_event(message), lambda_context(), aws.services(DispatcherServices)
            )
    log = f"{path}/deliveries"
    assert [one["event"] for one in owner.call("GET", log).data] == events[::-1]
    seen: list[str] = []
    query = {"limit": "1", "status": "retrying", "event": "email.sent"}
    for _ in range(4):
        answer = owner.call("GET", log, query=query)
        assert answer.status == 200
        seen += [one["id"] for one in answer.data]
        if "next_cursor" not in answer.json["pagination"]:
            break
        query["cursor"] = answer.json["pagination"]["next_cursor"]
    else:
        pytest.fail("the list has no end")
    assert len(seen) == len(set(seen)) == 2
    late = owner.call("GET", log, query={"since": "2025-12-21T10:30:02Z"}).data
    assert [one["event"] for one in late] == ["email.sent"]
    assert owner.call("GET", log, query="status=succeeded").data == []


def test_the_same_resend_twice_is_one_execution_and_another_is_another(aws: Backend) -> None:
    scheduler = StepFunctionsRetryScheduler(
        aws.clients["stepfunctions"], aws.settings.retry_state_machine_arn
    )
    delivery = samples.delivery()
    key = delivery.key
    scheduler.start(delivery, delay_seconds=5)
    for request_id in ("a" * 32, "a" * 32, "b" * 32):
        scheduler.resend(key, attempt=2, request_id=request_id)
    assert len(aws.executions()) == 3
    assert (
        resends(aws)
        == [{"version": 1, **key._asdict(), "action": "resend", "attempt": 2, "seconds": 0}] * 2
    )


def test_a_state_machine_that_is_not_there_is_our_own_trouble(aws: Backend) -> None:
    arn = aws.settings.retry_state_machine_arn.replace(":retry", ":absent")
    scheduler = StepFunctionsRetryScheduler(aws.clients["stepfunctions"], arn)
    with pytest.raises(UnavailableError):
        scheduler.resend(samples.delivery().key, attempt=2, request_id="a")


def test_a_resend_that_meets_a_pause_has_its_execution_wait(
    aws: Backend, owner: AccountClient
) -> None:
    """The receiver asks for it after the resend was accepted; the state returns unchanged."""
    with Receiver(Answer(500), Answer(503, {"Retry-After": "2"}), Answer(200)) as receiver:
        path = register(owner, receiver)
        dispatch(aws)
        [listed] = owner.call("GET", f"{path}/deliveries").data
        delivery_path = f"{path}/deliveries/{listed['id']}"
        accepted = owner.call("POST", f"{delivery_path}/resend")
        assert (accepted.status, "not_before" in accepted.data) == (202, False)
        [state] = resends(aws)
        assert run(aws, state)["decision"] == "done"

        waits = run(aws, {"action": "attempt", "state": state})
        assert (waits["decision"], waits["action"]) == ("wait", "resend")
        assert 1 <= waits["seconds"] <= 2
        shown = owner.call("GET", path).data["health"]["not_before"]
        again = owner.call("POST", f"{delivery_path}/resend")
        assert (again.status, again.data["not_before"]) == (202, shown)
        assert len(receiver.requests) == 2

        time.sleep(2)
        assert run(aws, {"action": "attempt", "state": waits})["decision"] == "done"
        assert owner.call("GET", delivery_path).data["status"] == "succeeded"
        assert "not_before" not in owner.call("GET", path).data["health"]
    assert len(receiver.requests) == 3
