"""Every write to DynamoDB, made by its adapter, on each state of the tables that it may find."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from faults.writing import (
    API_KEY,
    EVENT,
    HOLDER,
    KEY,
    LATER_MS,
    NEW_KEY,
    NEW_SECRET,
    NOTICE,
    NOW_MS,
    OWNER,
    WINDOW,
    StoreFixture,
    Write,
    all_of,
)
from support import samples
from support.jobs import check, erasure, replay
from webhooks.domain.delivery import Claim, Status
from webhooks.domain.errors import LimitReachedError, UnavailableError
from webhooks.domain.event import Holder
from webhooks.domain.health import Tally, Window
from webhooks.domain.jobs.check import CheckStatus
from webhooks.domain.jobs.erasure import ErasureStatus
from webhooks.domain.jobs.replay import ReplayStatus
from webhooks.domain.ses import SourceKind
from webhooks.ports import UnstartedRecovery, WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Callable


def _job(kind: str, make: Callable[[], Any], status: Any) -> dict[str, Write]:
    def save(fixture: StoreFixture, **changes: Any) -> Any:
        return getattr(fixture.stores, kind).save(make(), replace(make(), **changes))

    return {
        f"DynamoDBJobStore.create: {kind}": Write(
            lambda on: getattr(on.stores, kind).create(make())
        ),
        f"DynamoDBJobStore.save: {kind}, its end": Write(
            lambda on: save(on, status=status, updated_at_ms=LATER_MS),
            lambda on: getattr(on.stores, kind).create(make()),
        ),
        f"DynamoDBJobStore.save: {kind}, its progress": Write(
            lambda on: save(on, updated_at_ms=LATER_MS),
            lambda on: getattr(on.stores, kind).create(make()),
        ),
    }


def _by_window(fixture: StoreFixture) -> Any:
    window = Window(NOW_MS, 15, 5)
    return fixture.stores.health.open(KEY, LATER_MS, LATER_MS, window=window, trial=True)


def _reserve(fixture: StoreFixture, span_ms: int = 100) -> Any:
    return fixture.stores.host_turns.reserve(
        "acc_1", "hook.example", span_ms=span_ms, now_ms=NOW_MS, latest_ms=NOW_MS + 60_000
    )


def _gone(fixture: StoreFixture) -> Any:
    return fixture.stores.health.disable(*OWNER, "gone", LATER_MS, updated_at_ms=NOW_MS)


def _first_time(fixture: StoreFixture) -> Any:
    return fixture.stores.deliveries.update(
        samples.delivery(
            attempts=(samples.attempt(), samples.attempt(2)),
            next_attempt_at_ms=None,
            status=Status.EXHAUSTED,
        ),
        before=samples.delivery(),
    )


def _failed_in_a_window(fixture: StoreFixture) -> Any:
    return fixture.stores.health.failed(*OWNER, 2, LATER_MS, window=True)


def _paused(fixture: StoreFixture, until_ms: int = NOW_MS + 3_600_000) -> Any:
    return fixture.stores.pauses.pause(*OWNER, until_ms, updated_at_ms=NOW_MS)


def _draining_again(fixture: StoreFixture) -> None:
    """A webhook that drains and fails again: its opening keeps its recovery."""
    fixture.draining()
    fixture.stores.health.failed(*OWNER, 10, LATER_MS)


def _on_trial(fixture: StoreFixture) -> None:
    fixture.created()
    fixture.stores.health.count(*OWNER, Tally(15, 5), NOW_MS)
    assert _by_window(fixture) == KEY.recovery_id


def _trusted(fixture: StoreFixture) -> None:
    """A recovery sends new events to a webhook that is down, without a success."""
    fixture.down()
    fixture.stores.health.passed(KEY, NOW_MS, proven=False)


WRITES: dict[str, Write] = {
    "DynamoDBWebhookStore.create": Write(lambda on: on.created(external_id="mine")),
    "DynamoDBWebhookStore.update": Write(
        lambda on: on.stores.webhooks.update(*OWNER, WebhookChanges(description="d"), LATER_MS),
        StoreFixture.created,
    ),
    "DynamoDBWebhookStore.update: enabled": Write(
        lambda on: on.stores.webhooks.update(
            *OWNER, WebhookChanges(active=True), LATER_MS, NEW_KEY.recovery_id
        ),
        StoreFixture.down,
    ),
    "DynamoDBWebhookStore.update: its external id": Write(
        lambda on: on.stores.webhooks.update(*OWNER, WebhookChanges(external_id="b"), LATER_MS),
        lambda on: on.created(external_id="a"),
    ),
    "DynamoDBWebhookStore.ask": Write(
        lambda on: on.stores.webhooks.ask(*NEW_KEY, LATER_MS, before_ms=NOW_MS), StoreFixture.down
    ),
    "DynamoDBWebhookStore.ask: in a pause": Write(
        lambda on: on.stores.webhooks.ask(*NEW_KEY, LATER_MS, before_ms=NOW_MS),
        all_of(StoreFixture.created, _paused),
    ),
    "DynamoDBWebhookStore.rotate_secret": Write(
        lambda on: on.rotate(NEW_SECRET, LATER_MS), StoreFixture.created
    ),
    "DynamoDBWebhookStore.rotate_secret: without an overlap": Write(
        lambda on: on.rotate(NEW_SECRET, LATER_MS, overlap_ms=0), StoreFixture.created
    ),
    "DynamoDBWebhookStore.rotate_secret: by force": Write(
        lambda on: on.rotate("whsec_" + "ef" * 32, LATER_MS, force=True), StoreFixture.rotated
    ),
    "DynamoDBWebhookStore.restore_secret": Write(
        lambda on: on.stores.webhooks.restore_secret(*OWNER, NEW_SECRET),
        StoreFixture.without_secret,
    ),
    "DynamoDBWebhookStore.delete": Write(
        lambda on: on.stores.webhooks.delete(
            *OWNER, unstarted=UnstartedRecovery(KEY.recovery_id, NOW_MS)
        ),
        lambda on: on.created(external_id="a"),
    ),
    "DynamoDBDestinationStore.end_overlap": Write(
        lambda on: on.stores.destinations.end_overlap(*OWNER, NEW_SECRET), StoreFixture.rotated
    ),
    "DynamoDBDestinationStore.refused_both": Write(
        lambda on: on.stores.destinations.refused_both(*OWNER, on.secrets(), LATER_MS),
        StoreFixture.rotated,
    ),
    "DynamoDBHealthStore.failed": Write(
        lambda on: on.stores.health.failed(*OWNER, 2, LATER_MS), StoreFixture.created, twice=True
    ),
    "DynamoDBHealthStore.failed: a window begins": Write(_failed_in_a_window, StoreFixture.created),
    "DynamoDBHealthStore.failed: a window goes on": Write(
        _failed_in_a_window,
        all_of(
            StoreFixture.created, lambda on: on.stores.health.count(*OWNER, Tally(2, 1), NOW_MS)
        ),
        twice=True,
    ),
    "DynamoDBHealthStore.count: a window begins": Write(
        lambda on: on.stores.health.count(*OWNER, Tally(2, 1), LATER_MS), StoreFixture.created
    ),
    "DynamoDBHealthStore.count: a window goes on": Write(
        lambda on: on.stores.health.count(*OWNER, Tally(2, 1), LATER_MS),
        all_of(
            StoreFixture.created, lambda on: on.stores.health.count(*OWNER, Tally(2, 1), NOW_MS)
        ),
        twice=True,
    ),
    "DynamoDBHealthStore.count_on_probation": Write(
        lambda on: on.stores.health.count_on_probation(*OWNER, Tally(1, 2), NOW_MS),
        StoreFixture.draining,
        twice=True,
    ),
    "DynamoDBHealthStore.end_probation": Write(
        lambda on: on.stores.health.end_probation(*OWNER, NOW_MS), StoreFixture.draining
    ),
    "DynamoDBHealthStore.succeeded": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS), StoreFixture.down
    ),
    "DynamoDBHealthStore.succeeded: told down, and draining": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS, told_down=True), _trusted
    ),
    "DynamoDBHealthStore.succeeded: told down, and enabled": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS, told_down=True),
        all_of(
            StoreFixture.down,
            lambda on: on.stores.webhooks.update(
                *OWNER, WebhookChanges(active=True), NOW_MS, "recovery-3"
            ),
        ),
    ),
    "DynamoDBHealthStore.succeeded: enabled, and never told": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS), StoreFixture.enabled
    ),
    "DynamoDBHealthStore.succeeded: it had failed once": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS), lambda on: on.failing(1)
    ),
    "DynamoDBHealthStore.succeeded: on trial": Write(
        lambda on: on.stores.health.succeeded(*OWNER, LATER_MS),
        all_of(_on_trial, lambda on: on.stores.health.failed(*OWNER, 1, NOW_MS)),
    ),
    "DynamoDBHealthStore.passed": Write(
        lambda on: on.stores.health.passed(KEY, LATER_MS, proven=True), _on_trial
    ),
    "DynamoDBHealthStore.passed: not proven": Write(
        lambda on: on.stores.health.passed(KEY, LATER_MS, proven=False), _on_trial
    ),
    "DynamoDBHealthStore.passed: enabled": Write(
        lambda on: on.stores.health.passed(KEY, LATER_MS, proven=True), StoreFixture.enabled
    ),
    "DynamoDBHealthStore.open": Write(
        lambda on: on.stores.health.open(KEY, LATER_MS, NOW_MS), StoreFixture.failing
    ),
    "DynamoDBHealthStore.open: by its window": Write(
        _by_window,
        all_of(
            StoreFixture.created, lambda on: on.stores.health.count(*OWNER, Tally(15, 5), NOW_MS)
        ),
    ),
    "DynamoDBHealthStore.open: it drains": Write(
        lambda on: on.stores.health.open(NEW_KEY, LATER_MS, LATER_MS), _draining_again
    ),
    "DynamoDBHealthStore.put_on_trial": Write(
        lambda on: on.stores.health.put_on_trial(KEY), StoreFixture.down
    ),
    "DynamoDBHealthStore.warn": Write(
        lambda on: on.stores.health.warn(*OWNER, NOW_MS, LATER_MS), StoreFixture.failing
    ),
    "DynamoDBHealthStore.disable": Write(_gone, StoreFixture.created),
    "DynamoDBHealthStore.disable: failing": Write(
        lambda on: on.stores.health.disable(*OWNER, "failing", LATER_MS, failing_since_ms=NOW_MS),
        StoreFixture.down,
    ),
    "DynamoDBHealthStore.keep": Write(
        lambda on: on.stores.health.keep(KEY, LATER_MS), StoreFixture.down
    ),
    "DynamoDBHealthStore.end": Write(
        lambda on: on.stores.health.end(KEY, NOW_MS), StoreFixture.draining
    ),
    "DynamoDBHealthStore.replace": Write(
        lambda on: on.stores.health.replace(KEY, NEW_KEY.recovery_id, LATER_MS), StoreFixture.down
    ),
    "DynamoDBHealthStore.replace: of a deleted webhook": Write(
        lambda on: on.stores.health.replace(KEY, NEW_KEY.recovery_id, LATER_MS),
        StoreFixture.deleted,
    ),
    "DynamoDBHealthStore.forget": Write(
        lambda on: on.stores.health.forget(KEY), StoreFixture.deleted
    ),
    "DynamoDBPauseStore.pause": Write(_paused, StoreFixture.created),
    "DynamoDBPauseStore.clear": Write(
        lambda on: on.stores.pauses.clear(*OWNER, NOW_MS + 3_600_000),
        all_of(StoreFixture.created, _paused),
    ),
    "DynamoDBPauseStore.begin": Write(
        lambda on: on.stores.pauses.begin(KEY, LATER_MS, NOW_MS), StoreFixture.created
    ),
    "DynamoDBDeliveryStore.claim": Write(lambda on: on.stores.deliveries.claim(EVENT, HOLDER)),
    "DynamoDBDeliveryStore.claim: taken over": Write(
        lambda on: on.stores.deliveries.claim(EVENT, HOLDER._replace(take_over=True)),
        lambda on: on.stores.deliveries.claim(EVENT, Holder("batch-0", NOW_MS - 5)),
    ),
    "DynamoDBDeliveryStore.put_settled": Write(
        lambda on: on.stores.deliveries.put_settled(
            [
                samples.delivery(number, status=Status.SUCCEEDED, next_attempt_at_ms=None)
                for number in range(1, 31)
            ]
        )
    ),
    "DynamoDBDeliveryStore.create": Write(
        lambda on: on.stores.deliveries.create(samples.delivery())
    ),
    "DynamoDBDeliveryStore.update": Write(_first_time, StoreFixture.failed_once),
    "DynamoDBDeliveryStore.claim_attempt": Write(
        lambda on: on.stores.deliveries.claim_attempt(
            samples.delivery(), Claim("invocation-1", LATER_MS), attempt_number=2, now_ms=NOW_MS
        ),
        StoreFixture.failed_once,
    ),
    "DynamoDBDeliveryStore.mark_unstarted": Write(
        lambda on: on.stores.deliveries.mark_unstarted(samples.delivery()), StoreFixture.failed_once
    ),
    "DynamoDBDeliveryStore.note_expiring": Write(
        lambda on: on.stores.deliveries.note_expiring(samples.delivery(status=Status.WAITING)),
        lambda on: on.failed_once(status=Status.WAITING, reason="circuit_open"),
    ),
    "DynamoDBHostTurns.reserve": Write(_reserve),
    "DynamoDBHostTurns.reserve: in a line": Write(
        _reserve, lambda on: _reserve(on, 250), twice=True
    ),
    "DynamoDBRateLimitStore.consume": Write(
        lambda on: on.stores.rate_limits.consume(WINDOW, limit=5, count=2), twice=True
    ),
    "DynamoDBRateLimitStore.consume: the last": Write(
        lambda on: on.stores.rate_limits.consume(WINDOW, limit=3, count=2), twice=True
    ),
    "DynamoDBRateLimitStore.add": Write(
        lambda on: on.stores.rate_limits.add(WINDOW, 2), twice=True
    ),
    "DynamoDBKeptOperationalEvents.keep": Write(lambda on: on.stores.kept_events.keep(NOTICE)),
    "DynamoDBKeptOperationalEvents.forget": Write(
        lambda on: on.stores.kept_events.forget(NOTICE),
        lambda on: on.stores.kept_events.keep(NOTICE),
    ),
    "DynamoDBSesAccountStore.put": Write(
        lambda on: on.ses.put(SourceKind.TENANT, "tenant", "acc_1")
    ),
    "DynamoDBSesAccountStore.delete": Write(
        lambda on: on.ses.delete(SourceKind.TENANT, "tenant"),
        lambda on: on.ses.put(SourceKind.TENANT, "tenant", "acc_1"),
    ),
    "DynamoDBApiKeyStore.create": Write(lambda on: on.stores.api_keys.create(API_KEY)),
    "DynamoDBApiKeyStore.revoke": Write(
        lambda on: on.stores.api_keys.revoke("hash-1", LATER_MS, while_active="hash-2"),
        all_of(
            lambda on: on.stores.api_keys.create(API_KEY),
            lambda on: on.stores.api_keys.create(replace(API_KEY, key_hash="hash-2")),
        ),
    ),
    "DynamoDBApiKeyStore.touch": Write(
        lambda on: on.stores.api_keys.touch("hash-1", LATER_MS),
        lambda on: on.stores.api_keys.create(API_KEY),
    ),
    **_job("replays", replay, ReplayStatus.COMPLETED),
    **_job("erasures", erasure, ErasureStatus.COMPLETED),
    **_job("checks", check, CheckStatus.COMPLETED),
    "SeededRecords._put_record": Write(lambda on: on.once(UnavailableError("u"))),
    "SeededRecords._put_record: the record of a call that was killed": Write(
        StoreFixture.once, lambda on: on.once(UnavailableError("u"))
    ),
    "SeededRecords._update_record": Write(StoreFixture.once),
    "SeededRecords.delete_record": Write(lambda on: on.once(LimitReachedError("l"))),
}
