"""The health of webhooks in memory, on the fake of their store."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support.fakes.failures import Failures
from webhooks.domain.health import (
    FAILURES_TO_OPEN,
    Circuit,
    Comeback,
    Health,
    RecoveryKey,
    Tally,
    Window,
)
from webhooks.ports import UnstartedRecovery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.fakes.webhooks import FakeWebhookStore
    from webhooks.domain.webhook import Webhook


class FakeHealthStore:
    """`HealthStore` over a fake store's webhooks."""

    def __init__(self, store: FakeWebhookStore) -> None:
        self.store = store
        self.failures = Failures()
        self.writes: list[str] = []
        self._lock = threading.Lock()

    def failed(
        self,
        account_id: str,
        webhook_id: str,
        count: int,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
        window: bool = False,
    ) -> Health | None:
        def change(webhook: Webhook) -> Webhook | None:
            if self.leads_elsewhere(webhook, updated_at_ms):
                return None
            health = webhook.health
            since_ms = health.failing_since_ms
            counted = Tally(count, 0)
            return _with_health(
                webhook,
                failures=health.failures + count,
                failing_since_ms=now_ms if since_ms is None else since_ms,
                window=_counted(health.window, counted, now_ms) if window else health.window,
            )

        changed = self.change("failed", (account_id, webhook_id), change)
        return None if changed is None else changed.health

    def count(
        self,
        account_id: str,
        webhook_id: str,
        tally: Tally,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
    ) -> Health | None:
        def change(webhook: Webhook) -> Webhook | None:
            if self.leads_elsewhere(webhook, updated_at_ms):
                return None
            return _with_health(webhook, window=_counted(webhook.health.window, tally, now_ms))

        changed = self.change("count", (account_id, webhook_id), change)
        return None if changed is None else changed.health

    def succeeded(
        self, account_id: str, webhook_id: str, now_ms: int, *, told_down: bool = False
    ) -> bool:
        was_down = False

        def change(webhook: Webhook) -> Webhook | None:
            nonlocal was_down
            health = webhook.health
            if health.on_trial:
                return _cleared(webhook)
            was_down = _was_down(health)
            cleared = _with_health(_cleared(webhook), down_since_ms=None)
            if health.circuit is Circuit.OPEN:
                return _with_health(
                    cleared,
                    circuit=Circuit.DRAINING,
                    draining_since_ms=now_ms,
                    window=Window(now_ms, 0, 0),
                    probation=True,
                )
            return cleared

        self.change("succeeded", (account_id, webhook_id), change)
        return was_down

    def count_on_probation(
        self, account_id: str, webhook_id: str, tally: Tally, since_ms: int
    ) -> Health | None:
        def change(webhook: Webhook) -> Webhook | None:
            window = _window_of_probation(webhook.health, since_ms)
            if window is None:
                return None
            counted = Window(since_ms, window.failed + tally.failed, window.taken + tally.taken)
            return _with_health(webhook, window=counted)

        changed = self.change("count_on_probation", (account_id, webhook_id), change)
        return None if changed is None else changed.health

    def end_probation(self, account_id: str, webhook_id: str, since_ms: int) -> None:
        def change(webhook: Webhook) -> Webhook | None:
            if _window_of_probation(webhook.health, since_ms) is None:
                return None
            return _with_health(webhook, window=None, probation=False)

        self.change("end_probation", (account_id, webhook_id), change)

    def passed(
        self, key: RecoveryKey, now_ms: int, *, proven: bool, told_down: bool = False
    ) -> bool:
        was_down = False

        def change(webhook: Webhook) -> Webhook | None:
            nonlocal was_down
            if webhook.health.circuit is not Circuit.OPEN:
                return None
            was_down = proven and _was_down(webhook.health)
            if proven:
                webhook = _with_health(_cleared(webhook), down_since_ms=None)
            return _with_health(
                webhook,
                circuit=Circuit.DRAINING,
                draining_since_ms=now_ms,
                window=None,
                probation=False,
            )

        self._change_recovery("passed", key, change)
        return was_down

    def open(
        self,
        key: RecoveryKey,
        due_ms: int,
        now_ms: int,
        *,
        window: Window | None = None,
        trial: bool = False,
    ) -> str | None:
        def change(webhook: Webhook) -> Webhook | None:
            health = webhook.health
            enough = health.failures >= FAILURES_TO_OPEN
            if window is not None:
                known = health.window
                enough = (
                    known is not None
                    and known.since_ms == window.since_ms
                    and known.failed > known.taken
                )
            if not webhook.active or not enough or health.circuit is Circuit.OPEN:
                return None
            since_ms = now_ms if health.failing_since_ms is None else health.failing_since_ms
            return _with_health(
                webhook,
                circuit=Circuit.OPEN,
                recovery_id=health.recovery_id or key.recovery_id,
                recovery_due_at_ms=health.recovery_due_at_ms or due_ms,
                draining_since_ms=0,
                window=None,
                probation=False,
                comeback=Comeback.TRIAL if trial else health.comeback,
                down_since_ms=since_ms if window is None else window.since_ms,
            )

        changed = self.change("open", key[:2], change)
        return None if changed is None else changed.health.recovery_id

    def put_on_trial(self, key: RecoveryKey) -> None:
        def change(webhook: Webhook) -> Webhook | None:
            health = webhook.health
            if health.circuit is not Circuit.OPEN or health.comeback is not Comeback.FULL:
                return None
            return _with_health(webhook, comeback=Comeback.TRIAL, window=None)

        self._change_recovery("put_on_trial", key, change)

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        def change(webhook: Webhook) -> Webhook | None:
            warned = webhook.health.warned_at_ms is not None
            if warned or not webhook.active or not _since(webhook, failing_since_ms):
                return None
            return _with_health(webhook, warned_at_ms=now_ms)

        return self.change("warn", (account_id, webhook_id), change) is not None

    def disable(
        self,
        account_id: str,
        webhook_id: str,
        reason: str,
        now_ms: int,
        *,
        failing_since_ms: int | None = None,
        updated_at_ms: int | None = None,
    ) -> bool:
        def change(webhook: Webhook) -> Webhook | None:
            if not webhook.active or self.leads_elsewhere(webhook, updated_at_ms):
                return None
            if failing_since_ms is not None and not _since(webhook, failing_since_ms):
                return None
            self.store.target_changed_at_ms[account_id, webhook_id] = now_ms
            return replace(webhook, active=False, disabled_reason=reason, updated_at_ms=now_ms)

        return self.change("disable", (account_id, webhook_id), change) is not None

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        self._change_recovery(
            "keep", key, lambda webhook: _with_health(webhook, recovery_due_at_ms=due_ms)
        )
        left = self.store.unstarted.get(key[:2])
        if left is not None and left.recovery_id == key.recovery_id:
            self.store.unstarted[key[:2]] = UnstartedRecovery(key.recovery_id, due_ms)

    def end(
        self, key: RecoveryKey, draining_since_ms: int, *, not_before_ms: int | None = None
    ) -> bool:
        def change(webhook: Webhook) -> Webhook | None:
            drained = (Circuit.DRAINING, draining_since_ms)
            if webhook.active and (webhook.health.not_before_ms or 0) > (not_before_ms or 0):
                return None
            if webhook.active and drained != (
                webhook.health.circuit,
                webhook.health.draining_since_ms,
            ):
                return None
            return _with_health(
                webhook,
                circuit=Circuit.CLOSED,
                recovery_id=None,
                recovery_due_at_ms=0,
                draining_since_ms=0,
                comeback=Comeback.FULL,
                window=None,
                probation=False,
            )

        return self._change_recovery("end", key, change) is not None

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        changed = self._change_recovery(
            "replace",
            key,
            lambda webhook: _with_health(webhook, recovery_id=new_id, recovery_due_at_ms=due_ms),
        )
        left = self.store.unstarted.get(key[:2])
        if changed is None and left is not None and left.recovery_id == key.recovery_id:
            self.store.unstarted[key[:2]] = UnstartedRecovery(new_id, due_ms)
            return True
        return changed is not None

    def forget(self, key: RecoveryKey) -> None:
        self.failures.check("forget")
        self.store.unstarted.pop(key[:2], None)

    def overdue(self, before_ms: int, limit: int) -> Sequence[RecoveryKey]:
        self.failures.check("overdue")
        found = sorted(
            (
                webhook
                for webhook, _ in self.store.webhooks.values()
                if webhook.health.recovery_id and webhook.health.recovery_due_at_ms < before_ms
            ),
            key=lambda webhook: webhook.health.recovery_due_at_ms,
        )
        keys = [
            RecoveryKey(webhook.account_id, webhook.id, webhook.health.recovery_id or "")
            for webhook in found
        ]
        keys += [
            RecoveryKey(*ids, left.recovery_id)
            for ids, left in self.store.unstarted.items()
            if left.due_ms < before_ms
        ]
        return keys[:limit]

    def leads_elsewhere(self, webhook: Webhook, updated_at_ms: int | None) -> bool:
        changed_at_ms = self.store.target_changed_at_ms.get((webhook.account_id, webhook.id), 0)
        return updated_at_ms is not None and changed_at_ms > updated_at_ms

    def _change_recovery(
        self, method: str, key: RecoveryKey, change: Callable[[Webhook], Webhook | None]
    ) -> Webhook | None:
        def of_this(webhook: Webhook) -> Webhook | None:
            return change(webhook) if webhook.health.recovery_id == key.recovery_id else None

        return self.change(method, key[:2], of_this)

    def change(
        self, method: str, key: tuple[str, str], change: Callable[[Webhook], Webhook | None]
    ) -> Webhook | None:
        self.failures.check(method)
        with self._lock:
            self.writes.append(method)
            found = self.store.webhooks.get(key)
            changed = change(found[0]) if found else None
            if found is None or changed is None:
                return None
            self.store.add(changed, found[1])
            return changed


def _with_health(webhook: Webhook, **values: Any) -> Webhook:
    return replace(webhook, health=replace(webhook.health, **values))


def _window_of_probation(health: Health, since_ms: int) -> Window | None:
    window = health.window
    began = health.probation and since_ms == health.draining_since_ms
    return window if window is not None and began and window.since_ms == since_ms else None


def _cleared(webhook: Webhook) -> Webhook:
    return _with_health(webhook, failures=0, failing_since_ms=None, warned_at_ms=None)


def _was_down(health: Health) -> bool:
    opened = health.circuit is Circuit.OPEN and health.comeback is not Comeback.SLOW
    return opened or health.down_since_ms is not None


def _counted(window: Window | None, tally: Tally, now_ms: int) -> Window:
    if window is None or not window.is_live(now_ms):
        return Window(now_ms, *tally)
    return Window(window.since_ms, window.failed + tally.failed, window.taken + tally.taken)


def _since(webhook: Webhook, limit_ms: int) -> bool:
    since_ms = webhook.health.failing_since_ms
    return since_ms is not None and since_ms <= limit_ms
