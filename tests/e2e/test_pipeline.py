"""An event on its way: published to the queue, received signed, retried, dead-lettered."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.receiver import Answer, Raw, Receiver, Request
from support.samples import event_document
from webhooks.domain.delivery import AttemptError, Status
from webhooks.domain.event import EventType

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable

    from support.stack import Account, QueueMessage, Stack
    from webhooks.domain.delivery import Delivery

SES_RECORDS = Path(__file__).parents[1] / "data" / "ses"
SES_TYPES = {
    "send": EventType.SENT,
    "delivery": EventType.DELIVERED,
    "bounce": EventType.BOUNCED,
    "complaint": EventType.COMPLAINED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
}
SES_SENT_AT = "2016-10-14T05:02:16.645Z"
"""When the email of all records was sent; before what happened to it."""

DELAYS = [1.0, 1.0, 1.0]
"""The stack's schedule."""

CLOCK_SECONDS = 0.002
"""What the log's whole milliseconds may cut off."""


def types_of(requests: list[Request]) -> Counter[str]:
    return Counter(request.headers["x-sendcomms-event"] for request in requests)


def about(delivery_id: str) -> Callable[[QueueMessage], bool]:
    return lambda message: delivery_id in message.body


def assert_never_early(delivery: Delivery, delays: list[float]) -> None:
    """Compare the attempts' own times: each waits out its delay, from the end of the last."""
    assert [attempt.number for attempt in delivery.attempts] == [*range(1, len(delays) + 2)]
    pairs = zip(delivery.attempts, delivery.attempts[1:], strict=False)
    for delay, (earlier, later) in zip(delays, pairs, strict=True):
        waited_ms = later.started_at_ms - earlier.started_at_ms - earlier.duration_ms
        assert waited_ms / 1000 >= delay - CLOCK_SECONDS


class TestFromTheQueue:
    def test_a_webhook_gets_the_types_it_wants_and_no_others(
        self, stack: Stack, account: Account
    ) -> None:
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
        self, stack: Stack, account: Account, other_account: Account
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

    def test_the_same_message_twice_is_one_delivery(
        self, stack: Stack, account: Account, receiver: Receiver
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

    def test_a_message_without_a_time_twice_is_one_delivery_too(
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        account.register(receiver.url)
        for _ in range(2):
            account.publish(timestamp=None, transaction_id=None)
            receiver.wait_for(1)
            stack.events.wait_until_empty()
        assert len(receiver.requests) == 1

    def test_what_a_producer_leaves_out_is_filled_in(
        self, account: Account, receiver: Receiver
    ) -> None:
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
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        account.register(receiver.url)
        mark = uuid4().hex
        poison = {
            "not_json": f'{{"event": "{mark}',
            "not_an_object": json.dumps([mark]),
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
        assert types_of(receiver.requests) == Counter(
            ["email.sent", "email.opened", "email.clicked"]
        )
        rejected = stack.rejected.matching(lambda message: mark in message.body)
        assert {message.attributes["reason"]: message.body for message in rejected} == poison
        assert len(rejected) == len(poison)
        assert all(message.attributes["detail"] for message in rejected)


def ses_record(name: str, account_id: str | None, message_id: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((SES_RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    record["mail"] |= {"messageId": message_id, "timestamp": SES_SENT_AT}
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


class TestFromAmazonSes:
    @pytest.mark.parametrize("envelope", ENVELOPES)
    def test_the_six_records_become_the_six_events(
        self, envelope: str, account: Account, receiver: Receiver, stack: Stack
    ) -> None:
        account.register(receiver.url)
        message_id = uuid4().hex
        for name in SES_TYPES:
            record = ses_record(name, account.id, message_id)
            stack.events.send(ENVELOPES[envelope](record))
        requests = receiver.wait_for(len(SES_TYPES))
        assert types_of(requests) == Counter(SES_TYPES.values())
        for request in requests:
            body = request.json
            assert body["event"] == request.headers["x-sendcomms-event"]
            assert body["data"]["email_id"] == message_id
            assert body["data"]["to"] == "recipient@example.com"
        # All that happens to one email shares its transaction.
        assert len({request.json["transaction_id"] for request in requests}) == 1

    def test_the_same_record_in_three_envelopes_is_one_event(
        self, account: Account, receiver: Receiver, stack: Stack
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
        self, stack: Stack, receiver: Receiver
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
        self, account: Account, receiver: Receiver, stack: Stack
    ) -> None:
        account.register(receiver.url)
        message_id = uuid4().hex
        for name in ("reject", "deliverydelay", "rendering_failure", "subscription"):
            stack.events.send(json.dumps(ses_record(name, account.id, message_id)))
        stack.events.wait_until_empty()
        assert stack.rejected.matching(lambda message: message_id in message.body) == []
        assert receiver.requests == []


class TestRetries:
    def test_a_failing_receiver_exhausts_the_schedule_and_leaves_one_dead_letter(
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        receiver.answer_with(Answer(500, body=b"out of order"))
        webhook = account.register(receiver.url)
        account.publish()
        attempts = len(DELAYS) + 1
        requests = receiver.wait_for(attempts, timeout=30)
        headers = [request.headers for request in requests]
        assert [one["x-sendcomms-attempt"] for one in headers] == ["1", "2", "3", "4"]
        assert len({request.body for request in requests}) == 1
        assert len({one["webhook-id"] for one in headers}) == 1
        [delivery_id] = {one["x-sendcomms-delivery"] for one in headers}
        for delay, earlier, later in zip(DELAYS, requests, requests[1:], strict=False):
            assert later.received_at - earlier.received_at >= delay - CLOCK_SECONDS

        [message] = stack.dead_letters.wait_for(about(delivery_id), "about the delivery")
        letter = message.json
        assert letter["type"] == "delivery.exhausted"
        assert letter["attempts"] == attempts
        assert letter["event_type"] == "email.delivered"
        assert letter["event_id"] == headers[0]["webhook-id"]
        assert (letter["account_id"], letter["webhook_id"]) == (account.id, webhook["id"])
        delivery = account.delivery(letter["webhook_id"], letter["delivery_id"])
        assert delivery
        assert delivery.status is Status.EXHAUSTED
        assert delivery.body == requests[0].body
        assert [attempt.status_code for attempt in delivery.attempts] == [500] * attempts
        assert {attempt.answer for attempt in delivery.attempts} == {"out of order"}
        assert_never_early(delivery, DELAYS)
        stack.wait_for_execution(delivery_id)
        assert len(stack.dead_letters.matching(about(delivery_id))) == 1
        assert len(receiver.requests) == attempts

    def test_a_flaky_receiver_gets_the_delivery_in_the_end(
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        with Receiver() as elsewhere:
            receiver.answer_with(Answer(307, {"Location": elsewhere.url}), Answer(404), Answer(202))
            webhook = account.register(receiver.url)
            account.publish()
            requests = receiver.wait_for(3, timeout=30)
            headers = [request.headers for request in requests]
            delivery_id = headers[0]["x-sendcomms-delivery"]
            delivery = account.delivery_with("succeeded", webhook["id"], delivery_id)
            assert [one.status_code for one in delivery.attempts] == [307, 404, 202]
            assert elsewhere.connections == 0
        assert_never_early(delivery, DELAYS[:2])
        assert len({one["webhook-timestamp"] for one in headers}) == 3
        assert len({one["webhook-signature"] for one in headers}) == 3
        assert len({one["x-sendcomms-signature"] for one in headers}) == 1
        stack.wait_for_execution(delivery_id)
        assert len(receiver.requests) == 3
        assert stack.dead_letters.matching(about(delivery_id)) == []

    def test_a_receiver_that_does_not_answer_is_cut_off_and_delays_nobody(
        self, account: Account, receiver: Receiver
    ) -> None:
        def hang(_: socket.socket, stopping: threading.Event) -> None:
            stopping.wait()

        with Receiver(Raw(hang), Answer(200)) as hanging:
            webhook = account.register(hanging.url)
            account.register(receiver.url)
            account.publish()
            [prompt] = receiver.wait_for(1)
            _, again = hanging.wait_for(2, timeout=30)
            delivery = account.delivery_with(
                "succeeded", webhook["id"], again.headers["x-sendcomms-delivery"]
            )
            first, _ = delivery.attempts
            assert first.error is AttemptError.TIMEOUT
            assert 4_900 <= first.duration_ms < 6_500
            assert prompt.received_at < first.started_at_ms / 1000 + first.duration_ms / 1000

    def test_retry_after_moves_the_next_attempt_later(
        self, account: Account, receiver: Receiver
    ) -> None:
        receiver.answer_with(Answer(503, {"Retry-After": "3"}), Answer(200))
        webhook = account.register(receiver.url)
        account.publish()
        first, _ = receiver.wait_for(2, timeout=30)
        delivery = account.delivery_with(
            "succeeded", webhook["id"], first.headers["x-sendcomms-delivery"]
        )
        assert_never_early(delivery, [3.0])

    def test_410_disables_the_webhook_and_keeps_what_comes(
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        receiver.answer_with(Answer(410))
        webhook = account.register(receiver.url)
        account.publish()
        [request] = receiver.wait_for(1)
        delivery_id = request.headers["x-sendcomms-delivery"]
        assert account.delivery_with("waiting", webhook["id"], delivery_id).reason == "gone"
        shown = account.show(webhook["id"])
        assert shown["active"] is False
        assert shown["disabled_reason"] == "gone"
        account.publish(event="email.opened")
        stack.events.wait_until_empty()
        assert len(receiver.requests) == 1
        assert stack.execution_status(delivery_id) is None

    def test_deleting_the_webhook_cancels_its_deliveries(
        self, stack: Stack, account: Account, receiver: Receiver
    ) -> None:
        receiver.answer_with(Answer(500))
        webhook = account.register(receiver.url)
        account.publish()
        [request, *_] = receiver.wait_for(1)
        delivery_id = request.headers["x-sendcomms-delivery"]
        answer = account.call("DELETE", f"/api/v1/webhooks?id={webhook['id']}")
        assert answer.status == 200
        before = len(receiver.requests)
        delivery = account.delivery_with("cancelled", webhook["id"], delivery_id)
        assert delivery.reason == "webhook_deleted"
        stack.wait_for_execution(delivery_id)
        assert len(receiver.requests) == before
        assert stack.dead_letters.matching(about(delivery_id)) == []
