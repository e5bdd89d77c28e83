"""Row 104: the effects of a change of a webhook's health, when the answer to its write is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from support.faults import answer_lost
from support.receiver import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.fault_harness import Tenant
    from support.receiver import Receiver

    MakeReceiver = Callable[..., Receiver]

NOW_MS = int(time.time() * 1000)
DAY_MS = 86_400_000

CHANGES: dict[str, tuple[int, dict[str, Any], str]] = {
    "webhook.down": (500, {"failures": 9, "failing_since": NOW_MS}, "SET circuit = :open"),
    "webhook.disabled": (410, {}, "disabled_reason = :reason"),
    "webhook.failing": (
        500,
        {"failures": 2, "failing_since": NOW_MS - 4 * DAY_MS - 60_000},
        "SET warned_at",
    ),
    "webhook.recovered": (200, {"failures": 2, "down_since": NOW_MS - 60_000}, "circuit <> :open)"),
}


@pytest.mark.parametrize("notice", CHANGES)
def test_row_104_a_notice_comes_though_the_answer_to_its_write_is_lost(
    tenant: Tenant, receiver: MakeReceiver, notice: str
) -> None:
    status, health, about = CHANGES[notice]
    tenant.webhook(receiver(Answer(status)))
    attributes: dict[str, Any] = {name: {"N": str(value)} for name, value in health.items()}
    tenant.health(**attributes)
    faults = tenant.harness.faults
    faults.on("UpdateItem", answer_lost(), about=about, times=1)
    assert tenant.dispatch(tenant.message()) == []
    assert faults.count("UpdateItem", about) == 2
    assert len(tenant.announced(notice)) == 1
    assert len(tenant.recoveries()) == (notice == "webhook.down")
