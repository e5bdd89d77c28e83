"""The health of webhooks in memory, on the fake of their store."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from support.fakes.failures import Failures
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Health, RecoveryKey
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
    ) -> Health | None:
        def change(webhook: Webhook) -> Webhook | None:
            if updated_at_ms not in {None, webhook.updated_at_ms}:
                return None
            health = webhook.health
            since_ms = health.failing_since_ms
            return _with_health(
                webhook,
                failures=health.failures + count,
                failing_since_ms=now_ms if since_ms is None else since_ms,
            )

        changed = self._change("failed", (account_id, webhook_id), change)
        return None if changed is None else changed.health

    def succeeded(self, account_id: str, webhook_id: str, now_ms: int) -> bool:
        was_down = False

        def change(webhook: Webhook) -> Webhook | None:
            nonlocal was_down
            cleared = _with_health(
                webhook, failures=0, failing_since_ms=None, warned_at_ms=None, down_since_ms=None
            )
            opened = webhook.health.circuit is Circuit.OPEN
            was_down = opened or webhook.health.down_since_ms is not None
            if opened:
                return _with_health(cleared, circuit=Circuit.DRAINING, draining_since_ms=now_ms)
            return cleared

        self._change("succeeded", (account_id, webhook_id), change)
        return was_down

    def open(self, key: RecoveryKey, due_ms: int, now_ms: int) -> str | None:
        def change(webhook: Webhook) -> Webhook | None:
            health = webhook.health
            if (
                not webhook.active
                or health.failures < FAILURES_TO_OPEN
                or health.circuit is Circuit.OPEN
            ):
                return None
            return _with_health(
                webhook,
                circuit=Circuit.OPEN,
                recovery_id=health.recovery_id or key.recovery_id,
                recovery_due_at_ms=health.recovery_due_at_ms or due_ms,
                draining_since_ms=0,
                down_since_ms=now_ms
                if health.failing_since_ms is None
                else health.failing_since_ms,
            )

        changed = self._change("open", key[:2], change)
        return None if changed is None else changed.health.recovery_id

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        def change(webhook: Webhook) -> Webhook | None:
            warned = webhook.health.warned_at_ms is not None
            if warned or not webhook.active or not _since(webhook, failing_since_ms):
                return None
            return _with_health(webhook, warned_at_ms=now_ms)

        return self._change("warn", (account_id, webhook_id), change) is not None

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
            if not webhook.active or updated_at_ms not in {None, webhook.updated_at_ms}:
                return None
            if failing_since_ms is not None and not _since(webhook, failing_since_ms):
                return None
            return replace(webhook, active=False, disabled_reason=reason, updated_at_ms=now_ms)

        return self._change("disable", (account_id, webhook_id), change) is not None

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        self._change_recovery(
            "keep", key, lambda webhook: _with_health(webhook, recovery_due_at_ms=due_ms)
        )

    def end(self, key: RecoveryKey, draining_since_ms: int) -> bool:
        def change(webhook: Webhook) -> Webhook | None:
            drained = (Circuit.DRAINING, draining_since_ms)
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

    def _change_recovery(
        self, method: str, key: RecoveryKey, change: Callable[[Webhook], Webhook | None]
    ) -> Webhook | None:
        def of_this(webhook: Webhook) -> Webhook | None:
            return change(webhook) if webhook.health.recovery_id == key.recovery_id else None

        return self._change(method, key[:2], of_this)

    def _change(
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


def _since(webhook: Webhook, limit_ms: int) -> bool:
    since_ms = webhook.health.failing_since_ms
    return since_ms is not None and since_ms <= limit_ms
