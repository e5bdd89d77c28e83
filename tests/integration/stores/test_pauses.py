"""The contract of the stores of pauses, on fakes and DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from integration.stores.stored_health import KEY, NOW_MS, OWNER, at_once, go_down, health
from support import samples
from webhooks.domain.health import CLEAN, Circuit, Comeback, Health, RecoveryKey
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from support.stores import Stores

UNTIL_MS = NOW_MS + 600_000
DUE_MS = NOW_MS + 600_000


@pytest.fixture(autouse=True)
def _registered(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)


def pause(stores: Stores, until_ms: int = UNTIL_MS) -> bool | None:
    """Pause the webhook as it was registered; returns whether that wrote, None if refused."""
    paused = stores.pauses.pause(*OWNER, until_ms, updated_at_ms=NOW_MS)
    return None if paused is None else paused.written


def change(stores: Stores, now_ms: int = NOW_MS + 5, **changes: object) -> None:
    stores.webhooks.update(*OWNER, WebhookChanges(**changes), now_ms)


def test_a_pause_only_moves_later_and_by_a_second_at_least(stores: Stores) -> None:
    first = stores.pauses.pause(*OWNER, UNTIL_MS, updated_at_ms=NOW_MS)
    assert first is not None
    assert (first.before, first.written) == (CLEAN, True)
    assert health(stores) == Health(not_before_ms=UNTIL_MS)
    for until_ms in (UNTIL_MS, UNTIL_MS + 999, UNTIL_MS - 5000):
        again = stores.pauses.pause(*OWNER, until_ms, updated_at_ms=NOW_MS)
        assert again is not None
        assert (again.before, again.written) == (Health(not_before_ms=UNTIL_MS), False)
    assert pause(stores, UNTIL_MS + 1000) is True
    owned = stores.webhooks.get(*OWNER)
    assert owned is not None
    assert owned.health.not_before_ms == UNTIL_MS + 1000


def test_of_many_pauses_at_once_one_is_written(stores: Stores) -> None:
    written = at_once(50, lambda number: pause(stores, UNTIL_MS + number))
    assert written.count(True) == 1


def test_a_webhook_that_leads_elsewhere_or_is_absent_is_not_paused(stores: Stores) -> None:
    change(stores, description="a description changes nothing")
    assert pause(stores) is True
    change(stores, url="https://new.example.com/hook")
    assert pause(stores, UNTIL_MS + 5000) is None
    assert stores.pauses.pause("acc_1", "none", UNTIL_MS, updated_at_ms=NOW_MS) is None
    assert stores.webhooks.get("acc_1", "none") is None


def test_a_success_clears_what_it_knew_and_nothing_later(stores: Stores) -> None:
    pause(stores)
    stores.pauses.clear(*OWNER, UNTIL_MS - 1)
    assert health(stores).not_before_ms == UNTIL_MS
    stores.pauses.clear(*OWNER, UNTIL_MS)
    assert health(stores) == CLEAN
    stores.pauses.clear(*OWNER, UNTIL_MS)
    stores.pauses.clear("acc_1", "none", UNTIL_MS)
    assert stores.webhooks.get("acc_1", "none") is None


def test_a_paused_webhook_gets_one_recovery_which_drains(stores: Stores) -> None:
    pause(stores)

    def begin(number: int) -> bool:
        key = RecoveryKey(*OWNER, f"recovery-{number}")
        return stores.pauses.begin(key, DUE_MS, NOW_MS)

    begun = at_once(20, begin)
    assert begun.count(True) == 1
    found = health(stores)
    assert found == Health(
        circuit=Circuit.DRAINING,
        comeback=Comeback.SLOW,
        draining_since_ms=NOW_MS,
        recovery_id=f"recovery-{begun.index(True)}",
        recovery_due_at_ms=DUE_MS,
        not_before_ms=UNTIL_MS,
    )
    [overdue] = stores.health.overdue(DUE_MS + 1, 10)
    assert overdue.recovery_id == found.recovery_id
    # The SDK's second try of the successful call gets the same answer.
    assert stores.pauses.begin(overdue, DUE_MS, NOW_MS) is True


def test_a_webhook_that_is_down_or_disabled_or_gone_gets_no_other_recovery(stores: Stores) -> None:
    other = RecoveryKey(*OWNER, "recovery-2")
    go_down(stores)
    assert stores.pauses.begin(other, DUE_MS, NOW_MS) is False
    assert health(stores).recovery_id == "recovery-1"
    disabled = samples.webhook(2, active=False)
    stores.webhooks.create(disabled, samples.SECRET, limit=5)
    key = RecoveryKey("acc_1", disabled.id, "recovery-3")
    assert stores.pauses.begin(key, DUE_MS, NOW_MS) is False
    assert stores.pauses.begin(RecoveryKey("acc_1", "none", "r"), DUE_MS, NOW_MS) is False
    assert stores.webhooks.get("acc_1", "none") is None


def test_a_recovery_does_not_end_under_a_pause_that_it_does_not_know(stores: Stores) -> None:
    pause(stores)
    assert stores.pauses.begin(KEY, DUE_MS, NOW_MS)
    assert stores.health.end(KEY, NOW_MS) is False
    assert stores.health.end(KEY, NOW_MS, not_before_ms=UNTIL_MS - 1) is False
    assert stores.health.end(KEY, NOW_MS, not_before_ms=UNTIL_MS) is True
    assert health(stores) == Health(not_before_ms=UNTIL_MS)


def test_a_recovery_of_a_disabled_webhook_ends_whatever_its_pause(stores: Stores) -> None:
    pause(stores)
    stores.pauses.begin(KEY, DUE_MS, NOW_MS)
    change(stores, active=False)
    assert stores.health.end(KEY, NOW_MS) is True


def test_another_url_ends_a_pause_and_so_does_an_owner_who_enables_it(stores: Stores) -> None:
    pause(stores)
    change(stores, url="https://new.example.com/hook")
    assert health(stores).not_before_ms is None

    stores.pauses.pause(*OWNER, UNTIL_MS, updated_at_ms=NOW_MS + 5)
    change(stores, headers={"X-Team": "billing"})
    assert health(stores).not_before_ms == UNTIL_MS
    stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS + 6, "recovery-5")
    found = health(stores)
    assert (found.not_before_ms, found.circuit) == (None, Circuit.OPEN)


def test_an_owner_who_asks_ends_a_pause_that_goes_on(stores: Stores) -> None:
    pause(stores)
    stores.pauses.begin(KEY, DUE_MS, NOW_MS)
    stores.health.failed(*OWNER, 1, NOW_MS, window=True)
    late_ms = UNTIL_MS + 1
    assert not stores.webhooks.ask(*OWNER, "recovery-2", late_ms, before_ms=NOW_MS)
    now_ms = NOW_MS + 40_000
    assert stores.webhooks.ask(*OWNER, "recovery-2", now_ms, before_ms=NOW_MS)
    found = health(stores)
    assert found == Health(
        circuit=Circuit.OPEN,
        comeback=Comeback.SLOW,
        recovery_id="recovery-2",
        recovery_due_at_ms=now_ms,
    )
    assert found.awaits_probe
    assert not stores.webhooks.ask(*OWNER, "recovery-3", now_ms + 1, before_ms=now_ms - 1)
