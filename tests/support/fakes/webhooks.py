"""Webhooks in memory, with their secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.fakes.failures import Failures
from webhooks.domain.errors import (
    ExternalIdTakenError,
    LimitReachedError,
    OverlapRunningError,
    RotationConflictError,
)
from webhooks.domain.health import Circuit, Comeback, Health
from webhooks.domain.rotation import Refusals, Rotation
from webhooks.domain.webhook import Destination, Secrets, Webhook
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from webhooks.domain.shard import Shard
    from webhooks.ports import UnstartedRecovery, WebhookChanges


class FakeWebhookStore:
    """`WebhookStore` and `DestinationStore` in one dictionary."""

    def __init__(self) -> None:
        self.webhooks: dict[tuple[str, str], tuple[Webhook, Secrets]] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.asked_at_ms: dict[tuple[str, str], int] = {}
        self.target_changed_at_ms: dict[tuple[str, str], int] = {}
        self.unstarted: dict[tuple[str, str], UnstartedRecovery] = {}
        self.rotated: dict[tuple[str, str], tuple[int, bool]] = {}
        self.failures = Failures()
        self.queries = 0

    def add(self, webhook: Webhook, secrets: Secrets) -> None:
        """Store a webhook unchanged, at a test's beginning."""
        self.webhooks[webhook.account_id, webhook.id] = (webhook, secrets)

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        self.failures.check("create")
        if (webhook.account_id, webhook.id) in self.webhooks:
            return
        self._check_external_id(webhook.account_id, webhook.external_id, webhook.id)
        if sum(account == webhook.account_id for account, _ in self.webhooks) >= limit:
            msg = f"the account has its {limit} webhooks already"
            raise LimitReachedError(msg)
        self.add(webhook, Secrets(secret))

    def subscriptions(self, account_id: str) -> Sequence[Sequence[str]] | None:
        self.failures.check("subscriptions")
        return [
            each.events for (owner, _), (each, _) in self.webhooks.items() if owner == account_id
        ]

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        self.failures.check("get")
        found = self.webhooks.get((account_id, webhook_id))
        return found[0] if found else None

    def find(self, account_id: str, external_id: str) -> Webhook | None:
        self.failures.check("find")
        found = [
            webhook
            for (account, _), (webhook, _) in self.webhooks.items()
            if account == account_id and webhook.external_id == external_id
        ]
        return found[0] if found and external_id else None

    def _check_external_id(self, account_id: str, external_id: str, webhook_id: str) -> None:
        for (account, other), (webhook, _) in self.webhooks.items():
            others = account == account_id and other != webhook_id
            if others and external_id and webhook.external_id == external_id:
                raise ExternalIdTakenError

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[Webhook]:
        self.failures.check("page")
        ids = sorted(
            (
                webhook_id
                for account, webhook_id in self.webhooks
                if account == account_id and (before is None or webhook_id < before)
            ),
            reverse=True,
        )
        page = [self.webhooks[account_id, webhook_id][0] for webhook_id in ids[:limit]]
        return Page(page, page[-1].id if len(ids) > limit else None)

    def newest_urls(self, account_id: str, *, consistent: bool = True) -> dict[str, str]:
        del consistent
        self.failures.check("newest_urls")
        return {
            webhook_id: webhook.url
            for (account, webhook_id), (webhook, *_) in self.webhooks.items()
            if account == account_id
        }

    def update(
        self,
        account_id: str,
        webhook_id: str,
        changes: WebhookChanges,
        now_ms: int,
        recovery_id: str | None = None,
    ) -> Webhook | None:
        self.failures.check("update")
        found = self.webhooks.get((account_id, webhook_id))
        if found is None:
            return None
        values = dict(changes)
        self._check_external_id(account_id, values.get("external_id", ""), webhook_id)
        if "events" in values:
            values["events"] = tuple(values["events"])
        if "active" in values:
            values["disabled_reason"] = None
        if recovery_id is not None or not {"url", "headers", "active"}.isdisjoint(values):
            self.target_changed_at_ms[account_id, webhook_id] = now_ms
            values["health"] = replace(found[0].health, window=None, probation=False)
        if recovery_id is not None:
            self.asked_at_ms[account_id, webhook_id] = now_ms
            values["health"] = Health(
                circuit=Circuit.OPEN,
                recovery_id=recovery_id,
                recovery_due_at_ms=now_ms,
                down_since_ms=found[0].health.down_since_ms,
                comeback=Comeback.SLOW,
            )
        elif "url" in values:
            health = values.get("health", found[0].health)
            values["health"] = replace(health, not_before_ms=None)
        webhook = replace(found[0], updated_at_ms=now_ms, **values)
        self.add(webhook, found[1])
        return webhook

    def ask(
        self, account_id: str, webhook_id: str, recovery_id: str, now_ms: int, *, before_ms: int
    ) -> bool:
        self.failures.check("ask")
        owner = account_id, webhook_id
        webhook, secrets = self.webhooks.get(owner, (None, None))
        if webhook is None or secrets is None or not webhook.active:
            return False
        health = webhook.health
        held = health.circuit is Circuit.OPEN or health.paused_until_ms(now_ms) is not None
        if not held or self.asked_at_ms.get(owner, 0) > before_ms:
            return False
        self.asked_at_ms[owner] = now_ms
        trial = health.comeback is Comeback.TRIAL
        asked = replace(
            health,
            failures=0,
            failing_since_ms=None,
            warned_at_ms=None,
            window=None,
            circuit=Circuit.OPEN,
            draining_since_ms=0,
            not_before_ms=None,
            recovery_id=recovery_id,
            recovery_due_at_ms=now_ms,
            comeback=Comeback.TRIAL if trial else Comeback.SLOW,
        )
        self.add(replace(webhook, health=asked), secrets)
        return True

    def rotate_secret(
        self,
        account_id: str,
        webhook_id: str,
        secret: str,
        *,
        previous_until_ms: int,
        now_ms: int,
        force: bool = False,
        since_ms: int | None = None,
    ) -> Rotation | None:
        self.failures.check("rotate_secret")
        webhook, secrets = self.webhooks.get((account_id, webhook_id), (None, None))
        if webhook is None or secrets is None or secrets.current is None:
            return None
        overlaps = previous_until_ms > now_ms
        running = len(secrets.live(now_ms)) > 1
        at_ms, ended = self.rotated.get((account_id, webhook_id), (0, False))
        if since_ms is not None and at_ms >= since_ms:
            if secrets.current != secret:
                raise RotationConflictError
            return Rotation(secrets.previous_expires_at_ms if running else None, ended)
        if secrets.current == secret and overlaps:
            return Rotation(secrets.previous_expires_at_ms if running else None)
        if running and not force:
            raise OverlapRunningError(secrets.previous_expires_at_ms)
        old = secrets.current
        new = Secrets(secret, old, previous_until_ms) if overlaps else Secrets(secret)
        self.add(replace(webhook, updated_at_ms=now_ms), new)
        self.rotated[account_id, webhook_id] = (max(now_ms, at_ms), running)
        return Rotation(previous_until_ms if overlaps else None, running and old != secret)

    def restore_secret(self, account_id: str, webhook_id: str, secret: str) -> bool:
        self.failures.check("restore_secret")
        found = self.webhooks.get((account_id, webhook_id))
        if found is None or found[1].current is not None:
            return False
        self.add(found[0], Secrets(secret))
        return True

    def end_overlap(self, account_id: str, webhook_id: str, secret: str) -> None:
        self.failures.check("end_overlap")
        found = self.webhooks.get((account_id, webhook_id))
        if found is not None and found[1].current == secret:
            self.add(found[0], Secrets(secret))

    def refused_both(self, account_id: str, webhook_id: str, secrets: Secrets, now_ms: int) -> None:
        self.failures.check("refused_both")
        found = self.webhooks.get((account_id, webhook_id))
        if found is not None and found[1] == secrets:
            times = secrets.refusals.times + 1 if secrets.refusals else 1
            self.add(found[0], replace(secrets, refusals=Refusals(times, now_ms)))

    def delete(
        self, account_id: str, webhook_id: str, *, unstarted: UnstartedRecovery | None = None
    ) -> bool:
        self.failures.check("delete")
        if self.webhooks.pop((account_id, webhook_id), None) is None:
            return False
        if unstarted is not None:
            self.unstarted[account_id, webhook_id] = unstarted
        self.deleted.add((account_id, webhook_id))
        return True

    def destinations(self, account_id: str, shard: Shard | None = None) -> Sequence[Destination]:
        self.failures.check("destinations")
        self.queries += 1
        return [
            Destination(webhook, secrets)
            for (account, webhook_id), (webhook, secrets) in sorted(self.webhooks.items())
            if account == account_id and (shard is None or shard.first <= webhook_id <= shard.last)
        ]

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        self.failures.check("destination")
        found = self.webhooks.get((account_id, webhook_id))
        return Destination(*found) if found else None


class FakeWebhookIds:
    """`WebhookIds` over a fake store's webhooks."""

    def __init__(self, store: FakeWebhookStore) -> None:
        self.store = store

    def next(self, account_id: str, after: str | None) -> str | None:
        return min(
            (
                webhook_id
                for account, webhook_id in {*self.store.webhooks, *self.store.deleted}
                if account == account_id and (after is None or webhook_id > after)
            ),
            default=None,
        )
