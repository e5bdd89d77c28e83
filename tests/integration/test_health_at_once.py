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


class World:
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
def world(stores: Stores, request: pytest.FixtureRequest) -> World:
    # moto handles one request at a time, slowly: a result there for some holds for more.
    on_moto = request.node.callspec.params["stores"] == MOTO
    return World(stores, 100 if on_moto else 1000)


def test_failures_open_the_circuit_once(world: World) -> None:
    world.at_once(lambda webhook: world.keeper.report(webhook, [FAILED]))
    health = world.webhook().health
    assert (health.failures, health.circuit) == (world.count, Circuit.OPEN)
    [(key, _)] = world.recoveries.started
    assert key.recovery_id == health.recovery_id
    assert world.operational_events.types == ["webhook.down"]


def test_more_failures_than_successes_open_the_circuit_once(world: World) -> None:
    world.stores.health.failed(*OWNER, 2, world.now_ms, window=True)
    world.at_once(lambda webhook: world.keeper.report(webhook, [FAILED, TAKEN, FAILED]))
    assert world.webhook().health.on_trial
    assert len(world.recoveries.started) == 1
    assert world.operational_events.types == ["webhook.down"]


def test_as_many_failures_as_successes_open_nothing(world: World) -> None:
    world.stores.health.count(*OWNER, Tally(2, 3), world.now_ms)
    world.at_once(lambda webhook: world.keeper.report(webhook, [FAILED, TAKEN]))
    window = world.webhook().health.window
    assert window == Window(world.now_ms, world.count + 2, world.count + 3)
    assert world.webhook().health.circuit is Circuit.CLOSED


def test_successes_close_it_once(world: World) -> None:
    world.stores.health.failed(*OWNER, FAILURES_TO_OPEN, world.now_ms)
    world.stores.health.open(KEY, world.now_ms + 1, world.now_ms)
    world.at_once(lambda webhook: world.keeper.report(webhook, [TAKEN]))
    assert world.webhook().health.circuit is Circuit.DRAINING
    assert world.webhook().health.failures == 0
    assert world.operational_events.types == ["webhook.recovered"]


@pytest.mark.parametrize(
    ("days_ms", "told"),
    [
        ([WARN_AFTER_MS], ["webhook.failing"]),
        ([DISABLE_AFTER_MS], ["webhook.failing"]),
        ([WARN_AFTER_MS, NOTICE_MS], ["webhook.failing", "webhook.disabled"]),
    ],
)
def test_a_webhook_that_fails_for_days_is_notified_once(
    world: World, days_ms: list[int], told: list[str]
) -> None:
    world.stores.health.failed(*OWNER, FAILURES_TO_OPEN, world.now_ms)
    world.stores.health.open(KEY, world.now_ms + sum(days_ms) + 1, world.now_ms)
    for passed_ms in days_ms:
        world.now_ms += passed_ms
        world.at_once(lambda webhook: world.keeper.report(webhook, [FAILED]))
    assert world.operational_events.types == told
    assert world.webhook().active == (told == ["webhook.failing"])
    # Failures that are reported after it was disabled, which changed it, no longer count.
    before_the_last_day = FAILURES_TO_OPEN + (len(told) - 1) * world.count
    counted = world.webhook().health.failures - before_the_last_day
    assert counted == world.count if world.webhook().active else 0 < counted <= world.count


def test_a_webhook_that_is_gone_is_disabled_once(world: World) -> None:
    world.at_once(world.keeper.gone)
    assert world.webhook().disabled_reason == "gone"
    assert world.operational_events.types == ["webhook.disabled"]
