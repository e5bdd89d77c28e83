"""An owner's daily work with a webhook, through the running stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support.receiver import Answer
from support.stack import ROOT, eventually
from webhooks.domain.signing import sendcomms_signature

if TYPE_CHECKING:
    from support.receiver import Receiver, Request
    from support.stack import Account, Stack

WEBHOOKS = "/api/v1/webhooks"


def log(account: Account, webhook_id: str, query: str = "") -> list[dict[str, Any]]:
    answer = account.call("GET", f"{WEBHOOKS}/{webhook_id}/deliveries?{query}")
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.data
    return found


def logged(account: Account, webhook_id: str, query: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until that many deliveries match, and return them."""

    def look() -> list[dict[str, Any]] | None:
        found = log(account, webhook_id, query)
        return found if len(found) == count else None

    return eventually(look, f"{count} deliveries with {query}")


def test_a_changed_webhook_is_sent_what_it_now_asks_for_with_its_headers(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url, ["email.sent"])
    path = f"{WEBHOOKS}/{webhook['id']}"
    changes = {
        "url": f"{receiver.url}/moved",
        "events": ["email.opened"],
        "description": "moved",
        "headers": {"X-Team": "billing"},
    }
    changed = account.call("PATCH", path, json=changes)
    assert changed.status == 200, changed.text
    assert changed.data["header_names"] == ["X-Team"]
    assert account.show(webhook["id"]) == changed.data

    account.publish(event="email.sent")
    account.publish(event="email.opened")
    [request] = receiver.wait_for(1)
    assert (request.path, request.headers["x-team"]) == ("/hook/moved", "billing")
    assert request.json["event"] == "email.opened"

    assert account.call("PATCH", path, json={"active": False, "headers": None}).status == 200
    account.publish(event="email.opened", transaction_id="txn_while_off")
    [waiting] = logged(account, webhook["id"], "status=waiting")
    assert waiting["transaction_id"] == "txn_while_off"
    refused = account.call("POST", f"{path}/deliveries/{waiting['id']}/resend")
    assert (refused.status, refused.error["code"]) == (409, "webhook_disabled")
    stack.events.wait_until_empty()
    assert len(receiver.requests) == 1


def test_a_rotation_misses_nothing_whenever_the_receiver_swaps(
    account: Account, receiver: Receiver
) -> None:
    known: list[str] = []

    def check(request: Request) -> Answer:
        genuine = sendcomms_signature(known[-1], request.body)
        return Answer(200 if request.headers["x-sendcomms-signature"] == genuine else 403)

    receiver.answer_with(check)
    webhook = account.register(receiver.url)
    known.append(webhook["secret"])
    path = f"{WEBHOOKS}/{webhook['id']}"
    rotated = account.call("POST", f"{path}/rotate-secret", json={"overlap_seconds": 600})
    assert rotated.status == 200, rotated.text
    assert rotated.data["secret"] != webhook["secret"]
    assert "secret" not in account.show(webhook["id"])

    account.publish(transaction_id="txn_before")
    logged(account, webhook["id"], "status=succeeded", 1)
    known.append(rotated.data["secret"])
    for count, name in enumerate(("txn_after", "txn_later"), start=2):
        account.publish(transaction_id=name)
        found = logged(account, webhook["id"], "status=succeeded", count)
    assert [delivery["attempt_count"] for delivery in found] == [1, 1, 1]
    order = [request.json["transaction_id"] for request in receiver.requests]
    assert order == ["txn_before", "txn_after", "txn_after", "txn_later"]


def test_a_failed_delivery_is_found_in_the_log_and_sent_again(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500, body=b"<out of order>\x00"))
    webhook = account.register(receiver.url)
    account.publish()
    [exhausted] = logged(account, webhook["id"], "status=exhausted&event=email.delivered")
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries/{exhausted['id']}"
    shown = account.call("GET", path).data
    assert shown["body"].encode() == receiver.requests[0].body
    assert shown["payload"] == receiver.requests[0].json
    assert [attempt["status_code"] for attempt in shown["attempts"]] == [500] * 4
    assert {attempt["response_body"] for attempt in shown["attempts"]} == {"<out of order>\\x00"}

    receiver.answer_with(Answer(200))
    assert account.call("POST", f"{path}/resend").status == 202
    [delivered] = logged(account, webhook["id"], "status=succeeded")
    assert delivered["id"] == exhausted["id"]
    assert (delivered["attempt_count"], delivered["last_attempt"]["manual"]) == (5, True)
    again = receiver.requests[-1]
    assert again.body == receiver.requests[0].body
    assert again.headers["webhook-id"] == receiver.requests[0].headers["webhook-id"]
    assert again.headers["x-sendcomms-attempt"] == "5"
    stack.wait_for_execution(exhausted["id"])
    assert log(account, webhook["id"], "status=exhausted") == []


@pytest.mark.any_stack
def test_the_log_goes_on_page_by_page_and_is_its_owners_alone(
    account: Account, other_account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    for number in range(5):
        account.publish(timestamp=f"2025-12-21T10:30:0{number}Z")
    expected = logged(account, webhook["id"], "status=succeeded", 5)
    path = f"{WEBHOOKS}/{webhook['id']}/deliveries"
    seen: list[dict[str, Any]] = []
    query = "limit=2"
    for size in (2, 2, 1):
        answer = account.call("GET", f"{path}?{query}")
        assert len(answer.data) == size
        seen += answer.data
        query = f"limit=2&cursor={answer.json['pagination'].get('next_cursor')}"
    assert seen == expected
    assert query.endswith("=None")
    until = log(account, webhook["id"], "until=2025-12-21T10:30:01Z")
    assert until == expected[3:]
    foreign = other_account.call("GET", f"{path}/{expected[0]['id']}")
    assert (foreign.status, foreign.error["code"]) == (404, "webhook_not_found")


@pytest.mark.any_stack
def test_a_test_event_arrives_like_any_other(account: Account, receiver: Receiver) -> None:
    webhook = account.register(receiver.url, ["email.sent"])
    types = account.call("GET", "/api/v1/event-types").data
    for count, event_type in enumerate(types, start=1):
        answer = account.call(
            "POST", f"{WEBHOOKS}/{webhook['id']}/test", json={"event": event_type["type"]}
        )
        assert answer.status == 202, answer.text
        request = receiver.wait_for(count)[-1]
        assert request.headers["x-sendcomms-delivery"] == answer.data["id"]
        assert request.headers["x-sendcomms-event"] == event_type["type"]
        genuine = sendcomms_signature(webhook["secret"], request.body)
        assert request.headers["x-sendcomms-signature"] == genuine
        assert request.json["data"].keys() == event_type["sample"]["data"].keys()
    found = logged(account, webhook["id"], "status=succeeded", len(types))
    assert all(delivery["test"] for delivery in found)


def test_the_commands_for_owners_work_as_they_are_written(
    account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    account.publish()
    [delivery] = logged(account, webhook["id"], "status=succeeded")
    text = (ROOT / "docs" / "owners.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    script = "\n".join(["set -e", 'curl() { command curl -sS -w "\\n" "$@"; }', *blocks])
    environment = {
        **os.environ,
        "API": account.stack.outputs["ApiUrl"],
        "KEY": account.key,
        "WEBHOOK": webhook["id"],
        "DELIVERY": delivery["id"],
    }
    result = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    answers = [json.loads(line) for line in result.stdout.splitlines() if line]
    assert len(answers) == sum(block.count("curl ") for block in blocks)
    assert [answer["success"] for answer in answers] == [True] * len(answers)
    assert account.show(webhook["id"])["header_names"] == ["X-Team", "X-Region"]
    logged(account, webhook["id"], "event=email.bounced&status=succeeded")
