"""Rows 1 to 6: messages that cannot be processed, and messages that only look unprocessable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from faults import log_capture
from support.faults import refused
from webhooks.domain.delivery import Status
from webhooks.wiring.dispatcher import DispatcherServices

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

FULL = '"account_id": "%s", "event": "email.sent", "data": {"to": "a@example.com"}'


def assert_dead_lettered(tenant: Tenant, message: str, reason: str) -> None:
    """Assert that it is dead-lettered at once with its reason, and never received again."""
    assert tenant.dispatch(message) == []
    assert tenant.rejected() == {message: reason}
    assert tenant.deliveries() == []
    assert f'"reason":"{reason}"' in tenant.log.text


@pytest.mark.parametrize("message", ["{", "email.sent", "\ufeff{}", '{"a": 1} {"b": 2}'])
def test_row_01_a_body_that_is_not_json_is_dead_lettered_at_once(
    tenant: Tenant, message: str
) -> None:
    assert_dead_lettered(tenant, message, "not_json")


def test_row_01_poison_that_cannot_be_dead_lettered_stays_in_the_queue(tenant: Tenant) -> None:
    tenant.harness.faults.on("SendMessage", refused("ServiceUnavailable", 503), about="broken")
    assert tenant.dispatch("{broken") == ["m0"]
    tenant.harness.faults.clear()
    assert_dead_lettered(tenant, "{broken", "not_json")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": None}, "no_account"),
        ({"account_id": 7}, "invalid_field"),
        ({"event": None}, "unknown_event"),
        ({"data": None}, "invalid_field"),
        ({"id": "with spaces"}, "invalid_field"),
        ({"timestamp": "yesterday"}, "invalid_field"),
        ({"extra": True}, "invalid_field"),
    ],
)
def test_row_02_json_of_another_shape_is_dead_lettered_and_counted_by_its_reason(
    tenant: Tenant, receiver: MakeReceiver, changes: dict[str, object], reason: str
) -> None:
    tenant.webhook(receiver())
    document = json.loads(tenant.message()) | changes
    message = json.dumps({name: value for name, value in document.items() if value is not None})
    assert_dead_lettered(tenant, message, reason)
    metric = "Rejected" + "".join(word.capitalize() for word in reason.split("_"))
    assert f'"{metric}":[1.0]' in tenant.log.text


@pytest.mark.parametrize("event", ["email.lost", "EMAIL.SENT", "", 7, ["email.sent"], {}])
def test_row_03_an_unknown_event_is_dead_lettered(
    tenant: Tenant, receiver: MakeReceiver, event: object
) -> None:
    tenant.webhook(receiver())
    assert_dead_lettered(tenant, tenant.message(event=event), "unknown_event")


@pytest.mark.parametrize(
    "text", ["\ud800", "\udfff\ud800", "\x00", "\ufffe", "\uffff", "\u2028", "\x7f"]
)
@pytest.mark.parametrize("enveloped", [False, True], ids=["bare", "from SNS"])
def test_row_04_odd_characters_are_delivered_as_javascript_writes_them(
    tenant: Tenant, receiver: MakeReceiver, text: str, enveloped: bool
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    message = tenant.message(data={"subject": text})
    if enveloped:
        notification = {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "MessageId": "1"}
        message = json.dumps({**notification, "Message": message})
    assert tenant.dispatch(message) == []
    [request] = hook.requests
    assert request.json["data"]["subject"] == text
    assert tenant.delivery().body == request.body


@pytest.mark.parametrize("field", ["account_id", "transaction_id", "id", "event", "timestamp"])
def test_row_04_odd_characters_where_no_text_is_free_are_dead_lettered(
    tenant: Tenant, field: str
) -> None:
    message = tenant.message(**{field: "\ud800\x00"})
    assert_dead_lettered(tenant, message, "unknown_event" if field == "event" else "invalid_field")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_row_05_what_only_python_calls_json_is_dead_lettered(tenant: Tenant, number: str) -> None:
    message = tenant.message()[:-2] + f', "n": {number}' + "}}"
    assert_dead_lettered(tenant, message, "not_json")


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_row_05_five_thousand_levels_are_dead_lettered(tenant: Tenant, brackets: str) -> None:
    opening, closing = brackets[:-1], brackets[-1]
    deep = opening * 5000 + "1" + closing * 5000
    assert_dead_lettered(tenant, tenant.message()[:-2] + f', "n": {deep}' + "}}", "too_deep")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("1" + "0" * 400, "null"),
        ("1e400", "null"),
        ("-1e400", "null"),
        ("12345678901234567890", "12345678901234567000"),
        ("1" + "0" * 21, "1e+21"),
        ('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}'),
    ],
    ids=["400 digits", "1e400", "-1e400", "past 2^53", "10^21", "duplicate keys"],
)
def test_row_05_numbers_and_keys_are_what_javascript_makes_of_them(
    tenant: Tenant, receiver: MakeReceiver, written: str, sent: str
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    assert tenant.dispatch(tenant.message()[:-2] + f', "n": {written}' + "}}") == []
    assert hook.requests[0].body.endswith(f',"n":{sent}}}}}'.encode())
    assert tenant.delivery().status is Status.SUCCEEDED


def twice(message: str, field: str, value: object) -> str:
    """Return a message with a duplicate field: this value first, and its own later."""
    return "{" + f"{json.dumps(field)}: {json.dumps(value)}, " + message[1:]


@pytest.mark.parametrize(
    ("field", "first"),
    [
        ("account_id", "acc_of_another"),
        ("account_id", 7),
        ("event", "email.opened"),
        ("event", "no_event"),
        ("data", {"to": "another@example.com", "subject": "Another", "left": "over"}),
        ("data", "no object"),
    ],
    ids=str,
)
def test_row_05_of_a_field_that_comes_twice_the_last_counts(
    tenant: Tenant, receiver: MakeReceiver, field: str, first: object
) -> None:
    """It is exactly the event without the first value: it has its id, and is not sent again."""
    hook = receiver()
    tenant.webhook(hook)
    message = tenant.message()
    assert tenant.dispatch(twice(message, field, first)) == []
    [request] = hook.requests
    assert request.json["event"] == json.loads(message)["event"]
    # Of the first `data` nothing is left, and nothing of the two is merged.
    assert request.json["data"].items() >= json.loads(message)["data"].items()
    assert "left" not in request.json["data"]

    assert tenant.dispatch(message) == []
    assert len(hook.requests) == 1
    assert tenant.delivery().status is Status.SUCCEEDED
    assert '"event_conflict"' not in tenant.log.text


def test_row_05_an_account_that_comes_twice_is_the_last_one_alone(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    before = len(tenant.harness.bystander.requests)
    assert tenant.dispatch(twice(tenant.message(), "account_id", tenant.bystander)) == []
    assert len(hook.requests) == 1
    # Its own message of the batch alone.
    assert len(tenant.harness.bystander.requests) == before + 1

    message = tenant.message("txn_2", account_id=tenant.bystander)
    for _ in range(2):
        assert tenant.dispatch(twice(message, "account_id", tenant.account)) == []
    assert len(hook.requests) == 1
    # That event once, and its own message of each of the batches.
    assert len(tenant.harness.bystander.requests) == before + 1 + 1 + 2


@pytest.mark.parametrize(
    ("field", "last", "reason"),
    [
        ("account_id", None, "no_account"),
        ("event", "no_event", "unknown_event"),
        ("data", "no object", "invalid_field"),
    ],
)
def test_row_05_a_field_whose_last_value_is_none_is_dead_lettered(
    tenant: Tenant, receiver: MakeReceiver, field: str, last: object, reason: str
) -> None:
    tenant.webhook(receiver())
    message = tenant.message()[:-1] + f', "{field}": {json.dumps(last)}}}'
    assert_dead_lettered(tenant, message, reason)


@pytest.mark.parametrize("size", [70_000, 100_000, 260_000, 900_000])
def test_row_06_a_payload_past_the_limit_is_dead_lettered_whole(
    tenant: Tenant, receiver: MakeReceiver, size: int
) -> None:
    tenant.webhook(receiver())
    assert_dead_lettered(tenant, tenant.message(data={"text": "x" * size}), "too_large")


def test_row_06_a_message_that_leaves_no_room_for_its_reason_is_dead_lettered_without(
    tenant: Tenant,
) -> None:
    message = tenant.message(data={"text": ""})
    message = message.replace('"text": ""', '"text": "' + "x" * ((1 << 20) - len(message)) + '"')
    assert len(message) == 1 << 20
    assert tenant.dispatch(message) == []
    assert tenant.rejected() == {message: None}
    assert '"reason":"too_large"' in tenant.log.text
    assert tenant.deliveries() == []


def test_row_06_the_largest_payload_that_is_taken_is_written_whole(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    hook = receiver()
    tenant.webhook(hook)
    room = 65_536 - len(hook_body(tenant, hook))
    assert tenant.dispatch(tenant.message("txn_2", data={"text": "\U0001f4e7" * (room // 4)})) == []
    assert 65_530 < len(hook.requests[-1].body) <= 65_536
    assert {one.status for one in tenant.deliveries()} == {Status.SUCCEEDED}
    assert hook.requests[-1].body in {one.body for one in tenant.deliveries()}


def hook_body(tenant: Tenant, hook: Receiver) -> bytes:
    """Return the body of an event like the largest, but without its text."""
    assert tenant.dispatch(tenant.message(data={"text": ""})) == []
    return hook.requests[0].body


def test_the_watch_sees_what_a_function_says(tenant: Tenant) -> None:
    telemetry = tenant.harness.services(DispatcherServices).telemetry
    telemetry.log("warning", "a line", field=log_capture.SECRET)
    print(log_capture.RECIPIENT)
    tenant.log.raised(ValueError(log_capture.URL_TOKEN))
    expected = ["the webhook's secret", "the token in the webhook's url", "the recipient's address"]
    assert tenant.log.leaks() == expected
    tenant.log.forget()
