"""Marked secrets go through the whole stack, and appear in none of its outputs.

The output of the functions and of moto is all in the stack's log: the lines, the metrics, the texts
of exceptions. The executions of Step Functions and the events on EventBridge are read from their
APIs. After all tests, `conftest.py` searches the stack's outputs once more in the same way.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.leaks import CANARY, assert_nothing_secret, executions, log
from support.receiver import Answer, Raw, Receiver
from support.stack import eventually

if TYPE_CHECKING:
    import socket
    import threading

    from support.stack import Account, ObservedStack, Stack

WEBHOOKS = "/api/v1/webhooks"


def document(account: Account, number: int, **data: str) -> str:
    return json.dumps(
        {
            "account_id": account.id,
            "event": "email.bounced",
            "data": {
                "to": f"{CANARY}@{CANARY}.example",
                "subject": f"{CANARY} subject",
                "email_id": f"{CANARY}-{number}",
                **data,
            },
        }
    )


def close(_: socket.socket, __: threading.Event) -> None:
    """Answer nothing: the failure is in the client's own exception."""


@pytest.fixture
def topic(stack: Stack) -> Any:
    """A queue that gets all operational events."""
    sqs, events = stack.client("sqs"), stack.client("events")
    url = sqs.create_queue(QueueName="canary")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    events.put_rule(Name="canary", EventPattern='{"source": ["sendcomms.webhooks"]}')
    events.put_targets(Rule="canary", Targets=[{"Id": "queue", "Arn": arn}])
    yield sqs, url
    events.remove_targets(Rule="canary", Ids=["queue"])
    events.delete_rule(Name="canary")


@pytest.mark.timeout(300)
def test_nothing_that_is_secret_is_told_anywhere(
    stack: ObservedStack, account: Account, topic: tuple[Any, str]
) -> None:
    with (
        Receiver(Answer(500, body=CANARY.encode()), path=f"/{CANARY}") as failing,
        Receiver(Raw(close), path=f"/{CANARY}") as silent,
        Receiver(Answer(401), Answer(410, {"X-Canary": CANARY}), path=f"/{CANARY}") as gone,
    ):
        hooks = [
            account.register(
                f"{url}?token={CANARY}",
                secret=f"{CANARY}-secret-{CANARY}",
                description=f"{CANARY} description",
                headers={"X-Token": CANARY},
            )
            for url in (failing.url, silent.url, gone.url, "http://127.0.0.1:1/" + CANARY)
        ]
        for number in range(10):
            stack.events.send(document(account, number), group=account.id)
        stack.events.send(f"{CANARY} is not JSON", group=account.id)
        stack.events.send(document(account, 0, to=""), group=account.id)
        refused = [
            account.call("POST", json={"url": f"http://{CANARY}.example", "events": [CANARY]}),
            account.call("POST", json={CANARY: CANARY}),
            account.call("GET", f"{WEBHOOKS}?cursor={CANARY}"),
            account.call("GET", f"{WEBHOOKS}/{CANARY}"),
            account.call("POST", headers={"Idempotency-Key": CANARY}, body=f'{{"{CANARY}"'),
            account.call("GET", headers={"Authorization": f"Bearer sc_live_{CANARY}"}),
        ]
        assert all(400 <= answer.status < 500 for answer in refused)
        target = f"{WEBHOOKS}/{hooks[0]['id']}"
        account.call("POST", f"{target}/rotate-secret", json={"secret": f"{CANARY}-next-{CANARY}"})
        account.call("POST", f"{target}/test", json={"event": "email.sent"})
        eventually(
            lambda: account.call("POST", f"{target}/check").status == 202, "a check is started"
        )
        account.call("POST", f"{target}/replay", json={"since": "2025-01-01T00:00:00Z"})

        def exhausted() -> Any:
            # On a busy machine the API's own calls time out: it answers 503 and is called again.
            page = account.call("GET", f"{target}/deliveries?status=exhausted").json
            return page.get("data")

        [first, *_] = eventually(exhausted, "deliveries are exhausted", timeout=90)
        account.call("POST", f"{target}/deliveries/{first['id']}/resend")

        def announced() -> bool:
            return "webhook.down" in log(stack) and "webhook.disabled" in log(stack)

        eventually(announced, "the webhooks are down, and one is gone", timeout=90)

    told = {
        "the log": log(stack),
        "state machines": executions(stack),
        "operational events": "".join(received(*topic)),
    }
    assert failing.requests
    assert_nothing_secret(told)
    # `conftest.py` compares the calls of all tests with the roles: these are recorded.
    assert {function for function, _ in stack.calls()} == {
        *("ApiFunction", "DispatcherFunction", "WorkerFunction")
    }


def received(sqs: Any, url: str) -> list[str]:
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return bodies
