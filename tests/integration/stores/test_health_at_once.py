"""A thousand attempts of one webhook that end at once: one change, one recovery, one notice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support import samples
from support.engines import MOTO
from support.fakes import FakeJobScheduler, FakeOperationalEvents, FakeTelemetry
from webhooks.domain.health import (
    DISABLE_AFTER_MS,
    FAILURES_TO_OPEN,
    NOTICE_MS,
    WARN_AFTER_MS,
    Circuit,
    RecoveryKey,
    Tally,
    Window,
)
from webhooks.services.health import WebhookHealthService

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.stores import Stores
    from webhooks.domain.webhook import Webhook

OWNER = ("acc_1", samples.WEBHOOK_ID)
KEY = RecoveryKey(*OWNER, "recovery-before")
FAILED = samples.attempt()
TAKEN = samples.attempt(status_code=200, error=None)


class HealthFixture:
    """A health service over an engine's store, and the recipient of its notices."""

    def __init__(self, stores: Stores, count: int) -> None:
        self.stores = stores
        self.count = count
        self.now_ms = samples.NOW_MS
        self.recoveries = FakeJobScheduler()
        self.operational_events = FakeOperationalEvents()
        self.ids = iter(range(1_000_000))
        self.keeper = WebhookHealthService(
            store=stores.health,
            destinations=stores.destinations,
            scheduler=self.recoveries,
            operational_events=self.operational_events,
            telemetry=FakeTelemetry(),
            recovery_schedule=(30.0,),
            clock=lambda: self.now_ms / 1000,
            random=lambda: 0.0,
            new_id=lambda: f"recovery-{next(self.ids)}",
        )
        stores.webhooks.create(samples.webhook(), samples.SECRET, limit=5)

    def webhook(self) -> Webhook:
        found = self.stores.destinations.destination(*OWNER)
        assert found is not None
        return found.webhook

    def at_once(self, call: Callable[[Webhook], object]) -> None:
        """Run the same act in so many functions, which all read the webhook before."""
        webhook = self.webhook()
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda _: call(webhook), range(self.count)))


@pytest.fixture
def fixture(stores: Stores, request: pytest.FixtureRequest) -> HealthFixture:
    # moto handles one request at a time, slowly: a result there for some holds for more.
    on_moto = request.node.callspec.params["stores"] == MOTO
    return HealthFixture(stores, 100 if on_moto else 1000)


def test_failures_open_the_circuit_once(fixture: HealthFixture) -> None:
    fixture.at_once(lambda webhook: fixture.keeper.report(webhook, [FAILED]))
    health = fixture.webhook().health
    assert (health.failures, health.circuit) == (fixture.count, Circuit.OPEN)
    [(key, _)] = fixture.recoveries.started
    assert key.recovery_id == health.recovery_id
    assert fixture.operational_events.types == ["webhook.down"]


def test_more_failures_than_successes_open_the_circuit_once(fixture: HealthFixture) -> None:
    fixture.stores.health.failed(*OWNER, 2, fixture.now_ms, window=True)
    fixture.at_once(lambda webhook: fixture.keeper.report(webhook, [FAILED, TAKEN, FAILED]))
    assert fixture.webhook().health.on_trial
    assert len(fixture.recoveries.started) == 1
    assert fixture.operational_events.types == ["webhook.down"]


def test_as_many_failures_as_successes_open_nothing(fixture: HealthFixture) -> None:
    fixture.stores.health.count(*OWNER, Tally(2, 3), fixture.now_ms)
    fixture.at_once(lambda webhook: fixture.keeper.report(webhook, [FAILED, TAKEN]))
    window = fixture.webhook().health.window
    assert window == Window(fixture.now_ms, fixture.count + 2, fixture.count + 3)
    assert fixture.webhook().health.circuit is Circuit.CLOSED


def test_successes_close_it_once(fixture: HealthFixture) -> None:
    fixture.stores.health.failed(*OWNER, FAILURES_TO_OPEN, fixture.now_ms)
    fixture.stores.health.open(KEY, fixture.now_ms + 1, fixture.now_ms)
    fixture.at_once(lambda webhook: fixture.keeper.report(webhook, [TAKEN]))
    assert fixture.webhook().health.circuit is Circuit.DRAINING
    assert fixture.webhook().health.failures == 0
    assert fixture.operational_events.types == ["webhook.recovered"]


@pytest.mark.parametrize(
    ("days_ms", "told"),
    [
        ([WARN_AFTER_MS], ["webhook.failing"]),
        ([DISABLE_AFTER_MS], ["webhook.failing"]),
        ([WARN_AFTER_MS, NOTICE_MS], ["webhook.failing", "webhook.disabled"]),
    ],
)
def test_a_webhook_that_fails_for_days_is_notified_once(
    fixture: HealthFixture, days_ms: list[int], told: list[str]
) -> None:
    fixture.stores.health.failed(*OWNER, FAILURES_TO_OPEN, fixture.now_ms)
    fixture.stores.health.open(KEY, fixture.now_ms + sum(days_ms) + 1, fixture.now_ms)
    for passed_ms in days_ms:
        fixture.now_ms += passed_ms
        fixture.at_once(lambda webhook: fixture.keeper.report(webhook, [FAILED]))
    assert fixture.operational_events.types == told
    assert fixture.webhook().active == (told == ["webhook.failing"])
    # Failures that are reported after it was disabled, which changed it, no longer count.
    before_the_last_day = FAILURES_TO_OPEN + (len(told) - 1) * fixture.count
    counted = fixture.webhook().health.failures - before_the_last_day
    assert counted == fixture.count if fixture.webhook().active else 0 < counted <= fixture.count


def test_a_webhook_that_is_gone_is_disabled_once(fixture: HealthFixture) -> None:
    fixture.at_once(fixture.keeper.gone)
    assert fixture.webhook().disabled_reason == "gone"
    assert fixture.operational_events.types == ["webhook.disabled"]
