"""The long form: a receiver is down and comes back, a retry waits long, a stack is destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from e2e.test_outages import publish, statuses
from ministack.engine import STACK
from support.receiver import Answer
from support.stack import eventually

if TYPE_CHECKING:
    from ministack.engine import Engine
    from support.receiver import Receiver
    from support.stack import Account

SECONDS = 200
LONG_DELAY = 61
"""One second more than the longest wait of the Express machine."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def deployed(engine: Engine) -> Engine:
    engine.deploy(RetrySchedule=f"1,{LONG_DELAY}", RecoverySchedule="5")
    return engine


def test_a_circuit_opens_and_all_that_waited_arrives(account: Account, receiver: Receiver) -> None:
    receiver.answer_with(Answer(500))
    webhook = account.register(receiver.url)

    def health() -> str:
        return str(account.show(webhook["id"])["health"]["state"])

    publish(account, 10, "first")
    eventually(lambda: health() == "down", "the webhook is down", SECONDS)
    publish(account, 20, "second")
    eventually(
        lambda: statuses(account, webhook["id"])["waiting"] >= 20, "they are deferred", SECONDS
    )
    receiver.answer_with(Answer(200))
    eventually(
        lambda: statuses(account, webhook["id"]) == {"succeeded": 30}, "all arrived", SECONDS
    )
    eventually(lambda: health() == "healthy", "the circuit is closed", SECONDS)


def test_a_retry_after_a_long_delay_is_the_standard_machines(
    account: Account, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500), Answer(500), Answer(200))
    account.register(receiver.url)
    account.publish()
    first, second, third = receiver.wait_for(3, SECONDS + LONG_DELAY)
    assert third.received_at - second.received_at >= LONG_DELAY
    delivery_id = first.headers["x-sendcomms-delivery"]

    def status() -> str | None:
        found = account.stack.execution_status(delivery_id)
        return None if found == "RUNNING" else found

    assert eventually(status, "the execution ends") == "SUCCEEDED"


def test_a_stack_with_running_executions_is_destroyed(
    deployed: Engine, account: Account, receiver: Receiver
) -> None:
    """Emulators delete a machine at once. AWS waits for its executions, which a fake shows."""
    receiver.answer_with(Answer(500))
    account.register(receiver.url)
    account.publish()
    stack = account.stack
    tables = [stack.table(name) for name in ("WebhooksTable", "DeliveriesTable", "ApiKeysTable")]
    [request, _] = receiver.wait_for(2, SECONDS)
    delivery_id = request.headers["x-sendcomms-delivery"]
    eventually(lambda: stack.execution_status(delivery_id) == "RUNNING", "the retry waits")
    cloudformation, dynamodb = stack.client("cloudformation"), stack.client("dynamodb")
    deployed.destroy()
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName=STACK)
    assert {*tables} <= {*dynamodb.list_tables()["TableNames"]}
