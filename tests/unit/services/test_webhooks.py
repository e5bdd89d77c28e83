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
from support.fakes import FakeHealthStore, FakeJobScheduler, FakeWebhookStore
from unit.services.webhook_services import KEY, REGISTRATION, make_registry
from webhooks.domain import cursor
from webhooks.domain.errors import (
    InvalidInputError,
    InvalidTargetError,
    LimitReachedError,
    UnavailableError,
)
from webhooks.domain.health import SETTLE_SECONDS, Circuit, Health
from webhooks.domain.webhook import (
    InvalidWebhookError,
    Registration,
    Secrets,
    generated_secret,
    webhook_id,
)
from webhooks.ports import WebhookChanges
from webhooks.services.webhooks import Rotated

if TYPE_CHECKING:
    from typing import Any

    from webhooks.domain.webhook import Webhook

SCOPES = st.lists(st.text(max_size=20), max_size=4)


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


def test_all_broken_rules_are_reported_at_once(store: FakeWebhookStore) -> None:
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
    webhook_service = make_registry(store, max_webhooks=1)
    store.add(samples.webhook(account_id="acme"), Secrets(samples.SECRET))
    with pytest.raises(LimitReachedError):
        webhook_service.register("acme", REGISTRATION)


def test_a_store_that_does_not_answer_is_not_an_absent_webhook(store: FakeWebhookStore) -> None:
    webhook_service = make_registry(store)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    store.failures.plan("get", True)
    with pytest.raises(UnavailableError):
        webhook_service.get("acme", webhook.id)
    assert webhook_service.get("acme", webhook.id) == webhook


@pytest.mark.parametrize("malformed", ["", "quota", "x" * 3000, "#", "ABC", f"{UUID(int=1)}\n"])
def test_what_is_no_id_is_absent_without_a_look_up(store: FakeWebhookStore, malformed: str) -> None:
    webhook_service = make_registry(store)
    store.failures.plan("get", True)
    store.failures.plan("delete", True)
    assert webhook_service.get("acme", malformed) is None
    assert webhook_service.delete("acme", malformed) is False


def test_only_its_own_account_deletes_a_webhook(store: FakeWebhookStore) -> None:
    webhook_service = make_registry(store)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    assert webhook_service.delete("globex", webhook.id) is False
    assert webhook_service.delete("acme", webhook.id) is True
    assert webhook_service.delete("acme", webhook.id) is False


@pytest.mark.parametrize(
    ("active", "circuit"),
    # A healthy one may go down, and its events be deferred, between the look and the deletion.
    [(True, Circuit.CLOSED), (False, Circuit.CLOSED), (True, Circuit.OPEN)],
)
def test_what_waits_for_a_webhook_is_cancelled_after_its_deletion(
    store: FakeWebhookStore, active: bool, circuit: Circuit
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=active, health=Health(circuit=circuit)), Secrets("s"))
    assert webhook_service.delete("acme", webhook.id)
    [(key, delay_seconds)] = recoveries.started
    assert key[:2] == ("acme", webhook.id)
    assert delay_seconds == SETTLE_SECONDS


def test_a_deletion_needs_no_step_functions(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    recoveries.failures.plan("start", True)
    assert webhook_service.delete("acme", webhook.id)
    assert webhook_service.get("acme", webhook.id) is None
    # The sweep starts the job that cancels its waiting deliveries.
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
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=active), Secrets(None))
    rotated = webhook_service.rotate_secret("acme", webhook.id, "a-secret-of-their-own")
    # There is no former secret to keep alive.
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
def test_a_webhook_that_is_down_has_a_running_recovery(
    store: FakeWebhookStore, changes: WebhookChanges, active: bool, begins: bool
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    down = Health(failures=10, circuit=Circuit.OPEN, recovery_id="recovery-1")
    store.add(replace(webhook, active=active, health=down), Secrets("s"))
    changed = webhook_service.update("acme", webhook.id, changes)
    assert changed is not None
    if changed.active:
        assert changed.health.awaits_probe is begins
        assert (changed.health.circuit, changed.health.failures) == (
            Circuit.OPEN,
            0 if begins else 10,
        )
    started = [(key.recovery_id, delay) for key, delay in recoveries.started]
    # A moment later: repeated calls begin it once.
    assert started == ([(changed.health.recovery_id, 1.0)] if begins else [])


def test_a_recovery_is_started_though_the_webhook_was_disabled_meanwhile(
    store: FakeWebhookStore,
) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    store.add(replace(webhook, active=False), Secrets("s"))
    update = store.update

    def overtaken(*values: Any) -> Webhook | None:
        update(*values)
        return update("acme", webhook.id, WebhookChanges(active=False), values[3] + 1)

    store.update = overtaken  # type: ignore[assignment,method-assign]
    webhook_service.update("acme", webhook.id, WebhookChanges(active=True))
    stored, _ = store.webhooks["acme", webhook.id]
    # Its first step ends it; without one it would be overdue for the sweep.
    assert [key.recovery_id for key, _ in recoveries.started] == [stored.health.recovery_id]


def test_a_rotation_that_another_one_overtakes_rotates_what_that_one_restored(
    store: FakeWebhookStore,
) -> None:
    webhook_service = make_registry(store)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    store.add(webhook, Secrets(None))
    restore = store.restore_secret

    def overtaken(*values: Any, **more: Any) -> bool:
        store.add(webhook, Secrets("the-secret-of-another"))
        return restore(*values, **more)

    store.restore_secret = overtaken  # type: ignore[method-assign]
    assert webhook_service.rotate_secret("acme", webhook.id, "a-secret-of-their-own") is not None
    secrets = store.webhooks["acme", webhook.id][1]
    assert (secrets.current, secrets.previous) == (
        "a-secret-of-their-own",
        "the-secret-of-another",
    )


def test_an_ordinary_rotation_starts_nothing(store: FakeWebhookStore) -> None:
    recoveries = FakeJobScheduler()
    webhook_service = make_registry(store, recoveries=recoveries)
    webhook = webhook_service.register("acme", REGISTRATION).webhook
    assert webhook_service.rotate_secret("acme", webhook.id) is not None
    assert webhook_service.rotate_secret("acme", str(UUID(int=1))) is None
    assert recoveries.started == []


def test_a_generated_secret_takes_32_bytes() -> None:
    assert re.fullmatch(r"whsec_[0-9a-f]{64}", generated_secret(bytes(range(32))))
    with pytest.raises(ValueError, match="32"):
        generated_secret(bytes(31))


@given(st.integers(0, (1 << 48) * 1_000_000 - 1), st.binary(min_size=8, max_size=8))
def test_an_id_is_a_uuid_of_version_7_with_its_time(now_ns: int, random: bytes) -> None:
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
