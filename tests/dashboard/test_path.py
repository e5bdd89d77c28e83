"""An owner's whole way, in a browser and against the whole stack: from nothing to a resend."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from dashboard.browsing import Visit, visit
from support.receiver import Answer, Receiver
from support.slowness import seconds
from support.stack import Account, Stack, checkout
from webhooks.domain.signing import sendcomms_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SLOW_MS = 60_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = checkout(tmp_path_factory.mktemp("checkout"))
    with Stack(directory, RETRY_SCHEDULE="1,1", RECOVERY_SCHEDULE="1") as stack:
        yield stack


@pytest.fixture
def account(stack: Stack) -> Account:
    return stack.account(f"acc_{uuid4().hex}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def owner(browser: Browser, stack: Stack, account: Account) -> Iterator[Visit]:
    """The account's owner, signed in."""
    url = stack.outputs["DashboardUrl"]
    with visit(browser, url, permissions=["clipboard-read", "clipboard-write"]) as owner:
        owner.sign_in(account.key)
        yield owner


def register(owner: Visit, receiver: Receiver) -> str:
    """Register a webhook in the browser; returns the copied secret."""
    owner.press("Register your first")
    owner.dialog.get_by_label("URL").fill("ftp://files.example.com")
    owner.press("Register")
    expect(owner.dialog.locator('[data-field="url"] .error')).not_to_be_empty()
    owner.dialog.get_by_label("URL").fill(receiver.url)
    owner.press("Register")
    secret = owner.dialog.get_by_label("Secret", exact=True).input_value()
    owner.press("Copy the secret")
    expect(owner.said).to_have_text("Secret copied.")
    assert owner.page.evaluate("() => navigator.clipboard.readText()") == secret
    owner.page.keyboard.press("Escape")
    expect(owner.dialog).to_be_visible()
    owner.press("I have saved it")
    expect(owner.page.locator("h1.url")).to_have_text(receiver.url)
    assert secret not in owner.page.content()
    return secret


def steps(owner: Visit) -> Locator:
    return owner.page.locator(".timeline > li:not(.due)")


def test_from_registering_to_resending_a_delivery_that_failed(
    owner: Visit, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500, body=b"<b>out of order</b>"))
    secret = register(owner, receiver)
    owner.press("Send test event")
    owner.dialog.get_by_label("Event").select_option("email.bounced")
    owner.press("Send")
    expect(owner.heading("email.bounced")).to_be_visible()
    pill = owner.page.locator(".state .pill")
    expect(pill).to_have_text("Exhausted", timeout=seconds(SLOW_MS))
    expect(steps(owner)).to_have_count(3)
    owner.page.get_by_text("Your server's response").first.click()
    answer = owner.page.get_by_label("Response to attempt 1")
    expect(answer).to_have_text("<b>out of order</b>")

    receiver.answer_with(Answer(200))
    owner.press("Resend")
    expect(owner.said).to_have_text("Attempt 4: HTTP 200.", timeout=seconds(SLOW_MS))
    expect(pill).to_have_text("Succeeded")
    expect(steps(owner).last).to_contain_text("manual")
    request = receiver.requests[-1]
    assert request.headers["x-sendcomms-signature"] == sendcomms_signature(secret, request.body)
    owner.page.get_by_label("The exact bytes").check()
    expect(owner.page.locator("pre.wrapped")).to_have_text(request.body.decode())
    sent = owner.page.locator("table.headers")
    for name in ("webhook-id", "webhook-timestamp", "x-sendcomms-attempt", "user-agent"):
        expect(sent).to_contain_text(request.headers[name])

    owner.page.get_by_role("link", name=receiver.url).click()
    row = owner.page.locator("table.log tbody tr")
    expect(row).to_contain_text("Succeeded")
    expect(row).to_contain_text("test")
    expect(owner.page.get_by_text("1 delivery: 1 arrived")).to_be_visible()


def test_a_replay_is_followed_to_its_end(
    owner: Visit, account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500))
    webhook = account.register(receiver.url)
    for number in range(3):
        account.publish(transaction_id=f"txn_{number}", timestamp=None)
    receiver.wait_for(9, timeout=SLOW_MS / 1000)
    receiver.answer_with(Answer(200))
    owner.go(f"#/webhooks/{webhook['id']}")
    owner.press("Replay…")
    owner.dialog.get_by_label("Events until").fill("2020-01-01T00:00:00")
    owner.press("Start")
    expect(owner.dialog.locator('[data-field="until"] .error')).not_to_be_empty()
    owner.dialog.get_by_label("Events until").fill("")
    owner.press("Start")
    section = owner.page.get_by_role("region", name="Replay")
    expect(section).to_contain_text("3 sent: 3 arrived, 0 failed.", timeout=seconds(SLOW_MS))
    expect(section).to_contain_text("The replay is complete.", timeout=seconds(SLOW_MS))
    rows = owner.page.locator("table.log tbody tr .pill")
    expect(rows).to_have_text(["Succeeded"] * 3, timeout=seconds(SLOW_MS))


def test_a_webhook_is_switched_rotated_and_deleted(
    owner: Visit, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    owner.go(f"#/webhooks/{webhook['id']}")
    owner.press("Disable")
    expect(owner.page.locator("h1 ~ .pill")).to_have_text("Disabled")
    expect(owner.page.get_by_role("button", name="Enable")).to_be_focused()
    owner.press("Send test event")
    owner.press("Send")
    expect(owner.dialog.get_by_role("alert")).to_contain_text("This webhook is disabled")
    owner.press("Cancel")
    owner.press("Enable")
    expect(owner.page.locator("h1 ~ .pill")).not_to_have_text("Disabled")
    assert account.show(webhook["id"])["active"]

    owner.press("Rotate secret…")
    owner.dialog.get_by_label("The old secret counts for").select_option("An hour")
    owner.press("Rotate")
    secret = owner.dialog.get_by_label("Secret", exact=True).input_value()
    assert re.fullmatch("whsec_[0-9a-f]{64}", secret)
    assert secret != webhook["secret"]
    expect(owner.dialog).to_contain_text("The old secret counts until")
    owner.press("I have saved it")

    owner.press("Rotate secret…")
    force = owner.dialog.get_by_label("Rotate all the same")
    expect(force).to_be_hidden()
    owner.press("Rotate")
    expect(owner.dialog.get_by_role("alert")).to_contain_text("The overlap of the last rotation")
    force.check()
    owner.press("Rotate")
    expect(owner.dialog).to_contain_text("no longer signs requests")
    assert owner.dialog.get_by_label("Secret", exact=True).input_value() != secret
    owner.press("I have saved it")

    owner.press("Delete…")
    owner.dialog.get_by_label("Delete this webhook for good").check()
    owner.press("Delete")
    expect(owner.page.get_by_text("No webhooks yet")).to_be_visible()
    gone = account.call("GET", f"/api/v1/webhooks/{webhook['id']}")
    assert gone.status == 404
