"""The long form: the former release's stack, with data and executions, is updated to this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from e2e.test_outages import publish, statuses
from ministack.conftest import new_account
from ministack.engine import Engine
from support.former_release import unpack
from support.receiver import Answer, Receiver
from support.stack import eventually
from webhooks.domain.signing import sendcomms_signature

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 120
DELAY = 150
"""Longer than an update: a wait of this length begins before the update and ends after it."""


@pytest.mark.timeout(900)
def test_data_and_executions_of_the_former_release_go_on(tmp_path: Path) -> None:
    with Engine() as engine:
        # A missing permission in the former release's roles is no fault of this one's.
        before = update(engine, unpack(tmp_path))
        assert engine.denied[before:] == []


def update(engine: Engine, former: Path) -> int:
    """Deploy the former release, then this one; returns the number of denied calls before it."""
    schedules = {"RetrySchedule": f"1,{DELAY}", "RecoverySchedule": str(DELAY)}
    engine.deploy_other(former, **schedules)
    account = new_account(engine)
    refusal = Answer(500)
    with Receiver() as healthy, Receiver(refusal) as failing, Receiver(refusal) as down:
        kept, retried, recovered = (
            account.register(one.url, [event])
            for one, event in ((healthy, "email.sent"), (failing, "email.opened"), (down, "*"))
        )
        publish(account, 10, "before")
        healthy.wait_for(10, SECONDS)
        account.publish(event="email.opened")
        failing.wait_for(2, SECONDS)

        def state() -> str:
            return str(account.show(recovered["id"])["health"]["state"])

        eventually(lambda: state() == "down", "the webhook is down", SECONDS)
        running = {
            machine: boto3.client("stepfunctions").list_executions(
                stateMachineArn=account.stack.outputs[machine], statusFilter="RUNNING"
            )["executions"]
            for machine in ("RetryStateMachineArn", "RecoveryStateMachineArn")
        }
        assert all(running.values()), running
        denied = len(engine.denied)

        engine.deploy(FormerNames="true")
        assert statuses(account, kept["id"]) == {"succeeded": 10}
        for one in (failing, down):
            one.answer_with(Answer(200))
        publish(account, 1, "after")
        request = healthy.wait_for(11, SECONDS)[-1]
        genuine = sendcomms_signature(kept["secret"], request.body)
        assert request.headers["x-sendcomms-signature"] == genuine
        eventually(
            lambda: statuses(account, retried["id"]) == {"succeeded": 1},
            "the retry that waited is delivered",
            SECONDS + DELAY,
        )
        eventually(
            lambda: statuses(account, recovered["id"]) == {"succeeded": 12},
            "the webhook that was down has all",
            SECONDS + DELAY,
        )
    return denied
