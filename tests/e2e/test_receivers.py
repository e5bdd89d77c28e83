"""The receivers themselves: that they behave as they claim, and can refuse."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e.receivers import CONTRACT_SECRET, NODE
from support.samples import SECRET
from support.stack import ROOT, call
from webhooks.domain.signing import sendcomms_signature, standard_signature

if TYPE_CHECKING:
    from e2e.receivers import ExpressReceiver, StandardReceiver

BODY = '{"event":"email.sent","data":{"to":"zoë@example.com"}}'.encode()


def test_the_express_receiver_is_the_contracts_code_to_the_letter() -> None:
    contract = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    section = contract.partition("#### Verifying webhooks")[2]
    code = section.split("```")[1].strip()
    assert code.startswith("// Node.js/Express example")
    assert f"\n{code}\n" in (NODE / "express_receiver.js").read_text(encoding="utf-8")
    assert f"const secret = '{CONTRACT_SECRET}';" in code


def test_the_lock_of_the_node_packages_names_no_registry() -> None:
    lock = (NODE / "package-lock.json").read_text(encoding="utf-8")
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


@pytest.mark.node
@pytest.mark.parametrize("version", ["express4", "express5"])
def test_the_express_receiver_refuses_other_bytes(
    version: str, request: pytest.FixtureRequest
) -> None:
    receiver: ExpressReceiver = request.getfixturevalue(version)
    headers = {
        "Content-Type": "application/json",
        "X-SendComms-Signature": sendcomms_signature(CONTRACT_SECRET, BODY),
    }
    sent = [BODY, BODY.replace(b"zo", b"bo")]
    answers = [
        call(receiver.url, "POST", "/webhooks/sendcomms", headers=headers, body=body)
        for body in sent
    ]
    assert [answer.status for answer in answers] == [200, 401]
    reported = receiver.wait_for_requests(2, lambda one: one.body in sent)
    assert [(one.status, one.body) for one in reported] == [(200, sent[0]), (401, sent[1])]


@pytest.mark.node
@pytest.mark.parametrize(
    ("secret", "as_bytes"), [(SECRET, False), ("not base64, a secret of one's own", True)]
)
def test_the_standard_receiver_refuses_other_bytes(
    secret: str, as_bytes: bool, standard: StandardReceiver
) -> None:
    path = f"/refusing/{len(secret)}"
    standard.learn(path, secret, as_bytes=as_bytes)
    now = int(time.time())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature(secret, "evt_1", now, BODY),
    }
    for body in (BODY, BODY + b" "):
        call(standard.url, "POST", path, headers=headers, body=body)
    right, wrong = standard.wait_for_requests(2, lambda one: one.path == path)
    assert right.verified == {"standardwebhooks": True, "svix": True}
    assert wrong.verified is not None
    assert all("No matching signature" in error for error in wrong.verified.values())
