"""The local stack's commands outside their ordinary course (see `e2e/test_run.py`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.program import Program
from support.stack import ROOT, Stack, checkout, run_module

if TYPE_CHECKING:
    from pathlib import Path

FREE = {"PORT": "0", "AWS_PORT": "0", "RECEIVER_PORT": "0"}


def test_the_banners_commands_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    with Stack(checkout(tmp_path)) as stack:
        stack.program.wait_for(lambda lines: "What the receiver gets:" in lines, "the banner's end")
        commands = re.findall(r"^\d\. .*\n\n((?:.+\n)+)", stack.program.output, re.MULTILINE)
        register, publish, list_them = commands
        registered = json.loads(subprocess.check_output(["sh", "-c", register]))
        listed = json.loads(subprocess.check_output(["sh", "-c", list_them]))
        assert [webhook["id"] for webhook in listed["data"]] == [registered["data"]["id"]]
        # The AWS CLI may be absent on this machine; therefore a client sends the command's request.
        syntax = subprocess.run(["sh", "-n", "-c", publish], check=False)
        assert syntax.returncode == 0
        message = re.search(r"--message-body '(.*)'", publish)
        assert message
        stack.events.send(message[1])
        stack.program.wait_for(
            lambda lines: any(" verified  email.delivered" in line for line in lines),
            "the delivery",
        )


def test_the_receiver_knows_the_secrets_of_webhooks_that_were_registered_without_its_own(
    tmp_path: Path,
) -> None:
    with Stack(checkout(tmp_path)) as stack:
        url = re.search(r"(http://127\.0\.0\.1:\d+)/ok", stack.program.output)
        assert url
        account = stack.account("acme")
        account.register(f"{url[1]}/ok")
        account.publish(event="email.opened")
        line = stack.program.wait_for(
            lambda lines: next((line for line in lines if "email.opened" in line), None),
            "the delivery",
        )
        assert " verified " in line


def test_sigint_stops_a_stack_that_a_script_started_in_the_background(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    run = "import runpy; runpy.run_module('local.run', run_name='__main__')"
    directory = checkout(tmp_path)
    with Program(sys.executable, "-c", ignoring + run, cwd=directory, environment=FREE) as program:
        program.wait_for(lambda lines: "Starting ..." in lines, "the first line")
        assert program.interrupt() == 0
        assert program.errors == ""


def test_a_part_that_does_not_stop_delays_no_other(tmp_path: Path) -> None:
    run = (
        "import sys, time, local.run, local.stack; local.run._TIDYING_SECONDS = 1.0; "
        "local.stack.LocalStack.__exit__ = lambda *_: time.sleep(600); sys.exit(local.run.main())"
    )
    directory = checkout(tmp_path)
    with Program(sys.executable, "-c", run, cwd=directory, environment=FREE) as program:
        program.wait_for(lambda lines: "What the receiver gets:" in lines, "the banner")
        assert program.interrupt() == 0
    assert "Thread 0x" in (directory / ".local" / "run.log").read_text()


def test_publishing_without_a_stack_names_the_remedy(tmp_path: Path) -> None:
    with run_module("ops.publish", directory=checkout(tmp_path)) as command:
        assert command.wait() == 1
        assert "start the stack with make run" in command.errors
        assert command.output == ""


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not-text"])
def test_publishing_an_unreadable_file_names_the_remedy(
    tmp_path: Path, content: bytes | None
) -> None:
    directory = checkout(tmp_path)
    outputs = directory / ".local" / "outputs.json"
    outputs.parent.mkdir(exist_ok=True)
    outputs.write_text(json.dumps({"AwsEndpointUrl": "http://127.0.0.1:1"}), encoding="utf-8")
    file = tmp_path / "bounce.json"
    if content is not None:
        file.write_bytes(content)
    with run_module("ops.publish", "--file", str(file), directory=directory) as command:
        assert command.wait() == 1
        assert "make publish: the file cannot be read" in command.errors
        assert "Traceback" not in command.errors


def test_the_demo_fails_where_something_does_not_happen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here nothing reaches the dispatcher, since it listens to another queue."""
    from local import demo

    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    deaf = template.replace("Queue: !GetAtt EventsQueue.Arn", "Queue: !GetAtt DeadLetterQueue.Arn")
    assert deaf != template
    (tmp_path / "template.yaml").write_text(deaf, encoding="utf-8")
    for name in ("monitoring.yaml", "statemachines"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert demo.main(tmp_path / "template.yaml", patience_seconds=0.2) == 1
    shown = capsys.readouterr().out
    assert "FAILED all 10 arrive, verified" in shown
    assert "FAILED the failed delivery is in the dead-letter queue" in shown
    assert "5 of 9 steps happened" in shown
