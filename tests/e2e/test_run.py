"""`make run` and `make demo` as programs: their output, their files, their exit codes."""

from __future__ import annotations

import json
import re
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from support.receiver import Answer
from support.slowness import seconds
from support.stack import READY_SECONDS, Stack, checkout, eventually, run_module

if TYPE_CHECKING:
    from pathlib import Path

    from support.receiver import Receiver
    from support.stack import Account

OUTPUTS = {
    "ApiUrl",
    "ApiKey",
    "AccountId",
    "Region",
    "EventsQueueUrl",
    "EventsDeadLetterQueueUrl",
    "DeadLetterQueueUrl",
    "AwsEndpointUrl",
    "DashboardUrl",
    "WebhooksTable",
    "DeliveriesTable",
    "ApiKeysTable",
    "RetryStateMachineArn",
    "ShortRetryStateMachineArn",
    "JobStateMachineArn",
    "JobStateMachine",
}
"""The keys that section 8 of the architecture demands."""


def test_the_banner_says_how_fast_it_was_and_what_to_paste(stack: Stack) -> None:
    banner = stack.program.output
    ready = re.search(r"^Ready in ([0-9.]+) seconds", banner, re.MULTILINE)
    assert ready
    # Ten seconds on an idle machine; this machine may be busy with other tests.
    assert float(ready[1]) < seconds(READY_SECONDS / 2)
    for name in ("ApiUrl", "ApiKey", "AccountId", "EventsQueueUrl", "AwsEndpointUrl"):
        assert stack.outputs[name] in banner
    assert len(re.findall(r"^\d\. ", banner, re.MULTILINE)) == 3


def test_the_outputs_name_everything_and_are_for_their_owner_only(stack: Stack) -> None:
    assert set(stack.outputs) >= OUTPUTS
    assert all(stack.outputs.values())
    assert stack.outputs_file.stat().st_mode & 0o077 == 0
    key = stack.outputs["ApiKey"]
    answer = stack.call("GET", "/api/v1/webhooks", headers={"Authorization": f"Bearer {key}"})
    assert answer.status == 200
    tables = set(stack.client("dynamodb").list_tables()["TableNames"])
    assert {value for name, value in stack.outputs.items() if name.endswith("Table")} <= tables


def test_a_published_sample_reaches_the_receiver_that_shows_it(stack: Stack) -> None:
    """Follow the banner: register the receiver with its secret, then publish."""
    assert f"Dashboard     {stack.outputs['DashboardUrl']} " in stack.program.output
    secret = re.search(r'"secret": "(whsec_[0-9a-f]{64})"', stack.program.output)
    url = re.search(r'"url": "(http://127\.0\.0\.1:[0-9]+/ok)"', stack.program.output)
    assert secret
    assert url
    body = json.dumps({"url": url[1], "events": ["email.clicked"], "secret": secret[1]})
    key = stack.outputs["ApiKey"]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = stack.call("POST", "/api/v1/webhooks", headers=headers, body=body)
    assert answer.status == 201, answer.text
    directory = stack.outputs_file.parents[1]
    with run_module("ops.publish", "email.clicked", "--json", directory=directory) as command:
        assert command.wait() == 0, command.errors
        [published] = json.loads(command.output)
        assert json.loads(published["body"])["event"] == "email.clicked"
    line = stack.program.wait_for(
        lambda lines: next((line for line in lines if "email.clicked" in line), None),
        "the delivery",
    )
    assert " verified " in line
    assert line.endswith("/ok -> 200")


def test_the_log_has_failures_and_no_secrets(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    mark = uuid4().hex
    receiver.answer_with(Answer(500, body=f"answer-{mark}".encode()), Answer(200))
    secret = f"secret-{mark}"
    webhook = account.register(f"{receiver.url}?token={mark}", secret=secret)
    account.publish(data={"to": f"{mark}@example.com"})
    account.publish(event=mark)
    stack.events.send(f"not JSON: {mark}")
    account.call("POST", json={"url": f"https://{mark}@example.com/", "events": [mark]})
    first, _ = receiver.wait_for(2)
    delivery_id = first.headers["x-sendcomms-delivery"]
    account.delivery_with("succeeded", webhook["id"], delivery_id)
    stack.events.wait_until_empty()
    log = (stack.outputs_file.parent / "run.log").read_text(encoding="utf-8")
    assert delivery_id in log
    assert "unknown_event" in log
    assert "not_json" in log
    assert "validation_failed" in log
    assert mark not in log
    assert account.key not in log
    assert mark not in stack.program.output


def test_a_second_stack_runs_beside_the_first_and_ctrl_c_leaves_nothing_of_it(
    stack: Stack, tmp_path: Path
) -> None:
    with Stack(checkout(tmp_path)) as second:
        outputs = second.outputs
        assert outputs["ApiUrl"] != stack.outputs["ApiUrl"]
        headers = {"Authorization": f"Bearer {stack.account('acme').key}"}
        assert second.call("GET", "/api/v1/webhooks", headers=headers).status == 401
        assert stack.call("GET", "/api/v1/webhooks", headers=headers).status == 200
        assert second.program.interrupt() == 0
        assert second.program.errors == ""
        for name in ("ApiUrl", "AwsEndpointUrl"):
            assert_free(urlsplit(outputs[name]).port or 0)
        assert not second.outputs_file.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stack_can_be_stopped_while_it_starts(how: signal.Signals, tmp_path: Path) -> None:
    with run_module("local.run", directory=checkout(tmp_path)) as program:
        program.wait_for(lambda lines: "Starting ..." in lines, "the first line")
        program.process.send_signal(how)
        assert program.wait() == 0, program.errors
        assert program.errors == ""
    assert not (tmp_path / ".local" / "outputs.json").exists()


@pytest.mark.parametrize("setting", ["PORT", "AWS_PORT", "RECEIVER_PORT"])
def test_a_taken_port_is_reported_at_once(setting: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_module(
            "local.run", directory=checkout(tmp_path), **{setting: str(port)}
        ) as program:
            assert program.wait() == 1
            assert f"port {port} is taken" in program.errors
            assert f"{setting}=" in program.errors
            assert "Traceback" not in program.errors
    assert not (tmp_path / ".local" / "outputs.json").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("PORT", "http"), ("AWS_PORT", "65536"), ("RETRY_SCHEDULE", "1,soon"), ("PORT", "-1")],
)
def test_a_wrong_setting_is_reported_at_once(setting: str, value: str, tmp_path: Path) -> None:
    with run_module("local.run", directory=checkout(tmp_path), **{setting: value}) as program:
        assert program.wait() == 1
        assert setting in program.errors
        assert "Traceback" not in program.errors


def test_the_demo_shows_that_it_all_works(tmp_path: Path) -> None:
    with run_module("local.demo", directory=checkout(tmp_path)) as demo:
        assert demo.wait(100) == 0, demo.output + demo.errors
        assert "Traceback" not in demo.errors


def assert_free(port: int) -> None:
    def bound() -> bool:
        # The same option that the stack sets: closing connections do not count.
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return True

    assert eventually(bound, f"port {port} is free")
