"""The contract of the health stores, held against fakes and DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from integration.stores.stored_health import (
    DRAINING,
    DUE_MS,
    KEY,
    NOW_MS,
    OWNER,
    at_once,
    come_back,
    go_down,
    health,
)
from support import samples
from webhooks.domain.delivery import Status
from webhooks.domain.health import (
    CLEAN,
    FAILURES_TO_OPEN,
    Circuit,
    Comeback,
    Health,
    HealthState,
    RecoveryKey,
)
from webhooks.ports import UnstartedRecovery, WebhookChanges

if TYPE_CHECKING:
    from support.stores import Stores


# A thousand calls at once take moto ten seconds of CPU, for which a busy machine may need longer.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def _registered(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)


def test_a_new_webhook_has_a_clean_health(stores: Stores) -> None:
    assert health(stores) == CLEAN


def test_failures_add_up_since_the_first_of_them(stores: Stores) -> None:
    assert stores.health.failed(*OWNER, 3, NOW_MS) == Health(3, NOW_MS)
    assert stores.health.failed(*OWNER, 4, NOW_MS + 60_000) == Health(7, NOW_MS)
    assert health(stores) == Health(7, NOW_MS)


def test_a_success_clears_what_failed(stores: Stores) -> None:
    stores.health.failed(*OWNER, 3, NOW_MS)
    assert stores.health.warn(*OWNER, NOW_MS, NOW_MS)
    assert not stores.health.succeeded(*OWNER, NOW_MS + 1)
    assert health(stores) == CLEAN
    assert not stores.health.succeeded(*OWNER, NOW_MS + 2)
    assert health(stores) == CLEAN


def test_a_circuit_opens_at_the_tenth_failure_and_not_before(stores: Stores) -> None:
    stores.health.failed(*OWNER, FAILURES_TO_OPEN - 1, NOW_MS)
    assert stores.health.open(KEY, DUE_MS, NOW_MS) is None
    stores.health.failed(*OWNER, 1, NOW_MS)
    assert stores.health.open(KEY, DUE_MS, NOW_MS) == "recovery-1"
    assert health(stores) == Health(
        failures=FAILURES_TO_OPEN,
        failing_since_ms=NOW_MS,
        circuit=Circuit.OPEN,
        recovery_id="recovery-1",
        recovery_due_at_ms=DUE_MS,
        down_since_ms=NOW_MS,
    )


def test_an_open_circuit_is_not_opened_again(stores: Stores) -> None:
    go_down(stores)
    assert stores.health.open(KEY._replace(recovery_id="other"), DUE_MS + 1, NOW_MS) is None
    assert health(stores).recovery_id == "recovery-1"


def test_a_webhook_that_is_disabled_does_not_open(stores: Stores) -> None:
    stores.health.failed(*OWNER, FAILURES_TO_OPEN, NOW_MS)
    assert stores.health.disable(*OWNER, "gone", NOW_MS)
    assert stores.health.open(KEY, DUE_MS, NOW_MS) is None


def test_a_success_takes_the_circuit_from_open_once(stores: Stores) -> None:
    go_down(stores)
    assert stores.health.succeeded(*OWNER, NOW_MS + 7)
    assert health(stores) == DRAINING
    assert not stores.health.succeeded(*OWNER, NOW_MS + 8)
    assert health(stores) == DRAINING


def test_the_first_success_after_an_owner_set_a_webhook_right_is_notified(stores: Stores) -> None:
    go_down(stores)
    stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS + 5, recovery_id="r")
    again = KEY._replace(recovery_id="r")
    # Nothing waits for it, which proves nothing.
    assert not stores.health.passed(again, NOW_MS + 5, proven=False)
    assert stores.health.end(again, NOW_MS + 5)
    assert health(stores) == Health(down_since_ms=NOW_MS)
    assert [stores.health.succeeded(*OWNER, NOW_MS + 6) for _ in range(2)] == [True, False]
    assert health(stores) == CLEAN


def test_a_webhook_that_fails_while_draining_keeps_its_recovery(stores: Stores) -> None:
    come_back(stores)
    stores.health.failed(*OWNER, FAILURES_TO_OPEN, NOW_MS + 9)
    again = KEY._replace(recovery_id="recovery-2")
    assert stores.health.open(again, DUE_MS + 9, NOW_MS + 9) == "recovery-1"
    assert health(stores) == Health(
        failures=FAILURES_TO_OPEN,
        failing_since_ms=NOW_MS + 9,
        circuit=Circuit.OPEN,
        recovery_id="recovery-1",
        recovery_due_at_ms=DUE_MS,
        down_since_ms=NOW_MS + 9,
    )


def test_a_warning_is_given_once_and_only_for_as_long_as_it_failed(stores: Stores) -> None:
    assert not stores.health.warn(*OWNER, NOW_MS, NOW_MS)
    stores.health.failed(*OWNER, 1, NOW_MS)
    assert not stores.health.warn(*OWNER, NOW_MS - 1, NOW_MS)
    assert stores.health.warn(*OWNER, NOW_MS, NOW_MS + 3)
    assert not stores.health.warn(*OWNER, NOW_MS, NOW_MS + 4)
    assert health(stores) == Health(1, NOW_MS, warned_at_ms=NOW_MS + 3)


def test_a_webhook_that_is_disabled_is_not_warned_of(stores: Stores) -> None:
    stores.health.failed(*OWNER, 1, NOW_MS)
    stores.health.disable(*OWNER, "gone", NOW_MS)
    assert not stores.health.warn(*OWNER, NOW_MS, NOW_MS)


def test_switching_off_for_failing_asks_how_long_it_failed(stores: Stores) -> None:
    assert not stores.health.disable(*OWNER, "failing", NOW_MS, failing_since_ms=NOW_MS)
    stores.health.failed(*OWNER, 1, NOW_MS)
    assert not stores.health.disable(*OWNER, "failing", NOW_MS, failing_since_ms=NOW_MS - 1)
    stores.health.succeeded(*OWNER, NOW_MS)
    assert not stores.health.disable(*OWNER, "failing", NOW_MS, failing_since_ms=NOW_MS)
    stores.health.failed(*OWNER, 1, NOW_MS)
    assert stores.health.disable(*OWNER, "failing", NOW_MS + 5, failing_since_ms=NOW_MS)
    webhook = stores.webhooks.get(*OWNER)
    assert webhook == samples.webhook(
        active=False,
        disabled_reason="failing",
        updated_at_ms=NOW_MS + 5,
        health=Health(1, NOW_MS),
    )


def test_switching_off_asks_whether_anybody_changed_the_webhook_since(stores: Stores) -> None:
    read_at_ms = samples.webhook().updated_at_ms
    stores.webhooks.update(*OWNER, WebhookChanges(url="https://new.example.com/"), NOW_MS + 5)
    assert not stores.health.disable(*OWNER, "gone", NOW_MS + 6, updated_at_ms=read_at_ms)
    assert stores.health.disable(*OWNER, "gone", NOW_MS + 6, updated_at_ms=NOW_MS + 5)


def test_failures_of_a_webhook_that_was_changed_since_do_not_count(stores: Stores) -> None:
    read_at_ms = samples.webhook().updated_at_ms
    stores.webhooks.update(*OWNER, WebhookChanges(url="https://new.example.com/"), NOW_MS + 5)
    assert stores.health.failed(*OWNER, 10, NOW_MS + 6, updated_at_ms=read_at_ms) is None
    assert health(stores) == CLEAN
    failed = stores.health.failed(*OWNER, 2, NOW_MS + 6, updated_at_ms=NOW_MS + 5)
    assert failed == health(stores) == Health(2, NOW_MS + 6)


def test_when_a_recoverys_next_step_is_due_is_noted(stores: Stores) -> None:
    go_down(stores)
    stores.health.keep(KEY, DUE_MS + 9)
    assert health(stores).recovery_due_at_ms == DUE_MS + 9


def test_a_recovery_ends_when_it_drained_and_not_before(stores: Stores) -> None:
    go_down(stores)
    assert not stores.health.end(KEY, NOW_MS)
    assert health(stores).circuit is Circuit.OPEN
    stores.health.succeeded(*OWNER, NOW_MS)
    # It has been draining since a later time than the caller knows.
    assert not stores.health.end(KEY, NOW_MS - 1)
    assert health(stores).circuit is Circuit.DRAINING
    assert stores.health.end(KEY, NOW_MS)
    assert health(stores) == CLEAN
    assert not stores.health.end(KEY, NOW_MS)


def test_a_recovery_of_a_webhook_that_is_disabled_ends(stores: Stores) -> None:
    go_down(stores)
    stores.health.disable(*OWNER, "failing", NOW_MS)
    assert stores.health.end(KEY, 0)
    assert health(stores) == Health(FAILURES_TO_OPEN, NOW_MS, down_since_ms=NOW_MS)


def test_a_recovery_whose_place_was_taken_changes_nothing(stores: Stores) -> None:
    come_back(stores)
    assert stores.health.replace(KEY, "recovery-2", DUE_MS + 1)
    after = replace(DRAINING, recovery_id="recovery-2", recovery_due_at_ms=DUE_MS + 1)
    assert health(stores) == after
    stores.health.keep(KEY, DUE_MS + 99)
    assert not stores.health.end(KEY, NOW_MS + 7)
    assert not stores.health.replace(KEY, "recovery-3", DUE_MS + 99)
    assert health(stores) == after


def test_nothing_is_made_of_a_webhook_that_was_deleted(stores: Stores) -> None:
    stores.webhooks.delete(*OWNER)
    assert stores.health.failed(*OWNER, FAILURES_TO_OPEN, NOW_MS) is None
    assert not stores.health.succeeded(*OWNER, NOW_MS)
    assert stores.health.open(KEY, DUE_MS, NOW_MS) is None
    assert not stores.health.warn(*OWNER, NOW_MS, NOW_MS)
    assert not stores.health.disable(*OWNER, "gone", NOW_MS)
    stores.health.keep(KEY, DUE_MS)
    assert not stores.health.end(KEY, NOW_MS)
    assert not stores.health.replace(KEY, "recovery-2", DUE_MS)
    assert stores.webhooks.get(*OWNER) is None


def test_an_account_changes_no_other_accounts_webhook(stores: Stores) -> None:
    other = ("acc_2", samples.WEBHOOK_ID)
    assert stores.health.failed(*other, FAILURES_TO_OPEN, NOW_MS) is None
    assert not stores.health.disable(*other, "gone", NOW_MS)
    assert stores.webhooks.get(*OWNER) == samples.webhook()


def test_overdue_recoveries_are_found_longest_overdue_first(stores: Stores) -> None:
    for number in range(2, 6):
        webhook = samples.webhook(number)
        stores.webhooks.create(webhook, samples.SECRET, limit=9)
        key = RecoveryKey("acc_1", webhook.id, f"recovery-{number}")
        go_down(stores, key)
        stores.health.keep(key, NOW_MS - number)
    found = [RecoveryKey("acc_1", samples.webhook(n).id, f"recovery-{n}") for n in (5, 4, 3, 2)]
    assert list(stores.health.overdue(NOW_MS, 10)) == found
    assert list(stores.health.overdue(NOW_MS, 2)) == found[:2]
    assert list(stores.health.overdue(NOW_MS - 3, 10)) == found[:2]


def test_a_recovery_that_ended_is_never_overdue(stores: Stores) -> None:
    come_back(stores)
    assert list(stores.health.overdue(DUE_MS + 1, 10)) == [KEY]
    stores.health.end(KEY, NOW_MS + 7)
    assert list(stores.health.overdue(DUE_MS + 1, 10)) == []


def test_one_of_a_thousand_openings_at_once_is_notified(stores: Stores) -> None:
    stores.health.failed(*OWNER, FAILURES_TO_OPEN, NOW_MS)
    opened = at_once(
        1000,
        lambda number: stores.health.open(
            KEY._replace(recovery_id=f"recovery-{number}"), DUE_MS, NOW_MS
        ),
    )
    [winner] = filter(None, opened)
    assert health(stores).recovery_id == winner


def test_one_of_a_thousand_successes_at_once_is_notified(stores: Stores) -> None:
    go_down(stores)
    assert at_once(1000, lambda _: stores.health.succeeded(*OWNER, NOW_MS)).count(True) == 1


@pytest.mark.parametrize("how", ["disable", "warn"])
def test_one_of_a_thousand_that_switch_off_or_warn_at_once_is_notified(
    stores: Stores, how: str
) -> None:
    stores.health.failed(*OWNER, 1, NOW_MS)

    def call(_: int) -> bool:
        if how == "warn":
            return stores.health.warn(*OWNER, NOW_MS, NOW_MS)
        return stores.health.disable(*OWNER, "failing", NOW_MS, failing_since_ms=NOW_MS)

    assert at_once(1000, call).count(True) == 1


def test_of_a_thousand_failures_at_once_none_is_lost(stores: Stores) -> None:
    at_once(1000, lambda _: stores.health.failed(*OWNER, 1, NOW_MS))
    assert health(stores) == Health(1000, NOW_MS)


@pytest.mark.parametrize("before", ["closed", "open", "draining", "disabled"])
def test_a_new_recovery_begins_a_webhooks_health_anew(stores: Stores, before: str) -> None:
    if before != "closed":
        go_down(stores)
        stores.health.warn(*OWNER, NOW_MS, NOW_MS)
    if before == "draining":
        stores.health.succeeded(*OWNER, NOW_MS)
    if before == "disabled":
        stores.health.disable(*OWNER, "failing", NOW_MS)
    later_ms = NOW_MS + 5
    changed = stores.webhooks.update(
        *OWNER, WebhookChanges(active=True), later_ms, recovery_id="recovery-2"
    )
    assert changed is not None
    assert (changed.active, changed.disabled_reason) == (True, None)
    assert changed.health.state is HealthState.RECOVERING
    assert health(stores) == Health(
        circuit=Circuit.OPEN,
        comeback=Comeback.SLOW,
        recovery_id="recovery-2",
        recovery_due_at_ms=later_ms,
        down_since_ms=NOW_MS if before in {"open", "disabled"} else None,
    )
    assert list(stores.health.overdue(later_ms + 1, 10)) == [KEY._replace(recovery_id="recovery-2")]


def test_a_change_that_needs_no_recovery_leaves_the_health_as_it_is(stores: Stores) -> None:
    go_down(stores)
    known = health(stores)
    stores.webhooks.update(*OWNER, WebhookChanges(description="new"), NOW_MS + 5)
    stores.webhooks.rotate_secret(
        *OWNER, "the-new-secret-16", previous_until_ms=0, now_ms=NOW_MS + 6
    )
    assert health(stores) == known


def test_a_deliverys_generation_is_part_of_what_it_was_read_as(stores: Stores) -> None:
    first = samples.delivery()
    stores.deliveries.create(first)
    again = first.resumed(DUE_MS)
    assert stores.deliveries.update(again, before=first)
    assert stores.deliveries.get(first.key) == replace(
        first, generation=1, next_attempt_at_ms=DUE_MS
    )
    late = first.after(samples.attempt(2), Status.EXHAUSTED)
    assert not stores.deliveries.update(late, before=first)
    third = again.resumed(DUE_MS + 1)
    assert stores.deliveries.update(third, before=again)
    assert not stores.deliveries.update(late, before=again)
    assert stores.deliveries.get(first.key) == third


def test_what_a_redrive_and_a_probe_add_comes_back(stores: Stores) -> None:
    delivery = samples.delivery(
        attempts=(
            samples.attempt(1),
            samples.attempt(2, probe=True),
            samples.attempt(3, manual=True),
        ),
        generation=3,
        earlier_attempts=1,
        restarts=2,
    )
    stores.deliveries.create(delivery)
    stored = stores.deliveries.get(delivery.key)
    assert stored == delivery
    assert stored.scheduled_attempts == 0


def test_a_recovery_that_a_deletion_could_not_start_is_overdue_until_it_is_over(
    stores: Stores,
) -> None:
    left = UnstartedRecovery("recovery-1", DUE_MS)
    assert stores.webhooks.delete(*OWNER, unstarted=left)
    assert stores.webhooks.page("acc_1", 10).items == []
    assert stores.health.overdue(DUE_MS, 10) == []
    assert stores.health.overdue(DUE_MS + 1, 10) == [KEY]
    assert stores.health.replace(KEY, "recovery-2", DUE_MS + 1)
    assert not stores.health.replace(KEY, "recovery-3", DUE_MS + 1)
    again = KEY._replace(recovery_id="recovery-2")
    assert stores.health.overdue(DUE_MS + 2, 10) == [again]
    stores.health.keep(again, DUE_MS + 5)
    assert stores.health.overdue(DUE_MS + 5, 10) == []
    stores.health.forget(again)
    stores.health.forget(again)
    assert stores.health.overdue(2**42, 10) == []
