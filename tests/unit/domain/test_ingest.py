"""The one way in: the account of each message, and that no text causes another error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.errors import InvalidEventError
from webhooks.domain.ingest import ParsedMessage, read_message
from webhooks.domain.ses import SesAccounts

SES = Path(__file__).parents[2] / "data" / "ses"
SENT_AT_MS = 1766313000123
NATIVE = {"account_id": "acc_1", "event": "email.sent", "data": {"to": "a@example.com"}}
VALIDATION = "Successfully validated SNS topic for Amazon SES event publishing.\n"
REASONS = {
    "not_json",
    "too_deep",
    "not_an_object",
    "unknown_event",
    "no_account",
    "invalid_field",
    "too_large",
    "confirmation",
    "too_many_recipients",
    "too_many_bytes",
}


def read(text: str, account_id: str | None = None) -> ParsedMessage:
    return read_message(
        text,
        sent_at_ms=SENT_AT_MS,
        ses_accounts=SesAccounts(default="acc_ses"),
        account_id=account_id,
    )


def in_sns(text: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": text})


def reason(text: str) -> str:
    with pytest.raises(InvalidEventError) as caught:
        read(text)
    return caught.value.reason


def test_a_native_event_is_one_event() -> None:
    message = read(json.dumps(NATIVE))
    assert [event.account_id for event in message.events] == ["acc_1"]
    assert message.ignored_type is None


def test_a_native_event_may_come_in_snss_envelope() -> None:
    assert read(in_sns(json.dumps(NATIVE))) == read(json.dumps(NATIVE))
    assert read(in_sns(in_sns(json.dumps(NATIVE)))) == read(json.dumps(NATIVE))


def test_native_events_may_come_in_an_array() -> None:
    other = NATIVE | {"event": "email.opened"}
    events = read(json.dumps([NATIVE, other])).events
    assert events == (*read(json.dumps(NATIVE)).events, *read(json.dumps(other)).events)


@pytest.mark.parametrize("path", sorted(SES.glob("*.json")), ids=lambda path: path.stem)
def test_an_ses_record_is_its_events(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    message = read(text)
    assert message.ignored_type is None
    assert [event.account_id for event in message.events] == ["acc_ses"]
    assert read(in_sns(text)) == message


def test_an_api_key_gives_the_account_of_either_kind() -> None:
    native = json.dumps({name: value for name, value in NATIVE.items() if name != "account_id"})
    for text in (native, (SES / "open.json").read_text(encoding="utf-8")):
        assert [event.account_id for event in read(text, "acc_key").events] == ["acc_key"]


@pytest.mark.parametrize("text", [VALIDATION, in_sns(VALIDATION)])
def test_sess_notice_about_a_topic_is_dropped(text: str) -> None:
    assert read(text) == ParsedMessage((), ("topic_validation",))


@pytest.mark.parametrize("detail", [{"state": "DISABLED"}, None])
def test_what_else_ses_puts_on_the_bus_is_dropped(detail: dict[str, str] | None) -> None:
    text = json.dumps({"detail-type": "Sending Status Disabled", "source": "aws.ses"})
    record = json.loads(text) | {"detail": detail}
    assert read(json.dumps(record)) == ParsedMessage((), ("Sending Status Disabled",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not_json"),
        ("hello", "not_json"),
        ("{'a': 1}", "not_json"),
        ('{"a": NaN}', "not_json"),
        ("\ufeff{}", "not_json"),
        ('{"account_id":"acc_1"', "not_json"),
        ("[" * 100_000 + "]" * 100_000, "too_deep"),
        ("[" * 100_000, "too_deep"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ("1" * 5000, "not_an_object"),
        ("{}", "unknown_event"),
        ('{"eventType": "user.created"}', "invalid_field"),
        ('{"event": "email.sent", "eventType": "Send", "account_id": "a"}', "invalid_field"),
        ('{"event": "email.sent"}', "no_account"),
        (
            '{"Type": "SubscriptionConfirmation", "Message": "You have chosen"}',
            "unknown_event",
        ),
        (in_sns("hello"), "not_json"),
        (in_sns(in_sns("hello")), "not_json"),
        (
            '{"Type": "SubscriptionConfirmation", "Token": "a", "Message": "You"}',
            "confirmation",
        ),
        (
            '{"Type": ["SubscriptionConfirmation"], "Token": "a", "Message": "You"}',
            "unknown_event",
        ),
        ('{"Type": {}, "Message": []}', "unknown_event"),
        (json.dumps(NATIVE | {"data": {"to": "a" * 65_536}}), "too_large"),
    ],
    ids=lambda value: value[:40],
)
def test_a_poison_message_has_its_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_numbers_past_every_limit_are_taken_as_javascript_takes_them() -> None:
    text = json.dumps(NATIVE).replace('"to"', f'"a": 1e400, "b": {"9" * 5000}, "c": 1e21, "to"')
    (event,) = read(text).events
    assert event.body.endswith(b'"a":null,"b":null,"c":1e+21,"to":"a@example.com"}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def mostly(value: object) -> st.SearchStrategy[Any]:
    return st.just(value) | JSON


DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "account_id": mostly("acc_1"),
        "event": mostly("email.sent"),
        "data": mostly({"to": "a"}) | st.fixed_dictionaries({"to": mostly("a"), "more": JSON}),
        "timestamp": mostly("2025-12-21T10:30:00Z"),
        "transaction_id": JSON,
        "id": JSON,
    },
)
RECORDS = st.fixed_dictionaries(
    {"eventType": st.sampled_from(["Send", "Bounce", "Click", "Delivery"])},
    optional={
        "mail": st.fixed_dictionaries(
            {"messageId": mostly("m"), "timestamp": mostly("2025-12-21T10:30:00Z")},
            optional={
                "destination": mostly(["a@example.com"]),
                "tags": JSON | st.fixed_dictionaries({"account_id": mostly(["acc_1"])}),
                "commonHeaders": JSON | st.fixed_dictionaries({"from": JSON, "subject": JSON}),
                "source": JSON,
            },
        ),
        "bounce": st.fixed_dictionaries(
            {"timestamp": mostly("2025-12-21T10:30:00Z")},
            optional={"bouncedRecipients": JSON, "bounceType": JSON, "feedbackId": JSON},
        ),
        "click": st.fixed_dictionaries(
            {"timestamp": mostly("2025-12-21T10:30:00Z")}, optional={"link": JSON}
        ),
        "delivery": JSON,
    },
)
BRIDGED = st.fixed_dictionaries(
    {"detail-type": JSON, "detail": RECORDS | JSON, "resources": JSON, "source": mostly("aws.ses")}
)


@given(st.text() | JSON.map(json.dumps) | (DOCUMENTS | RECORDS | BRIDGED).map(json.dumps))
def test_no_text_raises_anything_else(text: str) -> None:
    for one in (text, in_sns(text)):
        try:
            message = read(one)
        except InvalidEventError as error:
            assert error.reason in REASONS
        else:
            assert message.events or message.ignored_type or message.refusals
