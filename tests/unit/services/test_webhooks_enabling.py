"""An owner enables a webhook, asks for a probe and moves it, and the limits of these calls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from support.fakes import FakeJobScheduler, FakeWebhookStore
from unit.services.webhook_services import NOW_NS, REGISTRATION, make_registry
from webhooks.domain.errors import TooManyEnablesError
from webhooks.domain.health import Circuit, Comeback, Health
from webhooks.domain.webhook import Secrets
from webhooks.ports import WebhookChanges
from webhooks.services.webhooks import ASK_SECONDS, WebhookService

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.webhook import Webhook


@pytest.fixture
def store() -> FakeWebhookStore:
    return FakeWebhookStore()


def going_down(store: FakeWebhookStore, webhook_service: WebhookService, **values: Any) -> Webhook:
    """Return a webhook of the service's that is down."""
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    down = Health(failures=10, circuit=Circuit.OPEN, recovery_id="recovery-1", **values)
    webhook = replace(webhook, health=down)
    store.add(webhook, Secrets("s"))
    return webhook


@pytest.mark.parametrize("circuit", [Circuit.CLOSED, Circuit.DRAINING])
def test_enabling_what_is_enabled_changes_and_starts_nothing(
    store: FakeWebhookStore, circuit: Circuit
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    known = replace(webhook, health=Health(failures=9, circuit=circuit), updated_at_ms=1)
    store.add(known, Secrets("s"))
    assert webhook_service.update("acme", webhook.id, WebhookChanges(active=True)) == known
    assert recoveries.started == []
    # A failure in the meantime counts, since the webhook is unchanged.
    assert store.webhooks["acme", webhook.id][0].updated_at_ms == 1


def test_enabling_with_another_change_makes_that_change(store: FakeWebhookStore) -> None:
    webhook_service = make_registry(store)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    changes = WebhookChanges(active=True, description="new")
    changed = webhook_service.update("acme", webhook.id, changes)
    assert changed is not None
    assert changed.description == "new"


def test_a_webhook_that_is_down_is_probed_by_its_owners_wish_every_half_minute(
    store: FakeWebhookStore,
) -> None:
    recoveries = FakeJobScheduler()
    now = NOW_NS
    webhook_service = make_registry(store, recoveries=recoveries, now_ns=lambda: now)
    webhook = going_down(store, webhook_service)
    started = []
    for _ in range(ASK_SECONDS + 1):
        webhook_service.update("acme", webhook.id, WebhookChanges(active=True))
        started.append(len(recoveries.started))
        now += 1_000_000_000
    assert started == [1] * ASK_SECONDS + [2]
    stored = store.webhooks["acme", webhook.id][0]
    assert (stored.health.circuit, stored.health.comeback) == (Circuit.OPEN, Comeback.SLOW)


def test_a_webhook_on_trial_stays_on_trial_whatever_its_owner_asks_for(
    store: FakeWebhookStore,
) -> None:
    webhook_service = make_registry(store)
    webhook = going_down(store, webhook_service, comeback=Comeback.TRIAL)
    changed = webhook_service.update("acme", webhook.id, WebhookChanges(active=True))
    assert changed is not None
    assert changed.health.on_trial
    moved = webhook_service.update("acme", webhook.id, WebhookChanges(url="https://new.acme.com/"))
    assert moved is not None
    assert moved.health.awaits_probe


@pytest.mark.parametrize(
    "changes",
    [
        WebhookChanges(active=True),
        WebhookChanges(url=REGISTRATION.url),
        WebhookChanges(url="https://new.acme.com/"),
    ],
)
def test_a_webhook_that_is_down_is_set_right_so_often_an_hour(
    store: FakeWebhookStore, changes: WebhookChanges
) -> None:
    now = NOW_NS
    webhook_service = make_registry(store, enables=3, now_ns=lambda: now)
    webhook = going_down(store, webhook_service)
    for _ in range(3):
        store.add(webhook, Secrets("s"))
        assert webhook_service.update("acme", webhook.id, changes) is not None
    store.add(webhook, Secrets("s"))
    with pytest.raises(TooManyEnablesError) as refused:
        webhook_service.update("acme", webhook.id, changes)
    assert store.webhooks["acme", webhook.id][0] == webhook
    now += refused.value.retry_after_seconds * 1_000_000_000
    assert webhook_service.update("acme", webhook.id, changes) is not None


@pytest.mark.parametrize("active", [True, False])
def test_a_webhook_is_enabled_so_often_an_hour(store: FakeWebhookStore, active: bool) -> None:
    webhook_service = make_registry(store, enables=3)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    for _ in range(3):
        store.add(replace(webhook, active=active), Secrets("s"))
        webhook_service.update("acme", webhook.id, WebhookChanges(active=True))
    store.add(replace(webhook, active=active), Secrets("s"))
    with pytest.raises(TooManyEnablesError):
        webhook_service.update("acme", webhook.id, WebhookChanges(active=True))
    # Disabling, and a change that no request depends on, are not counted.
    webhook_service.update("acme", webhook.id, WebhookChanges(active=False))
    webhook_service.update(
        "acme", webhook.id, WebhookChanges(description="new", url=REGISTRATION.url)
    )
    assert webhook_service.update("acme", str(UUID(int=1)), WebhookChanges(active=True)) is None


def paused(store: FakeWebhookStore, webhook_service: WebhookService, **values: Any) -> Webhook:
    """Return a webhook of the service's whose receiver asked for an hour's pause."""
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    health = Health(failures=1, not_before_ms=NOW_NS // 1_000_000 + 3_600_000, **values)
    webhook = replace(webhook, health=health)
    store.add(webhook, Secrets("s"))
    return webhook


@pytest.mark.parametrize("recovery_id", [None, "recovery-1"])
@pytest.mark.parametrize("changes", [{"active": True}, {"url": "https://new.example.com/hook"}])
def test_enabling_or_moving_a_paused_webhook_ends_the_pause_with_a_probe(
    store: FakeWebhookStore, changes: dict[str, Any], recovery_id: str | None
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    circuit = Circuit.DRAINING if recovery_id else Circuit.CLOSED
    webhook = paused(store, webhook_service, circuit=circuit, recovery_id=recovery_id)
    changed = webhook_service.update("acme", webhook.id, WebhookChanges(**changes))
    assert changed is not None
    health = changed.health
    assert (health.not_before_ms, health.circuit) == (None, Circuit.OPEN)
    assert health.awaits_probe
    [(key, delay)] = recoveries.started
    assert (key.recovery_id, delay) == (health.recovery_id, 1)
    assert key.recovery_id != recovery_id


@pytest.mark.parametrize("changes", [{"headers": {"X-Team": "a"}}, {"description": "new"}])
def test_another_change_leaves_a_pause_as_it_is(
    store: FakeWebhookStore, changes: dict[str, Any]
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = paused(store, webhook_service)
    changed = webhook_service.update("acme", webhook.id, WebhookChanges(**changes))
    assert changed is not None
    assert changed.health == webhook.health
    assert recoveries.started == []


def test_a_pause_that_is_over_has_nobody_probed(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = paused(store, webhook_service)
    over = replace(webhook, health=replace(webhook.health, not_before_ms=NOW_NS // 1_000_000))
    store.add(over, Secrets("s"))
    assert webhook_service.update("acme", webhook.id, WebhookChanges(active=True)) == over
    assert recoveries.started == []
