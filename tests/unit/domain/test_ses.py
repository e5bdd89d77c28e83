"""Amazon SES's records in their three envelopes, made into events."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from unit.domain.ses_vectors import TABLE, body_of, only, vector
from webhooks.domain.ses import SesAccounts, to_events

SIX = ("send", "delivery", "bounce", "complaint", "open", "click")
OTHERS = {
    "deliverydelay": "email.delivery_delayed",
    "reject": "email.failed",
    "rendering_failure": "email.failed",
    "subscription": "email.unsubscribed",
}
DETAIL_TYPES = {
    "Send": "Email Sent",
    "Delivery": "Email Delivered",
    "Bounce": "Email Bounced",
    "Complaint": "Email Complaint Received",
    "Open": "Email Opened",
    "Click": "Email Clicked",
    "DeliveryDelay": "Email Delivery Delayed",
    "Reject": "Email Rejected",
    "Rendering Failure": "Email Rendering Failed",
    "Subscription": "Email Subscribed",
}


def in_sns(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "483eae4c-4fb0-57e5-a5f9-ff9b08612bef",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:ses",
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(record) + "\n",
        "Timestamp": "2025-12-21T10:30:00.000Z",
    }


def in_eventbridge(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "df1515d9-b441-32ac-346a-8b4d5dd153c6",
        "detail-type": DETAIL_TYPES[record["eventType"]],
        "source": "aws.ses",
        "account": "123456789012",
        "time": "2025-12-21T10:30:00Z",
        "resources": ["arn:aws:ses:us-east-1:123456789012:configuration-set/FromTheArn"],
        "detail": record,
    }


def test_a_bounce_becomes_an_email_bounced_with_what_ses_says_of_it() -> None:
    event = only(vector("bounce"))
    body = body_of(event)
    assert list(body) == ["event", "transaction_id", "timestamp", "data"]
    assert body["event"] == "email.bounced"
    assert body["timestamp"] == event.timestamp == "2017-08-05T00:41:02.669Z"
    assert event.occurred_at_ms == 1501893662669
    assert event.id_fixes_time
    assert list(body["data"].items()) == [
        ("id", "txn_j5yko82k_8626b2bc8d09"),
        ("email_id", "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"),
        ("type", "email"),
        ("status", "bounced"),
        ("to", "recipient@example.com"),
        ("subject", "Message sent from Amazon SES"),
        ("from", "Sender Name <sender@example.com>"),
        (
            "bounce",
            {
                "type": "hard",
                "ses_type": "Permanent",
                "ses_subtype": "General",
                "feedback_id": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
                "reporting_mta": "dsn; mta.example.com",
                "diagnostic": "smtp; 550 5.1.1 user unknown",
                "status": "5.1.1",
                "action": "failed",
            },
        ),
    ]


@pytest.mark.parametrize(
    ("name", "event_type", "timestamp", "detail"),
    [
        ("send", "email.sent", "2016-10-14T05:02:16.645Z", {}),
        (
            "delivery",
            "email.delivered",
            "2016-10-19T23:21:04.133Z",
            {
                "delivery": {
                    "smtp_response": "250 2.6.0 Message received",
                    "processing_time_ms": 11893,
                    "reporting_mta": "mta.example.com",
                }
            },
        ),
        (
            "complaint",
            "email.complained",
            "2017-08-05T00:41:02.669Z",
            {
                "complaint": {
                    "type": "abuse",
                    "arrival_date": "2017-08-05T00:41:02.669Z",
                    "feedback_id": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
                    "user_agent": vector("complaint")["complaint"]["userAgent"],
                }
            },
        ),
        (
            "open",
            "email.opened",
            "2017-08-09T22:00:19.652Z",
            {"open": {"ip": "192.0.2.1", "user_agent": vector("open")["open"]["userAgent"]}},
        ),
        (
            "click",
            "email.clicked",
            "2017-08-09T23:51:25.570Z",
            {
                "click": {
                    "link": vector("click")["click"]["link"],
                    "link_tags": {"samplekey0": ["samplevalue0"], "samplekey1": ["samplevalue1"]},
                    "ip": "192.0.2.1",
                    "user_agent": vector("click")["click"]["userAgent"],
                }
            },
        ),
    ],
)
def test_each_type_has_its_event_its_own_time_and_its_detail(
    name: str, event_type: str, timestamp: str, detail: dict[str, Any]
) -> None:
    body = body_of(only(vector(name)))
    assert (body["event"], body["timestamp"]) == (event_type, timestamp)
    common = {"id", "email_id", "type", "status", "to", "subject", "from", "tags"}
    assert {key: value for key, value in body["data"].items() if key not in common} == detail


@pytest.mark.parametrize("name", [*SIX, *OTHERS])
def test_one_record_is_one_event_in_any_envelope(name: str) -> None:
    record = vector(name)
    bare = only(record)
    assert only(in_sns(record)) == bare
    assert only(in_eventbridge(record)) == bare
    assert only(in_sns(in_eventbridge(record))) == bare


def test_all_types_of_one_email_share_its_ids_and_have_each_a_transaction_of_its_own() -> None:
    records = [vector(name) for name in (*SIX, "deliverydelay", "reject")]
    for record in records:
        record["mail"]["timestamp"] = "2016-10-14T05:02:16.645Z"
    events = [only(record) for record in records]
    assert len({event.id for event in events}) == 8
    assert len({event.transaction_id for event in events}) == 8
    for event in events:
        prefix, time, digits = event.transaction_id.split("_")
        assert (prefix, int(time, 36), len(digits)) == ("txn", event.occurred_at_ms, 12)
    [data_id] = {body_of(event)["data"]["id"] for event in events}
    assert data_id == "txn_iu9b56bp_8626b2bc8d09"
    assert len({body_of(event)["data"]["email_id"] for event in events}) == 1


def test_another_email_has_other_ids() -> None:
    other = vector("send")
    other["mail"]["messageId"] = "another"
    assert only(other).transaction_id != only(vector("send")).transaction_id
    ids = {body_of(only(record))["data"]["id"] for record in (other, vector("send"))}
    assert len(ids) == 2


@pytest.mark.parametrize(("name", "event_type"), OTHERS.items())
def test_types_beyond_the_six_have_their_events(name: str, event_type: str) -> None:
    assert only(vector(name)).type == event_type


@pytest.mark.parametrize("name", ["Received", "SomethingNew"])
def test_other_types_are_no_events(name: str) -> None:
    record = vector("send") | {"eventType": name}
    assert to_events(record) == []
    assert to_events(in_sns(record)) == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("send", ("mail", "destination")),
        ("delivery", ("delivery", "recipients")),
        ("bounce", ("bounce", "bouncedRecipients")),
        ("complaint", ("complaint", "complainedRecipients")),
    ],
)
def test_each_recipient_has_an_event(name: str, path: tuple[str, str]) -> None:
    record = vector(name)
    first = record[path[0]][path[1]][0]
    second = {"emailAddress": "b@example.com"} if isinstance(first, dict) else "b@example.com"
    record[path[0]][path[1]] = [first, second, copy.copy(first)]
    events = to_events(record)
    recipients = [body_of(event)["data"]["to"] for event in events]
    assert recipients == ["recipient@example.com", "b@example.com"]
    assert len({event.id for event in events}) == 2
    assert events[0] == only(vector(name))


def test_a_recipients_diagnostic_is_its_own() -> None:
    record = vector("bounce")
    record["bounce"]["bouncedRecipients"].append({"emailAddress": "b@example.com"})
    first, second = (body_of(event)["data"]["bounce"] for event in to_events(record))
    assert first["diagnostic"] == "smtp; 550 5.1.1 user unknown"
    assert "diagnostic" not in second


@pytest.mark.parametrize("name", ["open", "click"])
def test_who_opened_or_clicked_is_not_guessed(name: str) -> None:
    record = vector(name)
    record["mail"]["destination"] = ["a@example.com", "b@example.com"]
    assert body_of(only(record))["data"]["to"] == ["a@example.com", "b@example.com"]


def test_two_clicks_on_two_links_at_one_moment_are_two_events() -> None:
    other = vector("click")
    other["click"]["link"] = "https://example.com/other"
    assert only(other).id != only(vector("click")).id


def test_two_bounces_with_two_feedback_ids_are_two_events() -> None:
    other = vector("bounce")
    other["bounce"]["feedbackId"] = "another"
    assert only(other).id != only(vector("bounce")).id


def test_an_email_opened_again_is_another_event() -> None:
    other = vector("open")
    other["open"]["timestamp"] = "2017-08-09T22:00:20.000Z"
    assert only(other).id != only(vector("open")).id


@pytest.mark.parametrize(
    ("ses_type", "expected"),
    [("Permanent", "hard"), ("Transient", "soft"), ("Undetermined", "soft"), ("New", "soft")],
)
def test_only_a_permanent_bounce_is_hard(ses_type: str, expected: str) -> None:
    record = vector("bounce")
    record["bounce"] |= {"bounceType": ses_type, "bounceSubType": "BrandNewSubtype"}
    bounce = body_of(only(record))["data"]["bounce"]
    assert bounce["type"] == expected
    assert (bounce["ses_type"], bounce["ses_subtype"]) == (ses_type, "BrandNewSubtype")


def test_the_account_is_the_tag_then_the_table_then_the_default() -> None:
    record = vector("delivery")
    assert only(record).account_id == "default"
    assert only(record, SesAccounts(default="acc_default")).account_id == "acc_default"
    assert only(record, TABLE).account_id == "acc_table"
    record["mail"]["tags"]["account_id"] = ["acc_tag"]
    assert only(record, TABLE).account_id == "acc_tag"


def test_the_table_reads_eventbridges_resources_too() -> None:
    record = vector("eventbridge_open")
    assert only(record, TABLE).account_id == "acc_bridge"
    del record["detail"]["mail"]["tags"]["ses:configuration-set"]
    assert only(record, TABLE).account_id == "acc_bridge"
    record["resources"] = [17, "arn:aws:ses:us-east-1:123456789012:identity/example.com"]
    assert only(record, TABLE).account_id == "acc_default"


def test_an_api_keys_account_owns_the_events_under_any_tags() -> None:
    record = vector("send")
    record["mail"]["tags"]["account_id"] = ["acc_tag"]
    assert [event.account_id for event in to_events(record, account_id="acc_key")] == ["acc_key"]


def test_the_users_tags_are_passed_on_without_ours_and_without_amazons() -> None:
    record = vector("send")
    record["mail"]["tags"] |= {"account_id": ["acc_1"], "transaction_id": ["order 17"], "odd": 1}
    event = only(record)
    body = body_of(event)
    assert body["data"]["id"] == "order 17"
    assert event.transaction_id == body["transaction_id"] != "order 17"
    assert body["data"]["tags"] == {
        "myCustomTag1": ["myCustomTagValue1"],
        "myCustomTag2": ["myCustomTagValue2"],
    }


def test_identity_feedback_is_read_like_event_publishing() -> None:
    record = vector("bounce")
    expected = only(record).id
    record["notificationType"] = record.pop("eventType")
    del record["mail"]["tags"], record["mail"]["headers"], record["mail"]["commonHeaders"]
    event = only(record)
    assert event.id == expected
    data = body_of(event)["data"]
    assert data["from"] == "Sender Name <sender@example.com>"
    assert "subject" not in data


def test_recipients_that_a_record_does_not_list_are_the_emails() -> None:
    record = vector("delivery")
    del record["delivery"]["recipients"]
    assert body_of(only(record))["data"]["to"] == "recipient@example.com"


def test_the_notice_that_a_topic_was_subscribed_is_no_event() -> None:
    notice = {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have"}
    assert to_events(notice) == []
    validation = "Successfully validated SNS topic for Amazon SES event publishing."
    assert to_events({"Type": "Notification", "Message": validation}) == []
