"""The command line as a developer uses it: a process of its own, against a running stack."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

from standardwebhooks.webhooks import Webhook as StandardWebhook

from cli.commands import parser
from support.receiver import Answer, Receiver
from support.stack import ROOT, eventually, run_module
from webhooks.domain.event import EventType

if TYPE_CHECKING:
    from support.program import Program
    from support.stack import Account, Stack


def start(stack: Stack, account: Account | None, *arguments: str, **variables: str) -> Program:
    access = {
        "SENDCOMMS_API_URL": stack.outputs["ApiUrl"] if account else "",
        "SENDCOMMS_API_KEY": account.key if account else "",
    }
    directory = stack.outputs_file.parents[1]
    return run_module("cli", *arguments, directory=directory, **access, **variables)


def run(stack: Stack, account: Account | None, *arguments: str) -> str:
    with start(stack, account, *arguments) as program:
        assert program.wait() == 0, program.errors
        return program.output


def answer(stack: Stack, account: Account, *arguments: str) -> Any:
    return json.loads(run(stack, account, *arguments, "--json"))


def test_a_failed_delivery_is_found_and_sent_again(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = answer(stack, account, "create", receiver.url, "--description", "mine")
    assert webhook["secret"].startswith("whsec_")
    [listed] = answer(stack, account, "list")
    assert (listed["id"], listed["description"]) == (webhook["id"], "mine")

    receiver.answer_with(Answer(500))
    account.publish()

    def exhausted() -> Any:
        return answer(stack, account, "deliveries", webhook["id"], "--status", "exhausted")

    [delivery] = eventually(exhausted, "an exhausted delivery")
    assert delivery["id"] in run(stack, account, "deliveries", webhook["id"])
    receiver.answer_with(Answer(200))
    assert delivery["id"] in run(stack, account, "resend", webhook["id"], delivery["id"])
    account.delivery_with("succeeded", webhook["id"], delivery["id"])
    attempts = answer(stack, account, "show", webhook["id"], delivery["id"])["attempts"]
    assert [attempt["manual"] for attempt in attempts] == [False, False, False, False, True]


def test_deliveries_are_forwarded_to_this_machine_with_a_signature(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    with Receiver(path="/local") as program_here:
        to = program_here.url.removeprefix("http://127.0.0.1:")
        arguments = ["listen", webhook["id"], "--forward", to, "--interval", "0.2"]
        secret = {"SENDCOMMS_WEBHOOK_SECRET": webhook["secret"]}
        with start(stack, account, *arguments, **secret) as listening:
            eventually(lambda: "Listening to" in listening.errors, "it listens")
            account.publish(event="email.sent", timestamp=None)
            account.publish(event="email.opened", timestamp="2024-02-29T12:00:00Z")
            account.publish(event="email.clicked", data={"to": "ü@example.com", "n": 1e21})
            forwarded = program_here.wait_for(3, 20.0)
            listening.wait_for(lambda lines: len(lines) == 3, "a line for each")
            assert listening.interrupt() == 0
            assert "Traceback" not in listening.errors
            assert all("-> 200" in line for line in listening.lines)
        assert len(program_here.requests) == 3
    originals = {request.headers["webhook-id"]: request for request in receiver.requests}
    assert {request.headers["webhook-id"] for request in forwarded} == set(originals)
    for request in forwarded:
        original = originals[request.headers["webhook-id"]]
        assert (request.path, request.body) == ("/local", original.body)
        digest = hmac.new(webhook["secret"].encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-sendcomms-signature"] == f"sha256={digest}"
        assert set(original.headers) <= set(request.headers)
        StandardWebhook(webhook["secret"]).verify(request.body, dict(request.headers))


def test_a_replay_is_followed_on_a_running_stack(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = answer(stack, account, "create", receiver.url)
    receiver.answer_with(Answer(500))
    account.publish(timestamp="2025-12-21T10:30:00Z")
    log = ["deliveries", webhook["id"], "--status", "exhausted"]
    eventually(lambda: answer(stack, account, *log), "an exhausted delivery")
    receiver.answer_with(Answer(200))
    replay = ["replay", webhook["id"], "--since", "2025-12-21T00:00:00Z", "--json"]
    with start(stack, account, *replay) as program:
        assert program.wait() == 0, program.errors
        ended = json.loads(program.output)
        assert "0 sent: 0 arrived, 0 failed" in program.errors
    assert (ended["status"], ended["sent"], ended["succeeded"]) == ("completed", 1, 1)
    assert answer(stack, account, "replays", webhook["id"]) == [ended]


def test_the_page_has_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`webhooks (\w+)", page))
    [commands] = [action.choices for action in parser()._actions if action.choices]
    assert listed == set(commands)


def test_without_settings_the_stack_of_this_checkout_is_used(stack: Stack) -> None:
    assert "email.delivered" in run(stack, None, "events")


def test_an_error_of_the_api_is_printed_with_exit_code_1(stack: Stack, account: Account) -> None:
    with start(stack, account, "create", "https://10.0.0.1/") as program:
        assert program.wait() == 1
        assert "\n  url: " in program.errors
        assert "Traceback" not in program.errors


def test_the_commands_of_the_page_do_what_it_says(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    outputs = []
    for line in block.splitlines():
        program, *arguments = shlex.split(line.replace("$RECEIVER_URL", receiver.url))
        assert program == "webhooks"
        outputs.append(run(stack, account, *arguments))
    created, listed, events = outputs
    assert "only this once" in created
    assert receiver.url in listed
    assert [each["type"] for each in json.loads(events)] == [*EventType]
