"""Rows 80 and 81: a message that grows too large, and an invocation with too much output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.peaks import MAX_MIB_OF_ONE, MAX_MIB_OF_TEN
from webhooks.domain.event import MAX_BODY_BYTES
from webhooks.domain.ses_record import MAX_RECIPIENTS
from webhooks.observability import PowertoolsTelemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

ROOT = Path(__file__).parents[2]


def record(account: str, recipients: int, tag: str = "v", message_id: str = "m") -> dict[str, Any]:
    mail = {
        "timestamp": "2025-12-21T10:30:00.000Z",
        "messageId": message_id,
        "destination": [f"r{number}@example.com" for number in range(recipients)],
        "tags": {"account_id": [account], "t": [tag]},
    }
    return {"eventType": "Send", "mail": mail, "send": {}}


def test_row_80_a_record_with_too_many_recipients_is_dead_lettered_at_once(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    tenant.webhook(receiver())
    message = json.dumps(record(tenant.account, MAX_RECIPIENTS + 1))
    assert tenant.dispatch(message) == []
    assert tenant.rejected() == {message: "too_many_recipients"}
    assert tenant.deliveries() == []
    assert '"reason":"too_many_recipients"' in tenant.log.text
    assert '"RejectedTooManyRecipients":[1.0]' in tenant.log.text


def test_row_80_of_an_array_what_does_not_fit_is_dead_lettered_and_the_rest_delivered(
    tenant: Tenant, receiver: MakeReceiver
) -> None:
    posted = receiver()
    tenant.webhook(posted, events=("*",))
    first, last = record(tenant.account, 1, "v", "first"), record(tenant.account, 1, "v", "last")
    # Of another account, which has no webhook: its events are nearly a hundred times 64 KiB.
    large = record("acc_other", MAX_RECIPIENTS, "v" * (MAX_BODY_BYTES - 400), "large")
    is_overloaded = {**large, "mail": {**large["mail"], "messageId": "too-much"}}
    assert tenant.dispatch(json.dumps([first, large, is_overloaded, last])) == []
    assert len(posted.requests) == 2
    [(body, reason)] = tenant.rejected().items()
    assert (json.loads(body), reason) == (is_overloaded, "too_many_bytes")


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak resident size comes from Linux's kernel"
)
def test_row_80_the_worst_messages_take_no_more_memory_than_there_is() -> None:
    environment = os.environ | {"PYTHONPATH": "functions:layers/core:tests:."}
    measured = subprocess.run(
        [sys.executable, "-m", "benchmarks.peaks", "--worst"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(measured.stdout)
    assert (len(found["one"]), len(found["ten"])) == (10, 3)
    assert {kind: mib for kind, mib in found["one"].items() if mib > MAX_MIB_OF_ONE} == {}
    assert {kind: mib for kind, mib in found["ten"].items() if mib > MAX_MIB_OF_TEN} == {}


def test_row_81_the_metrics_of_a_large_invocation_are_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry = PowertoolsTelemetry("dispatcher", "stack")
    context: Any = SimpleNamespace(aws_request_id="r" * 36)
    with telemetry.invocation(context):
        for number in range(16_000):
            telemetry.annotate("event_ids", f"evt_{number:032x}")
            telemetry.count("Succeeded")
            telemetry.record_time("DeliveryLatency", number)
    [text] = capsys.readouterr().out.splitlines()
    line = json.loads(text)
    assert len(text) < 256 * 1024
    assert line["Succeeded"] == [16_000.0]
    assert line["DeliveryLatency"][98:] == [15_839.0, 15_999.0]
    assert (len(line["event_ids"]), line["event_ids_left_out"]) == (500, 15_500)
