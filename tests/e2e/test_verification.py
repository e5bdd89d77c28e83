"""Receivers written by others verify every delivery, with any content."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import standardwebhooks
import svix

from e2e.receivers import CONTRACT_SECRET, Received
from support.samples import event_document
from webhooks.domain.event import MAX_BODY_BYTES, EventType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.receivers import ExpressReceiver, StandardReceiver
    from support.stack import Account, Stack

pytestmark = pytest.mark.node

VECTORS = Path(__file__).parents[1] / "data" / "json_fidelity.json"

HEADERS = {
    "content-type",
    "user-agent",
    "accept",
    "x-sendcomms-signature",
    "x-sendcomms-event",
    "x-sendcomms-delivery",
    "x-sendcomms-attempt",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
}
"""The contract's headers, 2.3."""

HTTP_HEADERS = {"host", "content-length", "accept-encoding", "connection"}

# A `data.value` as its producer publishes it, and the same value in the delivered body.
VALUES = {
    "non-ascii": (r'"Z\u00fcrich, \u6771\u4eac"', '"Zürich, 東京"'),
    "raw-non-ascii": ('"Zürich, 東京, مرحبا"', '"Zürich, 東京, مرحبا"'),
    "emoji": (r'"\ud83d\ude00 👩‍👩‍👧"', '"😀 👩‍👩‍👧"'),
    "line-separators": (r'"\u2028\u2029\u007f\u0085"', '"\u2028\u2029\u007f\u0085"'),
    "escapes": (r'"\/\"\\\b\f\n\r\t\u0000\u001F"', r'"/\"\\\b\f\n\r\t\u0000\u001f"'),
    "whole-floats": ("[1.0, -0.0, 1736505045.0]", "[1,0,1736505045]"),
    "floats": ("[1.10, 1E5, 1e-7, 0.00001, 5e-324]", "[1.1,100000,1e-7,0.00001,5e-324]"),
    "large-floats": ("[1e20, 1e21, 123e-20]", "[100000000000000000000,1e+21,1.23e-18]"),
    "big-numbers": (
        "[9007199254740993, 12345678901234567890]",
        "[9007199254740992,12345678901234567000]",
    ),
    "past-the-largest": ("[1e400, -1e400]", "[null,null]"),
    "integer-like-keys": ('{"b": 1, "10": 2, "9": 3, "01": 4}', '{"9":3,"10":2,"b":1,"01":4}'),
    "repeated-keys": ('{"a": 1, "b": 2, "a": 3}', '{"a":3,"b":2}'),
    "nested": ('{"a": [{"b": [[], {}, [null]]}]}', '{"a":[{"b":[[],{},[null]]}]}'),
    "lone-surrogates": (r'["\ud800", "\uDC00x", "\ud83d"]', r'["\ud800","\udc00x","\ud83d"]'),
    "proto": ('{"__proto__": {"a": 1}, "constructor": 2}', '{"__proto__":{"a":1},"constructor":2}'),
    "to-json": ('{"toJSON": "x", "valueOf": null}', '{"toJSON":"x","valueOf":null}'),
}


@dataclass(frozen=True)
class Customer:
    """An account with a webhook at each receiver: the contract's code twice, and the libraries'."""

    account: Account
    express4: ExpressReceiver
    express5: ExpressReceiver
    standard: StandardReceiver
    generated_secret: str
    webhook_ids: frozenset[str]

    def publish(self, data: str, event_type: str = EventType.DELIVERED) -> list[Received]:
        """Publish an event with this JSON text as its data; returns each receiver's request."""
        transaction_id = self.send(data, event_type).encode()
        receivers = (self.express4, self.express5, self.standard)
        return [
            receiver.wait_for_requests(1, lambda one: transaction_id in one.body)[0]
            for receiver in receivers
        ]

    def send(self, data: str, event_type: str = EventType.DELIVERED) -> str:
        """Publish without waiting; returns the transaction's id."""
        transaction_id = f"txn_{uuid4().hex}"
        document = event_document(
            account_id=self.account.id, event=event_type, transaction_id=transaction_id, data=0
        )
        message = json.dumps(document).replace('"data": 0', f'"data": {data}')
        self.account.stack.events.send(message, group=self.account.id)
        return transaction_id


@pytest.fixture(scope="module")
def customer(
    stack: Stack, express4: ExpressReceiver, express5: ExpressReceiver, standard: StandardReceiver
) -> Customer:
    account = stack.account(f"acc_{uuid4().hex}")
    fours = account.register(express4.webhook_url, secret=CONTRACT_SECRET)
    fives = account.register(express5.webhook_url, secret=CONTRACT_SECRET)
    path = f"/{account.id}"
    standards = account.register(f"{standard.url}{path}")
    standard.learn(path, standards["secret"])
    ids = frozenset(webhook["id"] for webhook in (fours, fives, standards))
    return Customer(account, express4, express5, standard, standards["secret"], ids)


def assert_verified(received: list[Received], generated_secret: str) -> None:
    """Check the receivers' own results, and verify with PyPI's libraries as well."""
    four, five, standard = received
    assert (four.status, five.status, standard.status) == (200, 200, 204)
    assert standard.verified == {"standardwebhooks": True, "svix": True}
    assert four.body == five.body == standard.body
    for one, secret in (
        # Not base64, so its receiver hands the libraries bytes.
        (four, CONTRACT_SECRET.encode()),
        (five, CONTRACT_SECRET.encode()),
        (standard, generated_secret),
    ):
        headers = dict(one.headers)
        assert standardwebhooks.Webhook(secret).verify(one.body, headers) == one.json
        svix.Webhook(secret).verify(one.body, headers)  # raises if it does not verify


@pytest.mark.parametrize("event_type", EventType)
def test_each_of_the_six_events_is_verified_by_every_receiver(
    event_type: EventType, customer: Customer
) -> None:
    received = customer.publish('{"to": "recipient@example.com"}', event_type)
    assert_verified(received, customer.generated_secret)
    for one in received:
        assert one.json["event"] == event_type
        assert one.json["data"]["status"] == event_type.status


@pytest.mark.parametrize("name", VALUES)
def test_odd_values_are_verified_by_every_receiver(name: str, customer: Customer) -> None:
    published, expected = VALUES[name]
    received = customer.publish(f'{{"to": "zoë@example.com", "value": {published}}}')
    assert_verified(received, customer.generated_secret)
    for one in received:
        assert one.body.endswith(f'"to":"zoë@example.com","value":{expected}}}}}'.encode())


def test_the_largest_event_is_verified_by_every_receiver(customer: Customer) -> None:
    text = "é" * (MAX_BODY_BYTES // 2 - 200)
    received = customer.publish(json.dumps({"to": "a@example.com", "text": text}))
    assert_verified(received, customer.generated_secret)
    assert received[0].json["data"]["text"] == text


def test_every_header_is_the_contracts(customer: Customer) -> None:
    before = int(time.time())
    received = customer.publish('{"to": "recipient@example.com"}')
    for one in received:
        headers = one.headers
        assert HEADERS <= set(headers) <= HEADERS | HTTP_HEADERS
        assert headers["content-type"] == "application/json"
        assert headers["user-agent"] == "SendComms-Webhooks/1.0"
        assert headers["accept"] == "*/*"
        assert headers["content-length"] == str(len(one.body))
        assert headers["x-sendcomms-event"] == "email.delivered"
        assert headers["x-sendcomms-attempt"] == "1"
        assert before <= int(headers["webhook-timestamp"]) <= time.time()
        # A space would separate a second signature, which only a rotation makes.
        assert headers["webhook-signature"].startswith("v1,")
        assert " " not in headers["webhook-signature"]
    assert len({one.headers["webhook-id"] for one in received}) == 1
    deliveries = {UUID(one.headers["x-sendcomms-delivery"]) for one in received}
    assert len(deliveries) == 3
    assert {delivery.version for delivery in deliveries} == {7}


def test_every_vector_of_the_contracts_json_is_verified_by_every_receiver(
    customer: Customer,
) -> None:
    """All values at once that a producer may write, in the middle of an event's data."""
    texts = publishable_vectors()
    assert len(texts) > 90
    mark = f"{uuid4().hex}@example.com"
    sent = {customer.send(f'{{"to": "{mark}", "value": {text}}}') for text in texts}
    for receiver in (customer.express4, customer.express5, customer.standard):
        received = receiver.wait_for_requests(len(sent), lambda one: mark.encode() in one.body)
        assert {one.status for one in received} <= {200, 204}
        assert {one.json["transaction_id"] for one in received} == sent
    assert (
        customer.account.stack.rejected.matching(
            lambda message: customer.account.id in message.body
        )
        == []
    )


def publishable_vectors() -> list[str]:
    """Return the texts that are JSON, and that fit into an event and into a message of SQS."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
    texts = [as_text(vector["in"]) for vector in vectors if vector["node"] is not None]
    return [text for text in texts if text is not None]


def as_text(given: Mapping[str, Any]) -> str | None:
    if "template" in given:
        return None
    try:
        text = base64.b64decode(given["b64"]).decode() if "b64" in given else str(given["text"])
    except UnicodeDecodeError:
        return None
    return text if len(text.encode()) < MAX_BODY_BYTES // 2 else None
