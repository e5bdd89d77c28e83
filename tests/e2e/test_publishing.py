"""Publishing over HTTP, the way of a producer without AWS, and the receivers' deliveries."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from e2e.documentation import run_commands
from support.samples import event_document
from webhooks.domain.event import EventType

if TYPE_CHECKING:
    from support.receiver import Receiver
    from support.stack import Account, AnyStack, Stack

EVENTS = "/api/v1/events"


def document(**changes: Any) -> dict[str, Any]:
    return event_document(**{"account_id": None, **changes})


@pytest.mark.any_stack
def test_an_event_over_http_is_delivered(account: Account, receiver: Receiver) -> None:
    account.register(receiver.url)
    answer = account.call("POST", EVENTS, json=document())
    assert answer.status == 202, answer.text
    [request] = receiver.wait_for(1)
    assert request.headers["webhook-id"] == answer.data["event_id"]
    assert request.json["transaction_id"] == answer.data["transaction_id"]
    assert request.json["data"]["to"] == "recipient@example.com"


@pytest.mark.any_stack
def test_the_same_event_over_http_and_sqs_is_one_delivery(
    stack: AnyStack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    fields: dict[str, Any] = {
        "timestamp": None,
        "transaction_id": None,
        "data": {"to": "ü@example.com", "10": 1.0, "2": [1e-7, 1e21, None], "\ud83d": "\ude00"},
    }
    account.publish(**fields)
    [first] = receiver.wait_for(1)
    stack.events.wait_until_empty()
    answers = [account.call("POST", EVENTS, json=document(**fields)) for _ in range(2)]
    answers.append(account.call("POST", EVENTS, json=[document(**fields)] * 3))
    assert [answer.status for answer in answers] == [202, 202, 202]
    assert answers[0].data["event_id"] == first.headers["webhook-id"]
    account.publish(event="email.opened")
    receiver.wait_for(2)
    stack.events.wait_until_empty()
    assert [request.headers["x-sendcomms-event"] for request in receiver.requests] == [
        "email.delivered",
        "email.opened",
    ]


@pytest.mark.any_stack
def test_a_hundred_events_in_one_call_all_arrive(
    stack: AnyStack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    types = list(EventType)
    events = [
        document(event=types[at % len(types)], transaction_id=f"txn_{at}") for at in range(100)
    ]
    answer = account.call("POST", EVENTS, json=events)
    assert Counter(result["status"] for result in answer.data) == {"accepted": 100}
    receiver.wait_for(100)
    stack.events.wait_until_empty()
    arrived = Counter(request.headers["webhook-id"] for request in receiver.requests)
    assert arrived == Counter(result["event_id"] for result in answer.data)


def test_faulty_events_are_named_and_the_rest_arrives(
    stack: Stack, account: Account, other_account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    before = stack.rejected.matching(lambda message: account.id in message.body)
    events = [
        document(event="email.lost"),
        document(event="email.sent"),
        document(account_id=other_account.id),
    ]
    answer = account.call("POST", EVENTS, json=events)
    assert [result["status"] for result in answer.data] == ["rejected", "accepted", "rejected"]
    receiver.wait_for(1)
    stack.events.wait_until_empty()
    assert [request.json["event"] for request in receiver.requests] == ["email.sent"]
    assert stack.rejected.matching(lambda message: account.id in message.body) == before
    refused = account.call("POST", EVENTS, json=events[0])
    assert (refused.status, refused.error["code"]) == (422, "validation_failed")


@pytest.mark.any_stack
def test_a_repeated_call_publishes_nothing_again(
    stack: AnyStack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    request: dict[str, Any] = {
        "json": [document(event="email.sent")],
        "headers": {"Idempotency-Key": "publication-1"},
    }
    first = account.call("POST", EVENTS, **request)
    again = account.call("POST", EVENTS, **request)
    assert again.text == first.text
    assert again.headers["Idempotency-Replayed"] == "true"
    receiver.wait_for(1)
    stack.events.wait_until_empty()
    assert len(receiver.requests) == 1


@pytest.mark.any_stack
def test_a_body_too_large_is_answered_in_the_envelope(account: Account) -> None:
    body = json.dumps(document(data={"to": "a", "text": "x" * 3_000_000}))
    answer = account.call("POST", EVENTS, body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


def test_the_documents_commands_do_as_it_says(stack: Stack, account: Account) -> None:
    one, many = run_commands("publishing.md", stack, account)
    assert one["data"]["status"] == "accepted"
    assert [result["status"] for result in many["data"]] == ["accepted", "rejected"]
    assert "transaction_id" not in many["data"][0]
