"""The pauses of webhooks in memory, on the fake of their health."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from webhooks.domain.health import Circuit, Comeback, Health
from webhooks.domain.pauses import LEAST_MOVE_MS
from webhooks.ports.pauses import Paused

if TYPE_CHECKING:
    from support.fakes.health import FakeHealthStore
    from webhooks.domain.health import RecoveryKey
    from webhooks.domain.webhook import Webhook


class FakePauseStore:
    """`PauseStore` over a fake store's webhooks; its calls are among the health store's writes."""

    def __init__(self, health: FakeHealthStore) -> None:
        self.health = health

    def pause(
        self, account_id: str, webhook_id: str, until_ms: int, *, updated_at_ms: int
    ) -> Paused | None:
        before: Health | None = None

        def change(webhook: Webhook) -> Webhook | None:
            nonlocal before
            if self.health.leads_elsewhere(webhook, updated_at_ms):
                return None
            before = webhook.health
            known_ms = before.not_before_ms
            if known_ms is not None and known_ms > until_ms - LEAST_MOVE_MS:
                return None
            return replace(webhook, health=replace(before, not_before_ms=until_ms))

        written = self.health.change("pause", (account_id, webhook_id), change) is not None
        return None if before is None else Paused(before, written)

    def clear(self, account_id: str, webhook_id: str, known_ms: int) -> None:
        def change(webhook: Webhook) -> Webhook | None:
            until_ms = webhook.health.not_before_ms
            if until_ms is None or until_ms > known_ms:
                return None
            return replace(webhook, health=replace(webhook.health, not_before_ms=None))

        self.health.change("clear_pause", (account_id, webhook_id), change)

    def begin(self, key: RecoveryKey, due_ms: int, now_ms: int) -> bool:
        begun = False

        def change(webhook: Webhook) -> Webhook | None:
            nonlocal begun
            health = webhook.health
            if not webhook.active or health.recovery_id or health.circuit is not Circuit.CLOSED:
                begun = health.recovery_id == key.recovery_id
                return None
            begun = True
            drains = replace(
                health,
                circuit=Circuit.DRAINING,
                comeback=Comeback.SLOW,
                draining_since_ms=now_ms,
                recovery_id=key.recovery_id,
                recovery_due_at_ms=due_ms,
            )
            return replace(webhook, health=drains)

        self.health.change("begin", key[:2], change)
        return begun
