"""Captured records, and the events made of each."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from support.service_fixture import ServiceFixture
from support.ses_records import (
    ACCOUNTS,
    DATA,
    FOLDER,
    NAMES,
    bare,
    read,
    text_of,
    told,
    validate,
    with_odd,
)
from webhooks.domain.event import EventType
from webhooks.domain.ingest import ParsedMessage
from webhooks.domain.ses import SesAccounts, to_events

IDS: dict[str, dict[str, Any]] = json.loads((DATA / "ses_event_ids.json").read_text("utf-8"))
WITH_A_CLIENT = {EventType.OPENED, EventType.CLICKED}
NO_COMPLAINTS = {"complaint-auth-failure"}


def expected_of(name: str) -> dict[str, Any]:
    document = json.loads((FOLDER / f"{name}.expected.json").read_text(encoding="utf-8"))
    expected: dict[str, Any] = document["expected"]
    return expected


def at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize("name", NAMES)
def test_a_record_becomes_what_is_expected_of_it(name: str) -> None:
    expected = expected_of(name)
    message = read(text_of(name))
    assert not message.refusals
    if "ignored" in expected:
        assert message == ParsedMessage(ignored_types=(expected["ignored"],))
        return
    found = [told(event) for event in message.events]
    wanted = expected["events"]
    if isinstance(wanted, str):
        wanted = [told(event) for one in json.loads(text_of(name)) for event in to_events(one)]
        wanted = [{"event": one["event"], "to": one["to"]} for one in wanted]
        assert wanted
    assert len(found) == len(wanted)
    for event, want in zip(found, wanted, strict=True):
        assert {field: event[field] for field in want} == want
        for path, value in expected.get("and_each_has", {}).items():
            assert at(event, path) == value
    assert len(message.ignored_types) == (0 if found else 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_dispatcher_sends_what_is_expected_of_a_record(name: str) -> None:
    services = ServiceFixture(ses_accounts=ACCOUNTS)
    for number, account_id in enumerate(("acc_shop", "acc_default"), start=1):
        services.add(number, account_id=account_id, events=("*",))
    assert services.send(text_of(name)) == []
    assert services.rejected.messages == []
    sent = sorted(body for _, body, _ in services.sender.posts)
    assert sent == sorted(event.body for event in read(text_of(name)).events)
    assert services.telemetry.counts.get("IgnoredEvents", 0) == (0 if sent else 1)


@pytest.mark.parametrize("name", sorted(IDS))
def test_an_events_id_is_what_it_was_before_transaction_ids_were_its_own(name: str) -> None:
    events = read(text_of(name)).events
    if name in NO_COMPLAINTS:
        assert not events
        return
    assert {json.loads(event.body)["data"]["id"] for event in events} == {IDS[name]["data_id"]}
    ids = [event.id for event in events]
    assert (ids == IDS[name]["ids"]) == (events[0].type not in WITH_A_CLIENT)


def test_an_open_that_names_no_client_has_the_id_that_it_had() -> None:
    record = bare("open-google-proxy")
    record["open"] |= {"ipAddress": None, "userAgent": None}
    [event] = to_events(record)
    assert event.id == IDS["open-google-proxy"]["ids"][0]


@pytest.mark.parametrize("name", NAMES)
def test_every_event_fits_the_schema_of_its_type(name: str) -> None:
    for event in read(text_of(name)).events:
        validate(event)


def test_a_receiver_that_goes_by_the_transaction_id_loses_nothing() -> None:
    """The mails are one: sent to two, delivered to one, bounced by the other, opened by two."""
    texts = []
    for name in ("bounce-two-recipients", "delivery-eventbridge", "open-several-recipients"):
        texts.append(bare(name))
    texts += [copy.deepcopy(texts[0]), copy.deepcopy(texts[2])]
    texts[3] = {"eventType": "Send", "send": {}, "mail": texts[3]["mail"]}
    texts[4]["open"]["ipAddress"] = "192.0.2.9"
    for record in texts:
        record["mail"]["messageId"] = "one-mail"
    events = [event for record in texts for event in to_events(record)]
    assert len(events) == 2 + 1 + 1 + 2 + 1
    assert len({event.transaction_id for event in events}) == len(events)
    assert len({event.id for event in events}) == len(events)
    told_ids = [json.loads(event.body)["data"] for event in events]
    assert len({(data["id"], data["email_id"]) for data in told_ids}) == 1
    for event in events:
        prefix, time, digits = event.transaction_id.split("_")
        assert (prefix, int(time, 36)) == ("txn", event.occurred_at_ms)
        assert re.fullmatch("[0-9a-f]{12}", digits)
    assert [to_events(record) for record in texts] == [to_events(record) for record in texts]


@pytest.mark.parametrize(
    ("subtype", "suppressed"),
    [
        ("Suppressed", True),
        ("OnAccountSuppressionList", True),
        ("OnTenantSuppressionList", True),
        ("EmailValidationSuppressed", True),
        ("UnsubscribedRecipient", True),
        ("General", None),
        ("NoEmail", None),
        ("BrandNew", None),
    ],
)
def test_a_bounce_of_what_was_never_sent_says_so(subtype: str, suppressed: bool | None) -> None:
    record = bare("bounce-suppressed-global")
    record["bounce"]["bounceSubType"] = subtype
    bounce = json.loads(to_events(record)[0].body)["data"]["bounce"]
    assert bounce.get("suppressed") is suppressed
    assert (bounce["type"], bounce["ses_subtype"]) == ("hard", subtype)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("bounce", "bounceType"), "Permanent"),
        (("bounce", "bounceType"), "Undetermined"),
        (("bounce", "bounceSubType"), "MailboxFull"),
        (("bounce", "reportingMTA"), "dns; a7.example"),
        (("bounce", "remoteMtaIp"), "203.0.113.25"),
        (("bounce", "bouncedRecipients", 0, "status"), "5.1.1"),
        (("bounce", "bouncedRecipients", 0, "diagnosticCode"), "smtp; 550"),
    ],
)
def test_only_what_no_server_reports_on_is_an_auto_reply(path: tuple[Any, ...], value: str) -> None:
    record = bare("bounce-out-of-office")
    assert json.loads(to_events(record)[0].body)["data"]["bounce"]["auto_reply"] is True
    bounce = json.loads(to_events(with_odd(record, path, value))[0].body)["data"]["bounce"]
    assert "auto_reply" not in bounce


@pytest.mark.parametrize(
    ("said", "bot"),
    [("Likely", "likely"), ("Unlikely", "unlikely"), ("likely", "likely"), ("Perhaps", None)]
    + [(odd, None) for odd in (None, True, 1, ["Likely"], "")],
)
def test_a_records_bot_flag_is_passed_on_and_nothing_assumed(said: object, bot: str | None) -> None:
    for name, part in (("open-google-proxy", "open"), ("click-link-tags", "click")):
        record = bare(name)
        record[part]["isBotEvent"] = said
        assert json.loads(to_events(record)[0].body)["data"][part].get("bot") == bot


@pytest.mark.parametrize("field", ["ipAddress", "userAgent"])
@pytest.mark.parametrize(
    ("name", "part"), [("open-several-recipients", "open"), ("click-link-tags", "click")]
)
def test_two_clients_in_one_second_are_two_events(name: str, part: str, field: str) -> None:
    record = bare(name)
    other = with_odd(record, (part, field), "another")
    [first], [second] = to_events(record), to_events(other)
    assert first.id != second.id
    assert first.transaction_id != second.transaction_id
    assert first.occurred_at_ms == second.occurred_at_ms


@pytest.mark.parametrize(
    ("feedback", "counted"),
    [
        ("not-spam", "IgnoredNotSpam"),
        ("Not-Spam", "IgnoredNotSpam"),
        ("auth-failure", "IgnoredAuthFailure"),
        ("abuse", None),
        ("fraud", None),
        ("virus", None),
        ("other", None),
        (None, None),
        (17, None),
    ],
)
def test_feedback_without_a_complaint_is_counted_and_dropped(
    feedback: object, counted: str | None
) -> None:
    record = with_odd(bare("complaint-yahoo"), ("complaint", "complaintFeedbackType"), feedback)
    services = ServiceFixture(ses_accounts=SesAccounts(default="acc_1"))
    services.add(events=("*",))
    assert services.send(json.dumps(record)) == []
    assert len(services.sender.posts) == (0 if counted else 1)
    assert services.telemetry.counts.get(str(counted), 0) == (1 if counted else 0)
    assert services.telemetry.counts.get("IgnoredEvents", 0) == (1 if counted else 0)


def topics(**statuses: str) -> list[dict[str, str]]:
    return [{"topicName": name, "subscriptionStatus": one} for name, one in statuses.items()]


@pytest.mark.parametrize(
    ("new", "old", "told_of"),
    [
        ({"unsubscribeAll": True}, {}, {"all": True, "topics": []}),
        (
            {
                "unsubscribeAll": False,
                "topicSubscriptionStatus": topics(news="OptOut", ads="OptIn"),
            },
            {"topicSubscriptionStatus": topics(news="OptIn", ads="OptIn")},
            {"all": False, "topics": ["news"]},
        ),
        # Subscribing, or an unchanged state, is not unsubscribing.
        (
            {"unsubscribeAll": False, "topicSubscriptionStatus": topics(news="OptIn")},
            {"topicSubscriptionStatus": topics(news="OptOut")},
            None,
        ),
        ({"unsubscribeAll": False}, {"unsubscribeAll": True}, None),
        # An unreadable preference needs the link most.
        (None, None, {"all": False, "topics": []}),
    ],
)
def test_unsubscribing_is_an_event_and_subscribing_is_not(
    new: object, old: object, told_of: dict[str, Any] | None
) -> None:
    record = bare("subscription-unsubscribed")
    record["subscription"] |= {"newTopicPreferences": new, "oldTopicPreferences": old}
    message = read(json.dumps(record))
    if told_of is None:
        assert message == ParsedMessage(ignored_types=("Subscription",))
        return
    subscription = json.loads(message.events[0].body)["data"]["subscription"]
    assert subscription == {
        "contact_list": "customers",
        "source": "UnsubscribeHeader",
        **told_of,
    }


def test_a_rejected_mail_has_failed_for_each_recipient() -> None:
    record = bare("send-eventbridge")
    record |= {"eventType": "Reject", "reject": {"reason": "Bad content"}}
    record["mail"]["destination"] = ["ada@customer.example", "bert@customer.example"]
    events = to_events(record)
    assert [told(event)["to"] for event in events] == record["mail"]["destination"]
    for event in events:
        assert event.type is EventType.FAILED
        data = json.loads(event.body)["data"]
        assert data["failure"] == {"type": "rejected", "reason": "Bad content"}
        assert event.timestamp == record["mail"]["timestamp"]


def test_the_message_id_and_the_requested_headers_are_passed_on() -> None:
    record = bare("delivery-eventbridge")
    record["mail"]["headers"] = [
        {"name": "message-id", "value": "<17@shop.example>"},
        {"name": "X-Order-ID", "value": "1042"},
        {"name": "X-Order-Id", "value": "again"},
        {"name": "X-Secret", "value": "s"},
        {"name": "List-Id"},
        None,
        "text",
    ]
    [event] = to_events(record, headers=("X-Order-Id", "List-Id", "X-Absent"))
    data = json.loads(event.body)["data"]
    assert data["message_id"] == "<17@shop.example>"
    assert data["headers"] == {"X-Order-Id": "1042"}
    assert b"X-Secret" not in event.body
    record["mail"]["headers"] = None
    record["mail"]["commonHeaders"]["messageId"] = "<18@shop.example>"
    data = json.loads(to_events(record)[0].body)["data"]
    assert data["message_id"] == "<18@shop.example>"
    assert "headers" not in data


def test_of_ses_own_tags_the_tenant_and_the_feedback_ids_go_through() -> None:
    record = bare("delivery-eventbridge")
    record["mail"]["tags"] |= {
        "ses:tenant-name": ["acme"],
        "ses:feedback-id-a": ["autumn"],
        "ses:feedback-id-b": ["b"],
        "order": ["1042"],
    }
    tags = json.loads(to_events(record)[0].body)["data"]["tags"]
    assert tags == {
        "ses:tenant-name": ["acme"],
        "ses:feedback-id-a": ["autumn"],
        "ses:feedback-id-b": ["b"],
        "order": ["1042"],
    }
