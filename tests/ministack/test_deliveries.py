"""The short form: a new stack delivers, retries, dead-letters and reads mail, with IAM enforced.

The gate runs this file alone; `make e2e-ministack` runs all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from e2e.test_ses import from_eventbridge, ses_record
from support.receiver import Answer
from support.stack import eventually
from webhooks.domain.signing import sendcomms_signature

if TYPE_CHECKING:
    from ministack.engine import Engine
    from support.receiver import Receiver
    from support.stack import Account

RETRY_SCHEDULE = "1,2"
SECONDS = 60
"""The time limit of a delivery: each function begins with a cold start."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployed(engine: Engine) -> Engine:
    engine.deploy(RetrySchedule=RETRY_SCHEDULE)
    return engine


def test_an_event_is_delivered_and_signed(account: Account, receiver: Receiver) -> None:
    webhook = account.register(receiver.url)
    answer = account.call(
        "POST",
        "/api/v1/events",
        json={"event": "email.opened", "data": {"to": "recipient@example.com"}},
    )
    assert answer.status == 202, answer.text
    [request] = receiver.wait_for(1, SECONDS)
    assert request.json["event"] == "email.opened"
    genuine = sendcomms_signature(webhook["secret"], request.body)
    assert request.headers["x-sendcomms-signature"] == genuine


def test_a_repeated_registration_is_answered_from_the_sealed_response(
    account: Account, receiver: Receiver
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    body = {"url": receiver.url, "events": ["*"]}
    first, second = (account.call("POST", json=body, headers=headers) for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert first.data["secret"] == second.data["secret"]


def test_an_exhausted_delivery_leaves_a_dead_letter(account: Account, receiver: Receiver) -> None:
    receiver.answer_with(Answer(500))
    webhook = account.register(receiver.url)
    account.publish()
    attempts = len(RETRY_SCHEDULE.split(",")) + 1
    receiver.wait_for(attempts, SECONDS)
    stack = account.stack
    [message] = stack.dead_letters.wait_for(
        lambda one: one.json["webhook_id"] == webhook["id"], "about the delivery"
    )
    assert message.json["attempts"] == attempts
    assert len(receiver.requests) == attempts


def test_a_record_of_ses_that_eventbridge_put_becomes_an_event(
    account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    record = ses_record("bounce", account.id, uuid4().hex)
    account.stack.events.send(from_eventbridge(record))
    [request] = receiver.wait_for(1, SECONDS)
    assert request.json["data"]["bounce"]["type"] == "hard"


def test_a_message_that_nobody_can_read_is_rejected(account: Account) -> None:
    mark = uuid4().hex
    account.stack.events.send(json.dumps({"event": "email.sent", "mark": mark}))
    account.stack.rejected.wait_for(lambda one: mark in one.body, "that was rejected")


def test_a_test_event_is_sent_by_the_standard_machine(account: Account, receiver: Receiver) -> None:
    webhook = account.register(receiver.url)
    target = f"/api/v1/webhooks/{webhook['id']}/test"
    answer = account.call("POST", target, json={"event": "email.sent"})
    assert answer.status == 202, answer.text
    receiver.wait_for(1, SECONDS)

    def status() -> str | None:
        found = account.stack.execution_status(answer.data["id"])
        return None if found == "RUNNING" else found

    assert eventually(status, "the execution ends") == "SUCCEEDED"
