"""A local stack with ConnectSes: SES's records on the event bus become webhooks without code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.aws import aws_client
from local.constants import ACCOUNT, REGION
from local.resources import STACK_NAME
from local.stack import LocalStack, StackOptions
from ops import ses_account
from support.receiver import Receiver
from support.samples import SECRET
from support.stack import Queue, call
from webhooks.domain.event import EventType
from webhooks.domain.ses import SourceKind
from webhooks.domain.signing import sendcomms_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = Path(__file__).parents[2] / "data" / "ses"
DETAIL_TYPES = {
    "send": "Email Sent",
    "delivery": "Email Delivered",
    "bounce": "Email Bounced",
    "complaint": "Email Complaint Received",
    "open": "Email Opened",
    "click": "Email Clicked",
    "deliverydelay": "Email Delivery Delayed",
    "reject": "Email Rejected",
    "rendering_failure": "Email Rendering Failed",
    "subscription": "Email Subscribed",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(StackOptions(parameters={"ConnectSes": "true"})) as stack:
        ses_account.store_of(stack.outputs).put(
            SourceKind.CONFIGURATION_SET, f"{STACK_NAME}_tenant", "acc_demo"
        )
        yield stack


@pytest.fixture
def receiver(stack: LocalStack) -> Iterator[Receiver]:
    """A receiver that is registered for every event of the stack's account."""
    headers = {
        "Authorization": f"Bearer {stack.outputs['ApiKey']}",
        "Content-Type": "application/json",
    }
    with Receiver() as receiver:
        body = json.dumps({"url": receiver.url, "events": ["*"], "secret": SECRET})
        url = stack.outputs["ApiUrl"]
        made = call(url, "POST", "/api/v1/webhooks", headers=headers, body=body)
        assert made.status == 201, made.text
        yield receiver
        call(url, "DELETE", f"/api/v1/webhooks/{made.data['id']}", headers=headers)


def entry(
    name: str, detail_type: str, configuration_set: str, message_id: str, **tags: str
) -> dict[str, Any]:
    """Return SES's entry on the bus for one of its documented records."""
    record: dict[str, Any] = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    record["mail"]["messageId"] = message_id
    record["mail"]["tags"] = {tag: [value] for tag, value in tags.items()}
    return {
        "Source": "aws.ses",
        "DetailType": detail_type,
        "Detail": json.dumps(record),
        "Resources": [f"arn:aws:ses:{REGION}:{ACCOUNT}:configuration-set/{configuration_set}"],
    }


def put(stack: LocalStack, *entries: dict[str, Any]) -> None:
    answer = aws_client("events", stack.outputs["AwsEndpointUrl"]).put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0


def test_each_record_is_delivered(stack: LocalStack, receiver: Receiver) -> None:
    put(
        stack,
        *(
            entry(name, detail_type, STACK_NAME, f"mail-{name}", account_id="acc_demo")
            for name, detail_type in DETAIL_TYPES.items()
        ),
    )

    requests = receiver.wait_for(len(DETAIL_TYPES), timeout=30)
    assert {request.json["data"]["email_id"] for request in requests} == {
        f"mail-{name}" for name in DETAIL_TYPES
    }
    assert {request.json["event"] for request in requests} == set(EventType)
    for request in requests:
        genuine = sendcomms_signature(SECRET, request.body)
        assert request.headers["x-sendcomms-signature"] == genuine


def test_only_mail_of_the_stacks_own_sets_is_taken(stack: LocalStack, receiver: Receiver) -> None:
    def sent(configuration_set: str, message_id: str, **tags: str) -> dict[str, Any]:
        return entry("send", "Email Sent", configuration_set, message_id, **tags)

    put(
        stack,
        sent(f"{STACK_NAME}-other", "mail-of-another-stack", account_id="acc_demo"),
        sent("newsletter", "mail-of-somebody-else", account_id="acc_demo"),
        entry("send", "Email Eaten", STACK_NAME, "mail-eaten", account_id="acc_demo"),
        # No tag names the account; the table of configuration sets does.
        sent(f"{STACK_NAME}_tenant", "mail-of-a-tenant"),
        sent(STACK_NAME, "mail-by-tag", account_id="acc_demo"),
    )
    Queue(
        aws_client("sqs", stack.outputs["AwsEndpointUrl"]), stack.outputs["EventsQueueUrl"]
    ).wait_until_empty()

    found = {request.json["data"]["email_id"] for request in receiver.requests}
    assert found == {"mail-of-a-tenant", "mail-by-tag"}
