"""Each program in docs/receivers with an owner's own secrets, and with headers from strangers.

A page's advice on a secret that is not base64 is applied to its program; a program that checks
`X-SendComms-Signature` accepts every secret unchanged.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from e2e.guides import GUIDES, listening, set_up
from support.samples import delivery
from support.stack import ROOT
from webhooks.domain.signing import delivery_headers

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.guides import Guide, Running

BASE64 = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo"
READ_AS_BASE64 = {
    "in full": f"whsec_{BASE64}=",
    "unpadded": f"whsec_{BASE64}",
    "18 letters and digits": "abcdefgh1234567890",
}
NOT_BASE64 = {
    "words": "correct horse battery-staple",
    "prefixed words": "whsec_your_secret_here",
    "accents": "clé très secrète, 2,50 €",
}
BODY = '{"event":"email.sent","data":{"to":"zoë@example.com"}}'.encode()
STRANGE_TEXTS = ("é" * 71, "sha256=é", "v1,é", ",", "v1", "v1,v1,v1", "", "1e400")


class AsBytes(NamedTuple):
    """The form in which a page's program gets its secret, and the page's way to write bytes."""

    shown: str
    instead: str
    said: str


LIBRARIES = {
    "js": AsBytes(
        "new Webhook(process.env.WEBHOOK_SECRET)",
        "new Webhook(Buffer.from(process.env.WEBHOOK_SECRET), { format: 'raw' })",
        "new Webhook(Buffer.from(secret), { format: 'raw' })",
    ),
    "python": AsBytes(
        'Webhook(os.environ["WEBHOOK_SECRET"])',
        'Webhook(os.environ["WEBHOOK_SECRET"].encode())',
        "Webhook(secret.encode())",
    ),
    "go": AsBytes(
        'NewWebhook(padded(os.Getenv("WEBHOOK_SECRET")))',
        'NewWebhookRaw([]byte(os.Getenv("WEBHOOK_SECRET")))\n\t_ = padded',
        "NewWebhookRaw([]byte(secret))",
    ),
    "java": AsBytes(
        'new Webhook(System.getenv("WEBHOOK_SECRET"))',
        'new Webhook(System.getenv("WEBHOOK_SECRET").getBytes(StandardCharsets.UTF_8))',
        "new Webhook(secret.getBytes(StandardCharsets.UTF_8))",
    ),
    "php": AsBytes(
        "new Webhook((string) getenv('WEBHOOK_SECRET'))",
        "new Webhook(base64_encode(getenv('WEBHOOK_SECRET')))",
        "base64_encode($secret)",
    ),
    "ruby": AsBytes(
        "StandardWebhooks::Webhook.new(secret)",
        "StandardWebhooks::Webhook.new([secret].pack('m0'))",
        "[secret].pack('m0')",
    ),
}


@pytest.mark.parametrize("page", {guide.page: guide for guide in GUIDES if guide.with_library})
def test_a_page_says_how_its_library_takes_a_secret_that_is_not_base64(page: str) -> None:
    [language] = {guide.language for guide in GUIDES if guide.page == page}
    assert LIBRARIES[language].said in (ROOT / f"docs/receivers/{page}.md").read_text("utf-8")
    assert LIBRARIES[language].said.rpartition("(")[2] in (ROOT / "docs/verifying.md").read_text(
        "utf-8"
    )


@pytest.mark.parametrize("guide", [pytest.param(guide, id=guide.name) for guide in GUIDES])
def test_a_guides_program_takes_every_secret_and_refuses_every_odd_header(
    guide: Guide, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if guide.language == "js" and not guide.missing:
        request.getfixturevalue("node_packages")
    as_bytes = LIBRARIES[guide.language]
    programs = [(guide.code, {**READ_AS_BASE64, **({} if guide.with_library else NOT_BASE64)})]
    if guide.with_library:
        assert guide.code.count(as_bytes.shown) == 1
        programs.append((guide.code.replace(as_bytes.shown, as_bytes.instead), NOT_BASE64))
    for code, secrets in programs:
        if missing := set_up(guide, tmp_path, code):
            pytest.skip(missing)
        for secret in secrets.values():
            with listening(guide, tmp_path, secret) as running:
                judge(guide, running, secret)


def judge(guide: Guide, running: Running, secret: str) -> None:
    """Send a program genuine requests, and requests that lack a header or have an odd one."""
    headers = delivery_headers(
        delivery(body=BODY),
        attempt_number=1,
        unix_seconds=int(time.time()),
        secrets=[secret],
        sendcomms_secret=secret,
    )
    assert running.status(headers, BODY) == 200, secret
    assert running.status(headers, BODY + b" ") == 401
    if guide.with_library:
        used = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    else:
        used = ["X-SendComms-Signature"]
    for name in used:
        without = {other: text for other, text in headers.items() if other != name}
        assert running.status(without, BODY) == 401, f"no {name}"
        for text in STRANGE_TEXTS:
            assert running.status({**headers, name: text}, BODY) == 401, f"{name}: {text}"
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "X-SendComms-Event"):
        if name not in used:
            without = {other: text for other, text in headers.items() if other != name}
            assert running.status(without, BODY) == 200, f"no {name}"
    assert running.status(headers, BODY) == 200, running.printed
