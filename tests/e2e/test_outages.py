"""A receiver that goes down and comes back, a webhook disabled and enabled, and redrives."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from e2e.documentation import run_commands
from support.program import Program
from support.receiver import Answer, Receiver
from support.slowness import seconds
from support.stack import ROOT, eventually
from webhooks.services.jobs.sweep import Swept

if TYPE_CHECKING:
    from support.stack import Account, Stack

WEBHOOKS = "/api/v1/webhooks"


def statuses(account: Account, webhook_id: str) -> Counter[str]:
    """The number of a webhook's deliveries in each status."""
    counts: Counter[str] = Counter()
    cursor = ""
    while True:
        target = f"{WEBHOOKS}/{webhook_id}/deliveries?limit=100{cursor}"
        page = account.call("GET", target).json
        counts.update(delivery["status"] for delivery in page["data"])
        if "next_cursor" not in page["pagination"]:
            return counts
        cursor = f"&cursor={page['pagination']['next_cursor']}"


def publish(account: Account, count: int, name: str) -> None:
    for start in range(0, count, 10):
        account.stack.events.send_together(
            [
                json.dumps(
                    {
                        "account_id": account.id,
                        "event": "email.sent",
                        "data": {"to": "recipient@example.com", "email_id": f"{name}-{number}"},
                    }
                )
                for number in range(start, min(start + 10, count))
            ]
        )


def wait_for_statuses(account: Account, webhook_id: str, **wanted: int) -> None:
    def look() -> bool:
        return statuses(account, webhook_id) == Counter(wanted)

    eventually(look, f"the deliveries are {wanted}", timeout=45)


def executions(stack: Stack) -> list[dict[str, Any]]:
    pages = stack.client("stepfunctions").get_paginator("list_executions")
    machine = stack.outputs["JobStateMachineArn"]
    return [one for page in pages.paginate(stateMachineArn=machine) for one in page["executions"]]


def test_an_outage_costs_one_execution_and_loses_nothing(stack: Stack, account: Account) -> None:
    before = len(executions(stack))
    with Receiver(Answer(500)) as receiver:
        webhook = account.register(receiver.url)
        publish(account, 10, "first")

        def is_down() -> bool:
            return bool(account.show(webhook["id"])["health"]["state"] == "down")

        eventually(is_down, "the webhook is down")
        wait_for_statuses(account, webhook["id"], exhausted=10)
        tried = len(receiver.requests)
        publish(account, 40, "second")
        wait_for_statuses(account, webhook["id"], exhausted=10, waiting=40)
        probes = len(receiver.requests) - tried
        assert probes < 20
        receiver.answer_with(Answer(200))
        wait_for_statuses(account, webhook["id"], exhausted=10, succeeded=40)
        arrived = [request for request in receiver.requests if request.json["data"]["email_id"]]
        assert {request.json["data"]["email_id"] for request in arrived} == {
            *(f"first-{number}" for number in range(10)),
            *(f"second-{number}" for number in range(40)),
        }
        publish(account, 1, "third")
        wait_for_statuses(account, webhook["id"], exhausted=10, succeeded=41)
    assert account.show(webhook["id"])["health"]["consecutive_failures"] == 0
    assert len(executions(stack)) == before + 1


def test_an_operator_redrives_exhausted_deliveries(stack: Stack, account: Account) -> None:
    with Receiver(Answer(500)) as receiver:
        webhook = account.register(receiver.url)
        publish(account, 2, "one")
        wait_for_statuses(account, webhook["id"], exhausted=2)
        receiver.answer_with(Answer(200))

        def redriven() -> bool:
            command = ["-m", "ops.redrive", "deliveries", "--account", account.id, "--json"]
            directory = stack.outputs_file.parents[1]
            with Program(sys.executable, *command, cwd=directory) as program:
                program.process.wait(seconds(30))
                counts = json.loads(program.output)
                # Progress is printed at intervals, and on a busy machine not after the last event.
                assert counts.get("started") or " started" not in program.errors
            return bool(counts.get("started") or counts.get("settled"))

        eventually(redriven, "the dead letters are redriven", timeout=40)
        wait_for_statuses(account, webhook["id"], succeeded=2)


def test_what_came_while_a_webhook_was_off_is_sent_when_it_is_on_again(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    webhook = account.register(receiver.url)
    account.call("PATCH", f"{WEBHOOKS}/{webhook['id']}", json={"active": False})
    publish(account, 3, "kept")
    wait_for_statuses(account, webhook["id"], waiting=3)
    assert receiver.requests == []
    on, shown = run_commands("outages.md", stack, account, WEBHOOK=webhook["id"])
    assert on["data"]["active"] is shown["data"]["active"] is True
    wait_for_statuses(account, webhook["id"], succeeded=3)
    headers = [request.headers for request in receiver.requests]
    assert {one["x-sendcomms-attempt"] for one in headers} == {"1"}


def test_the_sweep_restarts_abandoned_deliveries_alone(
    stack: Stack, account: Account, receiver: Receiver
) -> None:
    del account, receiver
    functions = stack.client("lambda").list_functions()["Functions"]
    [name] = [one["FunctionName"] for one in functions if "WorkerFunction" in one["FunctionName"]]
    sample = (ROOT / "events" / "worker-sweep.json").read_bytes()
    answer = stack.client("lambda").invoke(FunctionName=name, Payload=sample)
    assert json.load(answer["Payload"]) == Swept()._asdict()
