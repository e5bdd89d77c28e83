"""The receivers of docs/migrating, before and after, on each sender's signed requests."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from e2e.documentation import run_commands
from e2e.receivers import NODE
from support.stack import ROOT
from webhooks.domain.catalog import sample_document
from webhooks.domain.delivery import Delivery, Status
from webhooks.domain.event import EventType, accept
from webhooks.domain.signing import delivery_headers

if TYPE_CHECKING:
    from support.receiver import Receiver
    from support.stack import Account, Stack

THEIR_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
"""A secret in the form of Svix and Resend, which a webhook may be registered with."""

EVENT = accept(sample_document(EventType.BOUNCED), sent_at_ms=0)
DELIVERY = Delivery(
    account_id=EVENT.account_id,
    webhook_id="e406c83c-50bc-4783-b5fc-4beafe6bf5eb",
    id="019b4067-0b40-7b07-b12c-18ae47ea4cdb",
    event_id=EVENT.id,
    event_type=EVENT.type,
    body=EVENT.body,
    status=Status.PENDING,
    created_at_ms=0,
)


def programs(page: str, language: str) -> list[str]:
    """The receivers of a page: before and after."""
    text = (ROOT / "docs" / "migrating" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def python_receivers(page: str) -> tuple[Any, Any]:
    names: list[dict[str, Any]] = [{}, {}]
    for code, defined in zip(programs(page, "python"), names, strict=True):
        exec(code, defined)  # noqa: S102  the page is ours
    before, after = names
    return before["receive"], after["receive"]


def our_headers() -> dict[str, str]:
    headers = delivery_headers(
        DELIVERY,
        attempt_number=1,
        unix_seconds=int(time.time()),
        secrets=[THEIR_SECRET],
        sendcomms_secret=THEIR_SECRET,
    )
    return {name.lower(): value for name, value in headers.items()}


def svix_headers(body: bytes) -> dict[str, str]:
    now = datetime.now(tz=UTC)
    signature = svix.webhooks.Webhook(THEIR_SECRET).sign("msg_1", now, body.decode())
    return {
        "svix-id": "msg_1",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": signature,
    }


def test_a_receiver_of_svix_goes_on_with_its_secret_and_its_library() -> None:
    before, after = python_receivers("svix")
    theirs = b'{"type":"email.bounced","data":{}}'
    assert before(theirs, svix_headers(theirs), THEIR_SECRET) == ("msg_1", "email.bounced")
    with pytest.raises(KeyError, match="svix-id"):
        # The signed content was verified above: only the header's name differs.
        before(EVENT.body, our_headers(), THEIR_SECRET)
    assert after(EVENT.body, our_headers(), THEIR_SECRET) == (EVENT.id, "email.bounced")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        after(EVENT.body + b" ", our_headers(), THEIR_SECRET)


def test_a_receiver_of_sendgrid_changes_its_key_and_its_loop() -> None:
    before, after = python_receivers("sendgrid")
    private_key = ec.generate_private_key(ec.SECP256R1())
    public_key = base64.b64encode(
        private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    one = {"sg_event_id": "sg_1", "event": "bounce", "email": "a@example.com"}
    theirs = json.dumps([one, one]).encode()
    signature = private_key.sign(b"1513299569" + theirs, ec.ECDSA(hashes.SHA256()))
    headers = {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": "1513299569",
    }
    assert before(theirs, headers, public_key) == [("sg_1", "bounce", "a@example.com")] * 2
    assert after(EVENT.body, our_headers(), THEIR_SECRET) == [
        (EVENT.id, "email.bounced", "recipient@example.com")
    ]
    with pytest.raises(PermissionError):
        before(theirs + b" ", headers, public_key)
    with pytest.raises(PermissionError):
        after(EVENT.body + b" ", our_headers(), THEIR_SECRET)


@pytest.mark.node
def test_a_receiver_of_resend_changes_names_alone(node_packages: None) -> None:
    before, after = programs("resend", "js")
    theirs = b'{"type":"email.bounced","data":{"to":["a@example.com"]}}'
    assert answer_of(before, theirs, svix_headers(theirs)) == {
        "id": "msg_1",
        "type": "email.bounced",
        "recipients": ["a@example.com"],
    }
    assert answer_of(after, EVENT.body, our_headers()) == {
        "id": EVENT.id,
        "type": "email.bounced",
        "recipients": ["recipient@example.com"],
    }
    assert answer_of(after, EVENT.body + b" ", our_headers()) == "WebhookVerificationError"


def answer_of(program: str, body: bytes, headers: dict[str, str]) -> Any:
    """A JavaScript receiver's result, or the name of the error that it throws."""
    arguments = json.dumps([body.decode(), headers, THEIR_SECRET])
    ending = (
        f"let answer; try {{ answer = receive(...{arguments}); }}\n"
        "catch (error) { answer = error.constructor.name; }\n"
        "console.log(JSON.stringify(answer));"
    )
    printed = subprocess.check_output(["node", "-e", f"{program}\n{ending}"], cwd=NODE, text=True)
    return json.loads(printed)


def test_who_gets_started_is_sent_a_sample(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    registered, tested, listed = run_commands(
        "getting-started.md", stack, account, RECEIVER_URL=receiver.url, WEBHOOK=webhook["id"]
    )
    assert registered["data"]["secret"].startswith("whsec_")
    [request] = receiver.wait_for(1)
    assert request.headers["x-sendcomms-delivery"] == tested["data"]["id"]
    assert listed["data"][0]["id"] == tested["data"]["id"]
