"""An event on its way from the queue to its subscribed webhooks, and to no others."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.receiver import Receiver, Request
from support.samples import event_document
from webhooks.domain.event import EventType

if TYPE_CHECKING:
    from support.stack import Account, AnyStack, Stack


def types_of(requests: list[Request]) -> Counter[str]:
    return Counter(request.headers["x-sendcomms-event"] for request in requests)


def test_a_webhook_gets_the_types_it_wants_and_no_others(stack: Stack, account: Account) -> None:
    wanted = [EventType.BOUNCED, EventType.OPENED]
    with Receiver() as some, Receiver() as all_of_them:
        account.register(some.url, wanted)
        account.register(all_of_them.url, ["*"])
        for event_type in EventType:
            account.publish(event=event_type)
        all_of_them.wait_for(len(EventType))
        some.wait_for(len(wanted))
        stack.events.wait_until_empty()
        assert types_of(some.requests) == Counter(wanted)
        assert types_of(all_of_them.requests) == Counter(EventType)


def test_an_event_reaches_the_webhooks_of_its_own_account_only(
    stack: Stack, account: Account, other_account: Account
) -> None:
    with Receiver() as mine, Receiver() as mine_too, Receiver() as theirs:
        account.register(mine.url)
        account.register(mine_too.url)
        other_account.register(theirs.url)
        account.publish(transaction_id="txn_mine")
        other_account.publish(transaction_id="txn_theirs")
        for receiver in (mine, mine_too, theirs):
            receiver.wait_for(1)
        stack.events.wait_until_empty()
        received = [
            [request.json["transaction_id"] for request in receiver.requests]
            for receiver in (mine, mine_too, theirs)
        ]
        assert received == [["txn_mine"], ["txn_mine"], ["txn_theirs"]]


@pytest.mark.any_stack
def test_the_same_message_twice_is_one_delivery(
    stack: AnyStack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    message = account.publish()
    [first] = receiver.wait_for(1)
    stack.events.wait_until_empty()
    stack.events.send(message)
    stack.events.send_together([message, message])
    account.publish(event="email.opened")
    receiver.wait_for(2)
    stack.events.wait_until_empty()
    assert [request.headers["x-sendcomms-event"] for request in receiver.requests] == [
        first.headers["x-sendcomms-event"],
        "email.opened",
    ]


@pytest.mark.any_stack
def test_a_message_without_a_time_twice_is_one_delivery_too(
    stack: AnyStack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    for _ in range(2):
        account.publish(timestamp=None, transaction_id=None)
        receiver.wait_for(1)
        stack.events.wait_until_empty()
    assert len(receiver.requests) == 1


@pytest.mark.any_stack
def test_missing_fields_are_filled_in(account: Account, receiver: Receiver) -> None:
    account.register(receiver.url)
    account.publish(timestamp=None, transaction_id=None, data={"to": "a@example.com"})
    [request] = receiver.wait_for(1)
    body = request.json
    assert list(body) == ["event", "transaction_id", "timestamp", "data"]
    assert body["transaction_id"].startswith("txn_")
    assert body["timestamp"].endswith("Z")
    assert body["data"] == {
        "id": body["transaction_id"],
        "type": "email",
        "status": "delivered",
        "to": "a@example.com",
    }


def test_a_poison_message_goes_to_the_dead_letter_queue_and_its_siblings_arrive(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    account.register(receiver.url)
    mark = uuid4().hex
    poison = {
        "not_json": f'{{"event": "{mark}',
        "not_an_object": json.dumps(mark),
        "unknown_event": json.dumps(event_document(account_id=account.id, event=mark)),
        "no_account": json.dumps(event_document(account_id=None, id=mark)),
        "invalid_field": json.dumps(event_document(account_id=account.id, surprise=mark)),
        "too_large": json.dumps(
            event_document(account_id=account.id, data={"to": mark, "text": "x" * 65_536})
        ),
        "too_deep": f'{{"event": "{mark}", "data": {"[" * 1000}{"]" * 1000}}}',
    }
    siblings = [
        json.dumps(event_document(account_id=account.id, event=event_type))
        for event_type in ("email.sent", "email.opened", "email.clicked")
    ]
    stack.events.send_together([siblings[0], *poison.values(), *siblings[1:]])
    receiver.wait_for(len(siblings))
    stack.events.wait_until_empty()
    assert types_of(receiver.requests) == Counter(["email.sent", "email.opened", "email.clicked"])
    rejected = stack.rejected.matching(lambda message: mark in message.body)
    assert {message.attributes["reason"]: message.body for message in rejected} == poison
    assert len(rejected) == len(poison)
    assert all(message.attributes["detail"] for message in rejected)
