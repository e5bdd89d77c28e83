"""Amazon SES's own records, as they come from SNS and from EventBridge, become events."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from webhooks.domain.event import EventType

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.receiver import Receiver
    from support.stack import Account, Stack

RECORDS = Path(__file__).parents[1] / "data" / "ses"
TYPES = {
    "send": EventType.SENT,
    "delivery": EventType.DELIVERED,
    "bounce": EventType.BOUNCED,
    "complaint": EventType.COMPLAINED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "deliverydelay": EventType.DELIVERY_DELAYED,
    "reject": EventType.FAILED,
    "subscription": EventType.UNSUBSCRIBED,
}
SENT_AT = "2016-10-14T05:02:16.645Z"
"""The time of the email in all records, earlier than its events."""


def ses_record(name: str, account_id: str | None, message_id: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    record["mail"] |= {
        "messageId": message_id,
        "timestamp": SENT_AT,
        "destination": ["recipient@example.com"],
    }
    if account_id is not None:
        record["mail"].setdefault("tags", {})["account_id"] = [account_id]
    return record


def from_sns(record: dict[str, Any]) -> str:
    """Put a record into SNS's envelope, without raw message delivery."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": str(uuid4()),
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:ses-events",
            "Subject": "Amazon SES Email Event Notification",
            # SES ends its text with a line break.
            "Message": json.dumps(record) + "\n",
            "Timestamp": "2025-12-21T10:30:01.000Z",
        }
    )


def from_eventbridge(record: dict[str, Any]) -> str:
    """Put a record into EventBridge's envelope."""
    names = {
        "Send": "Email Sent",
        "Delivery": "Email Delivered",
        "Bounce": "Email Bounced",
        "Complaint": "Email Complaint Received",
        "Open": "Email Opened",
        "Click": "Email Clicked",
        "DeliveryDelay": "Email Delivery Delayed",
        "Reject": "Email Rejected",
        "Subscription": "Email Subscribed",
    }
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid4()),
            "detail-type": names[record["eventType"]],
            "source": "aws.ses",
            "account": "123456789012",
            "time": "2025-12-21T10:30:01Z",
            "region": "us-east-1",
            "resources": ["arn:aws:ses:us-east-1:123456789012:configuration-set/ConfigSet"],
            "detail": record,
        }
    )


ENVELOPES: dict[str, Callable[[dict[str, Any]], str]] = {
    "raw": json.dumps,
    "sns": from_sns,
    "eventbridge": from_eventbridge,
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_records_become_the_events_of_their_types(
    envelope: str, account: Account, receiver: Receiver, stack: Stack
) -> None:
    account.register(receiver.url)
    message_id = uuid4().hex
    for name in TYPES:
        record = ses_record(name, account.id, message_id)
        stack.events.send(ENVELOPES[envelope](record))
    requests = receiver.wait_for(len(TYPES), timeout=60)
    types = Counter(request.headers["x-sendcomms-event"] for request in requests)
    assert types == Counter(TYPES.values())
    for request in requests:
        body = request.json
        assert body["event"] == request.headers["x-sendcomms-event"]
        assert body["data"]["email_id"] == message_id
        assert body["data"]["to"] == "recipient@example.com"
    # All events of one email share `data.id`; each event has a transaction of its own.
    assert len({request.json["data"]["id"] for request in requests}) == 1
    assert len({request.json["transaction_id"] for request in requests}) == len(TYPES)


def test_the_same_record_in_three_envelopes_is_one_event(
    account: Account, receiver: Receiver, stack: Stack
) -> None:
    account.register(receiver.url)
    bounce = ses_record("bounce", account.id, uuid4().hex)
    for put_into_envelope in ENVELOPES.values():
        stack.events.send(put_into_envelope(bounce))
        receiver.wait_for(1)
        stack.events.wait_until_empty()
    [request] = receiver.requests
    assert request.json["data"]["bounce"]["type"] == "hard"


def test_a_record_that_names_no_account_is_the_default_accounts(
    stack: Stack, receiver: Receiver
) -> None:
    default = stack.account("default")
    webhook = default.register(receiver.url)
    message_id = uuid4().hex
    stack.events.send(json.dumps(ses_record("click", None, message_id)))
    [request] = receiver.wait_for(1)
    default.call("DELETE", f"/api/v1/webhooks/{webhook['id']}")
    assert request.json["data"]["email_id"] == message_id
    assert request.json["data"]["click"]["link"].startswith("http")


def test_other_records_are_dropped_without_a_trace_in_the_dead_letter_queue(
    account: Account, receiver: Receiver, stack: Stack
) -> None:
    account.register(receiver.url)
    message_id = uuid4().hex
    received = ses_record("send", account.id, message_id) | {"eventType": "Received"}
    not_spam = ses_record("complaint", account.id, message_id)
    not_spam["complaint"]["complaintFeedbackType"] = "not-spam"
    for record in (received, not_spam):
        stack.events.send(json.dumps(record))
    stack.events.wait_until_empty()
    assert stack.rejected.matching(lambda message: message_id in message.body) == []
    assert receiver.requests == []
