"""A receiver was broken for a while; its owner replays the events that it missed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.stack import ROOT, eventually
from webhooks.domain.delivery import Status

if TYPE_CHECKING:
    from support.receiver import Receiver
    from support.stack import Account, Stack

MISSED = 30
RATE = 10
"""Replayed deliveries a second by the template's default."""

SINCE = "2025-12-21T00:00:00Z"
CLOCK_SECONDS = 0.002


@pytest.fixture
def webhook(stack: Stack, account: Account, receiver: Receiver) -> dict[str, Any]:
    """A webhook with thirty exhausted deliveries, whose receiver is well.

    So many real failures in a row would open its circuit; therefore the log is edited to contain
    them.
    """
    webhook = account.register(receiver.url)
    first = datetime(2025, 12, 21, 10, tzinfo=UTC)
    for number in range(MISSED):
        at = first + timedelta(minutes=number)
        account.publish(transaction_id=f"txn_{number}", timestamp=at.isoformat())
    path = f"/api/v1/webhooks/{webhook['id']}/deliveries?status=succeeded&limit=100"
    eventually(lambda: len(account.call("GET", path).data) == MISSED, "all arrived", timeout=60)
    for shown in account.call("GET", path).data:
        delivery = account.delivery(webhook["id"], shown["id"])
        assert delivery
        exhausted = replace(delivery, status=Status.EXHAUSTED, reason="http_status")
        assert stack.deliveries.update(exhausted, before=delivery)
    receiver.requests.clear()
    return webhook


def start(account: Account, webhook: dict[str, Any], **request: str) -> dict[str, Any]:
    path = f"/api/v1/webhooks/{webhook['id']}/replay"
    answer = account.call("POST", path, json={"since": SINCE, **request})
    assert answer.status == 202
    return dict(answer.data)


def follow(account: Account, replay: dict[str, Any]) -> dict[str, Any]:
    path = f"/api/v1/webhooks/{replay['webhook_id']}/replays/{replay['id']}"
    answer = account.call("GET", path)
    assert answer.status == 200
    return dict(answer.data)


def test_what_a_receiver_missed_is_sent_again_a_few_a_second(
    account: Account, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    replay = start(account, webhook, status="exhausted")
    assert (replay["status"], replay["statuses"]) == ("running", ["exhausted"])
    seen = [replay]

    def ended() -> dict[str, Any] | None:
        seen.append(follow(account, replay))
        return seen[-1] if seen[-1]["status"] != "running" else None

    done = eventually(ended, "the replay ends", timeout=40)
    assert (done["status"], done["sent"], done["succeeded"]) == ("completed", MISSED, MISSED)
    assert done["replayed_until"] == replay["until"]
    progress = [one["sent"] for one in seen]
    assert progress == sorted(progress)
    assert {0, RATE} < set(progress)

    requests = receiver.wait_for(MISSED)
    assert len({request.headers["webhook-id"] for request in requests}) == MISSED
    assert len(requests) == MISSED
    times = sorted(request.received_at for request in requests)
    for earlier, later in zip(times, times[RATE:], strict=False):
        assert later - earlier >= 1 - CLOCK_SECONDS
    minutes = [request.json["timestamp"] for request in requests]
    for batch in range(0, MISSED, RATE):
        # A batch goes out all at once.
        assert set(minutes[batch : batch + RATE]) == set(sorted(minutes)[batch : batch + RATE])
    path = f"/api/v1/webhooks/{webhook['id']}/deliveries?limit=100"
    assert {one["status"] for one in account.call("GET", path).data} == {"succeeded"}


def test_a_cancelled_replay_stops_and_another_sends_the_rest(
    stack: Stack, account: Account, receiver: Receiver, webhook: dict[str, Any]
) -> None:
    replay = start(account, webhook)
    receiver.wait_for(1)
    path = f"/api/v1/webhooks/{webhook['id']}/replays/{replay['id']}"
    second = account.call("POST", f"/api/v1/webhooks/{webhook['id']}/replay", json={"since": SINCE})
    assert (second.status, second.error["code"]) == (409, "replay_running")
    answer = account.call("DELETE", path)
    assert (answer.status, answer.data["status"]) == (200, "cancelled")

    states = stack.client("stepfunctions")
    arn = stack.outputs["JobStateMachineArn"].replace(":stateMachine:", ":execution:")

    def stopped() -> bool:
        execution = states.describe_execution(executionArn=f"{arn}:{replay['id']}")
        return bool(execution["status"] == "SUCCEEDED")

    eventually(stopped, "the execution makes its last step")
    assert len(receiver.requests) < MISSED
    assert follow(account, replay)["status"] == "cancelled"
    again = start(account, webhook)
    listed = account.call("GET", f"/api/v1/webhooks/{webhook['id']}/replays").data
    assert [one["id"] for one in listed] == [again["id"], replay["id"]]
    assert len({one.headers["webhook-id"] for one in receiver.wait_for(MISSED, 30)}) == MISSED


def test_another_account_learns_and_changes_nothing(
    account: Account, other_account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    replay = start(account, webhook)
    path = f"/api/v1/webhooks/{webhook['id']}/replays"
    for method, target in (
        ("GET", path),
        ("GET", f"{path}/{replay['id']}"),
        ("DELETE", f"{path}/{replay['id']}"),
    ):
        assert other_account.call(method, target).status == 404
    foreign = other_account.call(
        "POST", f"/api/v1/webhooks/{webhook['id']}/replay", json={"since": SINCE}
    )
    assert foreign.status == 404
    eventually(
        lambda: follow(account, replay)["status"] == "completed", "the replay ends", timeout=30
    )


def test_the_commands_for_replays_work_as_they_are_written(
    account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    text = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    [starting, *others] = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)

    def run(commands: str, **variables: str) -> list[dict[str, Any]]:
        script = "set -e\ncurl() { command curl -sS -w '\\n' \"$@\"; }\n" + commands
        environment = {
            **os.environ,
            "API": account.stack.outputs["ApiUrl"],
            "KEY": account.key,
            "WEBHOOK": webhook["id"],
            **variables,
        }
        result = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")
        return [json.loads(line)["data"] for line in result.stdout.splitlines() if line]

    [started] = run(starting)
    eventually(
        lambda: follow(account, started)["status"] == "completed", "the replay ends", timeout=30
    )
    answers: list[Any] = [*run("\n".join(others), REPLAY=started["id"])]
    shown, listed, cancelled = answers
    assert shown == cancelled == listed[0]
    assert started.keys() == shown.keys()
    example = re.search(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert example
    assert json.loads(example[1])["data"].keys() == started.keys()
