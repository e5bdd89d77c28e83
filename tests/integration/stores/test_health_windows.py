"""The contract of the health stores for windows, trials and probes, on fakes and DynamoDB."""

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
    go_down,
    health,
)
from support import samples
from webhooks.domain.health import (
    CLEAN,
    WINDOW_MS,
    Circuit,
    Comeback,
    Health,
    HealthState,
    Tally,
    Window,
)
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from support.stores import Stores


@pytest.fixture(autouse=True)
def _registered(stores: Stores) -> None:
    stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)


def count(stores: Stores, failed: int, taken: int, now_ms: int = NOW_MS) -> Window | None:
    counted = stores.health.count(*OWNER, Tally(failed, taken), now_ms)
    assert counted is not None
    return counted.window


def test_a_window_counts_what_failed_and_what_was_taken_for_a_minute(stores: Stores) -> None:
    assert stores.health.failed(*OWNER, 2, NOW_MS, window=True) == Health(
        2, NOW_MS, window=Window(NOW_MS, 2, 0)
    )
    assert count(stores, 1, 4, NOW_MS + 1) == Window(NOW_MS, 3, 4)
    last_ms = NOW_MS + WINDOW_MS - 1
    failed = stores.health.failed(*OWNER, 5, last_ms, window=True)
    assert failed == health(stores) == Health(7, NOW_MS, window=Window(NOW_MS, 8, 4))
    assert count(stores, 0, 1, last_ms + 1) == Window(last_ms + 1, 0, 1)
    # An attempt that the window does not count leaves it unchanged.
    stores.health.failed(*OWNER, 1, last_ms + 2)
    assert health(stores).window == Window(last_ms + 1, 0, 1)
    later_ms = NOW_MS + 5 * WINDOW_MS
    assert stores.health.failed(*OWNER, 3, later_ms, window=True) == Health(
        11, NOW_MS, window=Window(later_ms, 3, 0)
    )


def test_attempts_of_a_webhook_that_was_changed_since_are_in_no_window(stores: Stores) -> None:
    read_at_ms = samples.webhook().updated_at_ms
    count(stores, 3, 1)
    stores.webhooks.update(*OWNER, WebhookChanges(url="https://new.example.com/"), NOW_MS + 5)
    assert health(stores).window is None
    tally = Tally(9, 1)
    assert stores.health.count(*OWNER, tally, NOW_MS + 6, updated_at_ms=read_at_ms) is None
    old = stores.health.failed(*OWNER, 9, NOW_MS + 6, updated_at_ms=read_at_ms, window=True)
    assert old is None
    assert health(stores) == CLEAN
    new = stores.health.count(*OWNER, tally, NOW_MS + 6, updated_at_ms=NOW_MS + 5)
    assert new == health(stores) == Health(window=Window(NOW_MS + 6, 9, 1))


def test_of_a_thousand_attempts_at_once_none_is_missing_in_the_window(stores: Stores) -> None:
    def call(number: int) -> object:
        if number % 2:
            return stores.health.failed(*OWNER, 1, NOW_MS, window=True)
        return stores.health.count(*OWNER, Tally(1, 2), NOW_MS)

    at_once(200, call)
    assert health(stores).window == Window(NOW_MS, 200, 200)


def test_a_window_opens_the_circuit_while_most_of_it_failed(stores: Stores) -> None:
    window = count(stores, 11, 9)
    opened = stores.health.open(KEY, DUE_MS, NOW_MS + 3, window=window, trial=True)
    assert opened == "recovery-1"
    assert health(stores) == Health(
        circuit=Circuit.OPEN,
        recovery_id="recovery-1",
        recovery_due_at_ms=DUE_MS,
        down_since_ms=NOW_MS,
        comeback=Comeback.TRIAL,
    )
    assert health(stores).state is HealthState.DOWN


def test_a_window_opens_nothing_once_half_of_it_was_taken(stores: Stores) -> None:
    window = count(stores, 11, 9)
    count(stores, 0, 2)
    assert stores.health.open(KEY, DUE_MS, NOW_MS, window=window, trial=True) is None
    count(stores, 3, 0, NOW_MS + WINDOW_MS)
    # Nor does a window that another has followed.
    assert stores.health.open(KEY, DUE_MS, NOW_MS, window=window, trial=True) is None
    assert health(stores).circuit is Circuit.CLOSED


def go_on_trial(stores: Stores) -> None:
    stores.health.failed(*OWNER, 9, NOW_MS, window=True)
    window = count(stores, 8, 3)
    assert stores.health.open(KEY, DUE_MS, NOW_MS, window=window, trial=True) == "recovery-1"


def test_a_success_on_trial_begins_the_count_anew_and_leaves_it_open(stores: Stores) -> None:
    go_on_trial(stores)
    stores.health.warn(*OWNER, NOW_MS, NOW_MS)
    assert not stores.health.succeeded(*OWNER, NOW_MS + 7)
    assert health(stores) == Health(
        circuit=Circuit.OPEN,
        recovery_id="recovery-1",
        recovery_due_at_ms=DUE_MS,
        down_since_ms=NOW_MS,
        comeback=Comeback.TRIAL,
    )


def test_a_trial_is_passed_once_and_only_by_its_own_recovery(stores: Stores) -> None:
    go_on_trial(stores)
    other = KEY._replace(recovery_id="other")
    assert not stores.health.passed(other, NOW_MS + 7, proven=True)
    passed = [stores.health.passed(KEY, NOW_MS + 7, proven=True) for _ in range(2)]
    assert passed == [True, False]
    assert health(stores) == replace(
        DRAINING, comeback=Comeback.TRIAL, window=None, probation=False
    )
    assert stores.health.end(KEY, NOW_MS + 7)
    assert health(stores) == CLEAN


@pytest.mark.parametrize("trial", [True, False])
def test_an_owner_asks_for_a_probe_of_what_is_down_once_in_a_while(
    stores: Stores, trial: bool
) -> None:
    def ask(number: int, now_ms: int) -> bool:
        return stores.webhooks.ask(*OWNER, f"asked-{number}", now_ms, before_ms=now_ms - 30)

    assert not ask(1, NOW_MS)
    assert health(stores) == CLEAN
    if trial:
        go_on_trial(stores)
    else:
        go_down(stores)
    assert at_once(20, lambda number: ask(number, NOW_MS + 5)).count(True) == 1
    asked = health(stores)
    assert asked == Health(
        circuit=Circuit.OPEN,
        recovery_id=asked.recovery_id,
        recovery_due_at_ms=NOW_MS + 5,
        down_since_ms=NOW_MS,
        comeback=Comeback.TRIAL if trial else Comeback.SLOW,
    )
    assert not ask(30, NOW_MS + 34)
    assert ask(31, NOW_MS + 35)
    assert health(stores).recovery_id == "asked-31"
    stores.health.disable(*OWNER, "gone", NOW_MS)
    assert not ask(32, NOW_MS + 99)


def test_the_first_success_after_a_requested_probe_is_notified(stores: Stores) -> None:
    go_down(stores)
    stores.webhooks.ask(*OWNER, "asked", NOW_MS + 5, before_ms=NOW_MS)
    assert [stores.health.succeeded(*OWNER, NOW_MS + 6) for _ in range(2)] == [True, False]


def test_enabling_a_webhook_that_was_never_down_notifies_no_recovery(stores: Stores) -> None:
    stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS + 5, recovery_id="r")
    assert not stores.health.succeeded(*OWNER, NOW_MS + 6)
    assert health(stores).circuit is Circuit.DRAINING


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        (WebhookChanges(description="new", metadata={"a": "b"}, events=("email.sent",)), True),
        (WebhookChanges(external_id="mine"), True),
        (WebhookChanges(headers={"X-Key": "1"}), False),
        (WebhookChanges(active=True), False),
        # A receiver that is gone or down is so under every secret.
        (None, True),
    ],
)
def test_only_a_change_of_what_a_request_depends_on_makes_failures_old(
    stores: Stores, changes: WebhookChanges | None, counts: bool
) -> None:
    """Otherwise an owner who keeps changing a description would keep a dead webhook up."""
    read_at_ms = samples.webhook().updated_at_ms
    if changes is None:
        stores.webhooks.rotate_secret(
            *OWNER, "the-new-secret-16", previous_until_ms=0, now_ms=NOW_MS + 5
        )
    else:
        stores.webhooks.update(*OWNER, changes, NOW_MS + 5)
    failed = stores.health.failed(*OWNER, 3, NOW_MS + 6, updated_at_ms=read_at_ms)
    assert failed == (Health(3, NOW_MS + 6) if counts else None)
    assert stores.health.disable(*OWNER, "gone", NOW_MS, updated_at_ms=read_at_ms) is counts


def test_a_probation_counts_until_it_ends_and_only_its_own(stores: Stores) -> None:
    go_down(stores)
    since_ms = NOW_MS + 7
    assert stores.health.count_on_probation(*OWNER, Tally(1, 1), since_ms) is None
    stores.health.succeeded(*OWNER, since_ms)
    assert stores.health.count_on_probation(*OWNER, Tally(9, 9), since_ms - 1) is None
    counted = stores.health.count_on_probation(*OWNER, Tally(2, 1), since_ms)
    assert counted == health(stores) == replace(DRAINING, window=Window(since_ms, 2, 1))
    assert health(stores).on_probation
    stores.health.end_probation(*OWNER, since_ms - 1)
    assert health(stores).on_probation
    stores.health.end_probation(*OWNER, since_ms)
    assert health(stores) == replace(DRAINING, window=None, probation=False)
    assert stores.health.count_on_probation(*OWNER, Tally(1, 1), since_ms) is None
    assert health(stores).window is None


def test_a_probation_is_over_where_it_is_down_again_or_leads_elsewhere(stores: Stores) -> None:
    go_down(stores)
    stores.health.succeeded(*OWNER, NOW_MS + 7)
    counted = stores.health.count_on_probation(*OWNER, Tally(4, 0), NOW_MS + 7)
    assert counted is not None
    opened = stores.health.open(KEY, DUE_MS, NOW_MS + 8, window=counted.window, trial=True)
    assert opened == "recovery-1"
    assert (health(stores).probation, health(stores).on_trial) == (False, True)
    stores.health.passed(KEY, NOW_MS + 9, proven=True)
    assert not health(stores).on_probation
    stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS + 10, recovery_id="r")
    stores.health.succeeded(*OWNER, NOW_MS + 11)
    assert health(stores).on_probation
    stores.webhooks.update(*OWNER, WebhookChanges(url="https://new.example.com/"), NOW_MS + 12)
    assert not health(stores).on_probation


def test_what_is_down_is_put_on_trial_by_its_recovery_alone(stores: Stores) -> None:
    stores.health.put_on_trial(KEY)
    assert health(stores) == CLEAN
    go_down(stores)
    stores.health.put_on_trial(KEY._replace(recovery_id="other"))
    assert not health(stores).on_trial
    count(stores, 9, 1)
    stores.health.put_on_trial(KEY)
    assert (health(stores).on_trial, health(stores).window) == (True, None)
    # A probe that its owner asked for is made as requested.
    stores.webhooks.update(*OWNER, WebhookChanges(active=True), NOW_MS + 5, recovery_id="asked")
    stores.health.put_on_trial(KEY._replace(recovery_id="asked"))
    assert health(stores).comeback is Comeback.SLOW
