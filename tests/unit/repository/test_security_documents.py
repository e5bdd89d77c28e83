"""The threat model names tests that exist, and the page on verifying shows code that works."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from webhooks.domain.signing import sendcomms_signature, standard_signature

ROOT = Path(__file__).parents[3]
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
THREATS = (
    (ROOT / "docs" / "security.md")
    .read_text(encoding="utf-8")
    .partition("\n## Threat model\n")[2]
    .partition("\n## ")[0]
)
VERIFYING = (ROOT / "docs" / "verifying.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in THREATS.splitlines()
    if line.startswith("| ") and not line.startswith("| Who |")
]
NAMED = sorted(set(re.findall(r"`([a-z0-9_/]+\.py)::(\w+)`", THREATS)))


ODD_TEXTS = ("", "é" * 71, "v1,é", "v1", ",", "sha256=", "\udce9", "\x00", "1e400", "nan", "soon")
"""Headers that a stranger may write; the last ones are bytes as some servers decode them."""


def pythons() -> list[str]:
    """The page's Python: by hand, and with a library."""
    return re.findall(r"^```python\n(.*?)^```$", VERIFYING, re.MULTILINE | re.DOTALL)


@cache
def functions_of(path: str) -> set[str]:
    file = ROOT / "tests" / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_policy_is_one_page_that_leads_to_the_threat_model() -> None:
    assert len(SECURITY.encode()) <= 4096
    assert re.search(r"^## Report a weakness$", SECURITY, re.MULTILINE)
    assert re.search(r"^## Supported versions$", SECURITY, re.MULTILINE)
    assert "(docs/security.md#threat-model)" in SECURITY


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_the_threat_model_names_exists(path: str, name: str) -> None:
    assert name in functions_of(path), f"tests/{path} has no {name}"


def test_every_threat_is_whole_and_is_shown_by_a_test() -> None:
    assert len(ROWS) >= 25
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        shown = row[3].split()
        assert all(re.fullmatch(r"`[a-z0-9_/]+\.py::test_\w+`", one) for one in shown), row


@pytest.mark.node
def test_the_pages_javascript_accepts_genuine_and_refuses_forged_deliveries() -> None:
    [code] = re.findall(r"^```js\n(.*?)^```$", VERIFYING, re.MULTILINE | re.DOTALL)
    secret, body = "whsec_" + "ab" * 32, '{"event":"email.sent","data":{"to":"ü@example.com"}}'
    genuine = sendcomms_signature(secret, body.encode())
    cases: list[tuple[str, str | None, str]] = [
        (body, genuine, secret),
        (body + " ", genuine, secret),
        (body, genuine.upper(), secret),
        (body, genuine, secret + "0"),
        (body, genuine[:-1], secret),
        (body, None, secret),
        *((body, odd, secret) for odd in ODD_TEXTS),
    ]
    program = f"{code}console.log(JSON.stringify({json.dumps(cases)}.map((c) => isGenuine(...c))))"
    answer = subprocess.check_output(["node", "-e", program], text=True)
    assert json.loads(answer) == [True] + [False] * (len(cases) - 1)


def test_the_pages_python_verifies_a_genuine_delivery_and_no_other() -> None:
    _, code = pythons()
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  the page is ours
    secret, body, now = "whsec_" + "ab" * 32, b'{"event":"email.sent"}', int(time.time())
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature(secret, "evt_1", now, body),
    }
    assert names["verified"](body, headers, secret) == {"event": "email.sent"}
    assert names["verified"](body + b" ", headers, secret) is None
    for name in headers:
        without = {other: text for other, text in headers.items() if other != name}
        assert names["verified"](body, without, secret) is None
        for text in ODD_TEXTS:
            assert names["verified"](body, {**headers, name: text}, secret) is None, text
    assert names["verified"](b"\xff", headers, secret) is None


@pytest.mark.parametrize(
    "secret",
    ["whsec_" + "ab" * 32, "your_webhook_secret", "clé très secrète €", "abcdefgh12345678-"],
)
def test_the_pages_python_by_hand_says_no_and_never_raises(secret: str) -> None:
    code, _ = pythons()
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  the page is ours
    is_genuine, body = names["is_genuine"], '{"to":"ü@example.com"}'.encode()
    genuine = sendcomms_signature(secret, body)
    assert is_genuine(body, genuine, secret) is True
    assert is_genuine(body + b" ", genuine, secret) is False
    for odd in (None, genuine[:-1], genuine.upper(), *ODD_TEXTS):
        assert is_genuine(body, odd, secret) is False, odd
