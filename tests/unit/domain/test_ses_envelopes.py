"""Arrays of records and SNS's envelopes around them: each is read like a single record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.service_fixture import ServiceFixture
from support.ses_records import ACCOUNTS, NAMES, bare, read, text_of
from webhooks.domain.errors import InvalidEventError
from webhooks.domain.ses import SesAccounts, to_events


def in_sns(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": text})


def test_an_arrays_records_are_read_as_if_each_had_come_alone() -> None:
    documents: list[Any] = [json.loads(text_of(name)) for name in NAMES if "pipe" not in name]
    alone = [read(json.dumps(one)) for one in documents]
    found = read(json.dumps(documents))
    assert found.events == tuple(event for one in alone for event in one.events)
    assert found.ignored_types == tuple(name for one in alone for name in one.ignored_types)
    assert not found.refusals
    assert read(in_sns(documents)) == found
    assert to_events(documents, accounts=ACCOUNTS) == list(found.events)


def test_what_is_wrong_in_an_array_costs_that_document() -> None:
    good = bare("delivery-eventbridge")
    bad = {"eventType": "Bounce", "mail": 17}
    services = ServiceFixture(ses_accounts=SesAccounts(default="acc_1"))
    services.add(events=("*",))
    assert services.send(json.dumps([bad, good, 17, [good], {"event": "email.lost"}])) == []
    assert len(services.sender.posts) == 1
    assert [(one.reason, json.loads(one.body)) for one in services.rejected.messages] == [
        ("invalid_field", bad),
        ("not_an_object", 17),
        ("not_an_object", [good]),
        ("unknown_event", {"event": "email.lost"}),
    ]
    assert services.telemetry.counts["RejectedMessages"] == 4
    assert len(to_events([bad, good])) == 1
    with pytest.raises(InvalidEventError, match="mail"):
        to_events([bad, bad])


def test_a_text_of_json_in_an_array_is_read() -> None:
    texts = [text_of(name) for name in NAMES if "pipe" not in name]
    alone = [read(text) for text in texts]
    found = read(json.dumps(texts))
    assert found.events == tuple(event for one in alone for event in one.events)
    assert not found.refusals
    native = json.dumps({"account_id": "a", "event": "email.sent", "data": {"to": "b"}})
    assert read(json.dumps([native, in_sns(native)])).events == read(native).events * 2
    assert read(json.dumps(native)).events == read(native).events


@pytest.mark.parametrize("as_text", [True, False])
def test_an_envelope_in_an_array_may_hold_an_array(as_text: bool) -> None:
    documents = [json.loads(text_of(name)) for name in NAMES if "pipe" not in name]
    whole = read(json.dumps(documents))
    half = len(documents) // 2
    halves = [
        {"Type": "Notification", "Message": json.dumps(some) if as_text else some}
        for some in (documents[:half], documents[half:])
    ]
    found = read(json.dumps(halves))
    assert found.events == whole.events
    assert found.ignored_types == whole.ignored_types
    assert not found.refusals
    assert read(in_sns([in_sns(halves[:1]), json.dumps(halves[1:])])).events == whole.events
    assert to_events(halves, accounts=ACCOUNTS) == list(whole.events)


def test_what_is_wrong_in_an_array_in_an_envelope_is_that_document() -> None:
    good, bad = bare("delivery-eventbridge"), {"eventType": "Bounce", "mail": 17}
    found = read(json.dumps([{"Type": "Notification", "Message": [good, bad]}, "{", "hello", [1]]))
    assert len(found.events) == 1
    assert [(one.error.reason, json.loads(one.body or "")) for one in found.refusals] == [
        ("invalid_field", bad),
        ("not_json", "{"),
        ("not_an_object", "hello"),
        ("not_an_object", [1]),
    ]


@given(st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_sns_may_have_been_put_around_sns(times: int) -> None:
    text = text_of("delivery-eventbridge")
    whole = read(text)
    for _ in range(times):
        text = in_sns(text)
    assert read(text) == whole
    # Software that reads messages on their way may have made an object of the envelope's text.
    document = {"Type": "Notification", "Message": json.loads(text)}
    assert read(json.dumps(document)) == whole
    assert read(in_sns(in_sns("Successfully validated SNS topic for Amazon SES event publishing.")))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_asking_for_a_confirmation_is_refused_with_what_to_do(kind: str) -> None:
    document = {
        "Type": kind,
        "MessageId": "1",
        "Token": "2336412f37fb",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:ses-events",
        "Message": "You have chosen to subscribe to the topic",
        "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
    }
    for text in (json.dumps(document), in_sns(document)):
        with pytest.raises(InvalidEventError) as caught:
            read(text)
        assert caught.value.reason == "confirmation"
        assert kind in caught.value.message
        assert "aws sns confirm-subscription" in caught.value.message
        assert "2336412f37fb" not in str(caught.value)
        assert "SubscribeURL" not in str(caught.value)
