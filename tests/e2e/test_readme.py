"""Every line of the README, followed the way a stranger does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.slowness import seconds
from support.stack import ROOT, Stack, eventually

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")
PUBLISHING = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")
VERIFYING = (ROOT / "docs" / "verifying.md").read_text(encoding="utf-8")
LONGEST = 200
"""Lines of the README: one screen, enough for the first five minutes."""


def blocks(language: str, first_heading: str, last_heading: str, page: str = README) -> list[str]:
    """The code blocks in a part of a page, in order."""
    part = page[page.index(f"## {first_heading}") : page.index(f"## {last_heading}")]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def test_the_readme_stays_a_screen_and_a_quick_start_with_its_two_pictures() -> None:
    assert len(README.splitlines()) <= LONGEST
    assert "```mermaid" in README
    assert re.search(r"!\[[^\]]+\]\(docs/images/dashboard-[a-z-]+\.png\)", README)


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> dict[str, str]:
    """An environment in which `make` finds the tests' own environment."""
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\nexec {shutil.which("make")} RUN="{sys.executable}" -o .venv-run/.ready "$@"\n'
    )
    make.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


def run(script: str, stack: Stack, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=stack.outputs_file.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds(60),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def receiver_url(stack: Stack) -> str:
    [url] = re.findall(r"Receiver +(http://\S+)", stack.program.output)
    return str(url)


@pytest.fixture
def commands(stack: Stack) -> list[str]:
    """The README's commands, with this stack's receiver in place of the default port's."""
    return [
        block.replace("http://127.0.0.1:9000", receiver_url(stack))
        for block in blocks("sh", "Five minutes", "Verify a delivery")
        if block.strip() != "make run" and "STACK=" not in block
    ]


def test_five_minutes_are_enough(stack: Stack, commands: list[str], shell: dict[str, str]) -> None:
    registering = next(i for i, block in enumerate(commands) if "-X POST" in block)
    preparing = "".join(commands[:registering])
    registered = run(preparing + commands[registering], stack, shell)
    [webhook_id] = re.findall(r'"id":"([0-9a-f-]{36})"', registered)
    before = stack.program.output.count("verified")
    published = [block for block in commands if block.startswith("make publish\n")]
    assert "published" in run(published[0], stack, shell)
    eventually(lambda: stack.program.output.count("verified") >= before + 2, "both arrive")
    [managing] = [block for block in commands if "-X DELETE" in block]
    answer = run(preparing + managing.replace("WEBHOOK_ID", webhook_id), stack, shell)
    assert f'"id":"{webhook_id}","deleted":true' in answer


def test_an_event_is_published_by_the_aws_cli_by_python_and_from_a_file(
    stack: Stack, commands: list[str], shell: dict[str, str]
) -> None:
    preparing = commands[0]
    by_file = [block for block in commands if "FILE=" in block]
    assert "published" in run(by_file[0], stack, shell)
    [python] = blocks("python", "To the queue", "Over HTTP", PUBLISHING)
    run(f"{sys.executable} - <<'PYTHON'\n{python}PYTHON\n", stack, shell)
    [by_cli] = [block for block in commands if "aws sqs send-message" in block]
    if subprocess.run(["aws", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("the AWS CLI is not on the PATH")
    assert "MessageId" in run(preparing + by_cli, stack, shell)


def test_the_pages_python_verifies_a_genuine_delivery_and_no_other() -> None:
    [by_hand] = blocks("python", "By hand", "With a library", VERIFYING)
    names: dict[str, object] = {}
    exec(by_hand, names)  # noqa: S102  the page is ours
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    body, secret = b'{"event":"email.sent"}', "your_webhook_secret"
    from webhooks.domain.signing import sendcomms_signature

    assert is_genuine(body, sendcomms_signature(secret, body), secret)
    assert not is_genuine(body + b" ", sendcomms_signature(secret, body), secret)
