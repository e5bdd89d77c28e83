"""Registering webhooks: ids, secrets, cursors and the steps around them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from support import samples
from support.fakes import (
    FakeHealthStore,
    FakeJobScheduler,
    FakeObserver,
    FakeRateLimitStore,
    FakeWebhookStore,
)
from webhooks.domain import cursor, targets
from webhooks.domain.errors import (
    InvalidInputError,
    InvalidTargetError,
    LimitReachedError,
    TooManyEnablesError,
    UnavailableError,
)
from webhooks.domain.health import SETTLE_SECONDS, Circuit, Comeback, Health
from webhooks.domain.rate_limit import RateLimit
from webhooks.domain.webhook import (
    InvalidWebhookError,
    Registration,
    Secrets,
    generated_secret,
    webhook_id,
)
from webhooks.ports import WebhookChanges
from webhooks.services.rate_limits import RateLimits
from webhooks.services.registry import ASK_SECONDS, Registry, Rotated

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from webhooks.domain.webhook import Webhook

KEY = b"k" * 32
NOW_NS = 1_766_359_512_006_123_456
REGISTRATION = Registration(url="https://hooks.acme.com/email", events=("email.sent",))
SCOPES = st.lists(st.text(max_size=20), max_size=4)


def make_registry(
    store: FakeWebhookStore,
    *addresses: str,
    max_webhooks: int = 50,
    max_webhooks_per_host: int = 50,
    recoveries: FakeJobScheduler | None = None,
    enables: int = 60,
    now_ns: Callable[[], int] = lambda: NOW_NS,
) -> Registry:
    return Registry(
        store,
        recoveries=recoveries or FakeJobScheduler(),
        rate_limits=RateLimits(
            FakeRateLimitStore(),
            limits={RateLimit.ENABLES: enables},
            observer=FakeObserver(),
            clock=lambda: now_ns() / 1e9,
        ),
        observer=FakeObserver(),
        check_url=targets.check_url,
        resolve=lambda _host: addresses,
        is_public=targets.is_public,
        max_webhooks=max_webhooks,
        max_webhooks_per_host=max_webhooks_per_host,
        cursor_key=KEY,
        now_ns=now_ns,
        random_bytes=lambda count: b"\xab" * count,
    )


@pytest.fixture
def store() -> FakeWebhookStore:
    return FakeWebhookStore()


def test_a_webhook_is_stored_with_its_secret(store: FakeWebhookStore) -> None:
    webhook, secret = make_registry(store).register("acme", REGISTRATION)
    assert secret == "whsec_" + "ab" * 32
    assert (webhook.account_id, webhook.active) == ("acme", True)
    assert webhook.created_at_ms == webhook.updated_at_ms == 1_766_359_512_006
    stored, secrets = store.webhooks["acme", webhook.id]
    assert stored == webhook
    assert (secrets.current, secrets.previous) == (secret, None)


def test_a_given_secret_is_kept(store: FakeWebhookStore) -> None:
    registration = Registration(url=REGISTRATION.url, events=("*",), secret="your_webhook_secret")
    assert make_registry(store).register("acme", registration).secret == "your_webhook_secret"


def test_neither_secret_nor_url_is_in_the_text_of_a_registration() -> None:
    registration = Registration(url="https://canary.acme.com", events=("*",), secret="canary" * 4)
    assert "canary" not in repr(registration)


def test_all_broken_rules_are_told_at_once(store: FakeWebhookStore) -> None:
    registration = Registration(
        url="http://acme.com",
        events=("email.sent", "no"),
        secret="short",
        description="two\nlines",
    )
    with pytest.raises(InvalidWebhookError) as refusal:
        make_registry(store).register("acme", registration)
    fields = [problem.field for problem in refusal.value.problems]
    assert fields == ["url", "events[1]", "secret", "description"]
    assert refusal.value.field == "url"


def test_every_address_of_the_host_must_be_public(store: FakeWebhookStore) -> None:
    with pytest.raises(InvalidTargetError):
        make_registry(store, "93.184.216.34", "10.0.0.1").register("acme", REGISTRATION)
    assert not store.webhooks
    make_registry(store, "93.184.216.34").register("acme", REGISTRATION)
    assert store.webhooks


def test_the_limit_is_the_stores_to_keep(store: FakeWebhookStore) -> None:
    registry = make_registry(store, max_webhooks=1)
    store.add(samples.webhook(account_id="acme"), Secrets(samples.SECRET))
    with pytest.raises(LimitReachedError):
        registry.register("acme", REGISTRATION)


def test_a_store_that_does_not_answer_is_not_an_absent_webhook(store: FakeWebhookStore) -> None:
    registry = make_registry(store)
    webhook = registry.register("acme", REGISTRATION).webhook
    store.failures.plan("get", True)
    with pytest.raises(UnavailableError):
        registry.get("acme", webhook.id)
    assert registry.get("acme", webhook.id) == webhook


@pytest.mark.parametrize("malformed", ["", "quota", "x" * 3000, "#", "ABC", f"{UUID(int=1)}\n"])
def test_what_is_no_id_is_absent_without_a_look_up(store: FakeWebhookStore, malformed: str) -> None:
    registry = make_registry(store)
    store.failures.plan("get", True)
    store.failures.plan("delete", True)
    assert registry.get("acme", malformed) is None
    assert registry.delete("acme", malformed) is False


def test_only_its_own_account_deletes_a_webhook(store: FakeWebhookStore) -> None:
    registry = make_registry(store)
    webhook = registry.register("acme", REGISTRATION).webhook
    assert registry.delete("globex", webhook.id) is False
    assert registry.delete("acme", webhook.id) is True
    assert registry.delete("acme", webhook.id) is False


@pytest.mark.parametrize(
    ("active", "circuit"),
    # A healthy one may go down, and its events be deferred, between the look and the deletion.
    [(True, Circuit.CLOSED), (False, Circuit.CLOSED), (True, Circuit.OPEN)],
)
def test_what_waits_for_a_webhook_is_cancelled_after_its_deletion(
    store: FakeWebhookStore, active: bool, circuit: Circuit
) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=active, health=Health(circuit=circuit)), Secrets("s"))
    assert registry.delete("acme", webhook.id)
    [(key, delay_seconds)] = recoveries.started
    assert key[:2] == ("acme", webhook.id)
    assert delay_seconds == SETTLE_SECONDS


def test_a_deletion_needs_no_step_functions(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    recoveries.failures.plan("start", True)
    assert registry.delete("acme", webhook.id)
    assert registry.get("acme", webhook.id) is None
    # What cancels the deliveries that wait for it is the sweep's to start.
    health = FakeHealthStore(store)
    due_ms = store.unstarted["acme", webhook.id].due_ms
    assert health.overdue(due_ms, 10) == []
    [key] = health.overdue(due_ms + 1, 10)
    assert key[:2] == ("acme", webhook.id)


def test_deleting_an_absent_webhook_starts_nothing(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    assert not make_registry(store, recoveries=recoveries).delete("acme", str(UUID(int=1)))
    assert recoveries.started == []


@pytest.mark.parametrize("active", [True, False])
def test_a_rotation_that_restores_a_missing_secret_sends_what_waits_for_it(
    store: FakeWebhookStore, active: bool
) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=active), Secrets(None))
    rotated = registry.rotate_secret("acme", webhook.id, "a-secret-of-their-own")
    # There is no old one that could live on.
    assert rotated == Rotated("a-secret-of-their-own", None)
    stored, secrets = store.webhooks["acme", webhook.id]
    assert secrets == Secrets("a-secret-of-their-own")
    assert stored.health.awaits_probe
    [(key, delay_seconds)] = recoveries.started
    assert (key, delay_seconds) == (("acme", webhook.id, stored.health.recovery_id), 1.0)


@pytest.mark.parametrize(
    ("changes", "active", "begins"),
    [
        (WebhookChanges(active=True), True, True),
        (WebhookChanges(active=True), False, True),
        (WebhookChanges(url=REGISTRATION.url), True, True),
        (WebhookChanges(url=REGISTRATION.url), False, False),
        (WebhookChanges(url=REGISTRATION.url, active=True), False, True),
        (WebhookChanges(url=REGISTRATION.url, active=False), True, False),
        (WebhookChanges(description="new"), True, False),
    ],
)
def test_a_webhook_that_is_down_has_a_recovery_that_somebody_runs(
    store: FakeWebhookStore, changes: WebhookChanges, active: bool, begins: bool
) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    down = Health(failures=10, circuit=Circuit.OPEN, recovery_id="recovery-1")
    store.add(replace(webhook, active=active, health=down), Secrets("s"))
    changed = registry.update("acme", webhook.id, changes)
    assert changed is not None
    if changed.active:
        assert changed.health.awaits_probe is begins
        assert (changed.health.circuit, changed.health.failures) == (
            Circuit.OPEN,
            0 if begins else 10,
        )
    started = [(key.recovery_id, delay) for key, delay in recoveries.started]
    # A moment later: asked for often it is begun once.
    assert started == ([(changed.health.recovery_id, 1.0)] if begins else [])


def going_down(store: FakeWebhookStore, registry: Registry, **values: Any) -> Webhook:
    """Return a webhook of the registry's that is down."""
    webhook = registry.register("acme", REGISTRATION).webhook
    down = Health(failures=10, circuit=Circuit.OPEN, recovery_id="recovery-1", **values)
    webhook = replace(webhook, health=down)
    store.add(webhook, Secrets("s"))
    return webhook


@pytest.mark.parametrize("circuit", [Circuit.CLOSED, Circuit.DRAINING])
def test_enabling_what_is_enabled_changes_and_starts_nothing(
    store: FakeWebhookStore, circuit: Circuit
) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    known = replace(webhook, health=Health(failures=9, circuit=circuit), updated_at_ms=1)
    store.add(known, Secrets("s"))
    assert registry.update("acme", webhook.id, WebhookChanges(active=True)) == known
    assert recoveries.started == []
    # What failed meanwhile counts, since nobody has changed the webhook.
    assert store.webhooks["acme", webhook.id][0].updated_at_ms == 1


def test_enabling_with_another_change_makes_that_change(store: FakeWebhookStore) -> None:
    registry = make_registry(store)
    webhook = registry.register("acme", REGISTRATION).webhook
    changes = WebhookChanges(active=True, description="new")
    changed = registry.update("acme", webhook.id, changes)
    assert changed is not None
    assert changed.description == "new"


def test_a_webhook_that_is_down_is_probed_by_its_owners_wish_every_half_minute(
    store: FakeWebhookStore,
) -> None:
    recoveries = FakeJobScheduler()
    now = NOW_NS
    registry = make_registry(store, recoveries=recoveries, now_ns=lambda: now)
    webhook = going_down(store, registry)
    started = []
    for _ in range(ASK_SECONDS + 1):
        registry.update("acme", webhook.id, WebhookChanges(active=True))
        started.append(len(recoveries.started))
        now += 1_000_000_000
    assert started == [1] * ASK_SECONDS + [2]
    stored = store.webhooks["acme", webhook.id][0]
    assert (stored.health.circuit, stored.health.comeback) == (Circuit.OPEN, Comeback.SLOW)


def test_a_webhook_on_trial_stays_on_trial_whatever_its_owner_asks_for(
    store: FakeWebhookStore,
) -> None:
    registry = make_registry(store)
    webhook = going_down(store, registry, comeback=Comeback.TRIAL)
    changed = registry.update("acme", webhook.id, WebhookChanges(active=True))
    assert changed is not None
    assert changed.health.on_trial
    moved = registry.update("acme", webhook.id, WebhookChanges(url="https://new.acme.com/"))
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
    registry = make_registry(store, enables=3, now_ns=lambda: now)
    webhook = going_down(store, registry)
    for _ in range(3):
        store.add(webhook, Secrets("s"))
        assert registry.update("acme", webhook.id, changes) is not None
    store.add(webhook, Secrets("s"))
    with pytest.raises(TooManyEnablesError) as refused:
        registry.update("acme", webhook.id, changes)
    assert store.webhooks["acme", webhook.id][0] == webhook
    now += refused.value.retry_after_seconds * 1_000_000_000
    assert registry.update("acme", webhook.id, changes) is not None


@pytest.mark.parametrize("active", [True, False])
def test_a_webhook_is_enabled_so_often_an_hour(store: FakeWebhookStore, active: bool) -> None:
    registry = make_registry(store, enables=3)
    webhook = registry.register("acme", REGISTRATION).webhook
    for _ in range(3):
        store.add(replace(webhook, active=active), Secrets("s"))
        registry.update("acme", webhook.id, WebhookChanges(active=True))
    store.add(replace(webhook, active=active), Secrets("s"))
    with pytest.raises(TooManyEnablesError):
        registry.update("acme", webhook.id, WebhookChanges(active=True))
    # Disabling, and a change of what no request depends on, is not counted.
    registry.update("acme", webhook.id, WebhookChanges(active=False))
    registry.update("acme", webhook.id, WebhookChanges(description="new", url=REGISTRATION.url))
    assert registry.update("acme", str(UUID(int=1)), WebhookChanges(active=True)) is None


def test_a_recovery_is_started_though_somebody_switched_the_webhook_off_meanwhile(
    store: FakeWebhookStore,
) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=False), Secrets("s"))
    update = store.update

    def overtaken(*values: Any) -> Webhook | None:
        update(*values)
        return update("acme", webhook.id, WebhookChanges(active=False), values[3] + 1)

    store.update = overtaken  # type: ignore[assignment,method-assign]
    registry.update("acme", webhook.id, WebhookChanges(active=True))
    stored, _ = store.webhooks["acme", webhook.id]
    # Its first step ends it; without one it would be overdue for the sweep.
    assert [key.recovery_id for key, _ in recoveries.started] == [stored.health.recovery_id]


def test_a_rotation_that_another_one_overtakes_rotates_what_that_one_restored(
    store: FakeWebhookStore,
) -> None:
    registry = make_registry(store)
    webhook = registry.register("acme", REGISTRATION).webhook
    store.add(webhook, Secrets(None))
    restore = store.restore_secret

    def overtaken(*values: Any, **more: Any) -> bool:
        store.add(webhook, Secrets("the-secret-of-another"))
        return restore(*values, **more)

    store.restore_secret = overtaken  # type: ignore[method-assign]
    assert registry.rotate_secret("acme", webhook.id, "a-secret-of-their-own") is not None
    secrets = store.webhooks["acme", webhook.id][1]
    assert (secrets.current, secrets.previous) == (
        "a-secret-of-their-own",
        "the-secret-of-another",
    )


def test_an_ordinary_rotation_starts_nothing(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    registry = make_registry(store, recoveries=recoveries)
    webhook = registry.register("acme", REGISTRATION).webhook
    assert registry.rotate_secret("acme", webhook.id) is not None
    assert registry.rotate_secret("acme", str(UUID(int=1))) is None
    assert recoveries.started == []


def test_a_generated_secret_takes_32_bytes() -> None:
    assert re.fullmatch(r"whsec_[0-9a-f]{64}", generated_secret(bytes(range(32))))
    with pytest.raises(ValueError, match="32"):
        generated_secret(bytes(31))


@given(st.integers(0, (1 << 48) * 1_000_000 - 1), st.binary(min_size=8, max_size=8))
def test_an_id_is_a_uuid_of_version_7_that_tells_its_time(now_ns: int, random: bytes) -> None:
    uuid = UUID(webhook_id(now_ns, random))
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == now_ns // 1_000_000


@given(st.integers(0, 1 << 62), st.integers(245, 10**15), st.binary(min_size=8, max_size=8))
def test_a_later_id_sorts_later_even_within_a_millisecond(
    now_ns: int, later_by_ns: int, random: bytes
) -> None:
    assert webhook_id(now_ns, b"\xff" * 8) < webhook_id(now_ns + later_by_ns, random)


@given(SCOPES, st.text(max_size=60))
def test_a_cursor_gives_its_position_back_in_its_scope(scope: list[str], position: str) -> None:
    sealed = cursor.seal(KEY, scope, position)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", sealed)
    assert cursor.unseal(KEY, scope, sealed) == position


@given(SCOPES, SCOPES, st.text(max_size=60))
def test_a_cursor_is_refused_in_another_scope(
    scope: list[str], other: list[str], position: str
) -> None:
    assume(scope != other)
    with pytest.raises(InvalidInputError):
        cursor.unseal(KEY, other, cursor.seal(KEY, scope, position))


def test_a_cursor_of_another_key_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        cursor.unseal(KEY, ["a"], cursor.seal(b"another", ["a"], "p"))


@given(st.data())
def test_a_cursor_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    sealed = cursor.seal(KEY, ["acme"], "0199a5b0-0000-7000-8000-000000000000")
    place = data.draw(st.integers(0, len(sealed) - 1))
    character = data.draw(st.characters())
    assume(character != sealed[place])
    changed = sealed[:place] + character + sealed[place + 1 :]
    with pytest.raises(InvalidInputError) as refusal:
        cursor.unseal(KEY, ["acme"], changed)
    assert refusal.value.field == "cursor"


@given(st.text(max_size=700))
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        cursor.unseal(KEY, ["acme"], text)
