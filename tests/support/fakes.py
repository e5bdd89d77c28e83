"""The ports in memory: what the stores' conformance suite says of the real ones holds here too."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from webhooks.domain.delivery import Delivery, DeliveryKey, Outcome, delivery_id_range
from webhooks.domain.errors import (
    IdempotencyConflict,
    IdempotencyInProgress,
    LimitReached,
    Unavailable,
)
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, Health, RecoveryKey
from webhooks.domain.webhook import Destination, Secrets, Webhook
from webhooks.ports import (
    ApiKeyPage,
    DeliveryBatch,
    DeliveryPage,
    KeptAnswer,
    ReplayPage,
    WebhookPage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.allowance import Allowance
    from webhooks.domain.announcement import Announcement
    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.check import Check, CheckKey
    from webhooks.domain.delivery import Status
    from webhooks.domain.erasure import Erasure, ErasureKey
    from webhooks.domain.event import Event
    from webhooks.domain.intake import RejectedMessage
    from webhooks.domain.replay import Replay, ReplayKey, Selection
    from webhooks.domain.shard import Shard
    from webhooks.ports import DeliveryQuery, WebhookChanges


class Failures:
    """Lets a test make the next calls of a method fail with `Unavailable`, or at a chosen call."""

    def __init__(self) -> None:
        self._planned: dict[str, list[bool]] = {}

    def plan(self, method: str, *calls: bool) -> None:
        """Say of each next call of `method` whether it fails; later ones work."""
        self._planned[method] = list(calls)

    def check(self, method: str) -> None:
        """Fail where the plan says so."""
        planned = self._planned.get(method)
        if planned and planned.pop(0):
            msg = f"{method}: planned failure"
            raise Unavailable(msg)


class FakeWebhookStore:
    """`WebhookStore` and `DestinationStore` in one dictionary."""

    def __init__(self) -> None:
        self.webhooks: dict[tuple[str, str], tuple[Webhook, Secrets]] = {}
        self.deleted: set[tuple[str, str]] = set()
        self.failures = Failures()
        self.queries = 0

    def add(self, webhook: Webhook, secrets: Secrets) -> None:
        """Put a webhook in as it is, for a test's beginning."""
        self.webhooks[webhook.account_id, webhook.id] = (webhook, secrets)

    def create(self, webhook: Webhook, secret: str, *, limit: int) -> None:
        self.failures.check("create")
        if sum(account == webhook.account_id for account, _ in self.webhooks) >= limit:
            msg = f"the account has its {limit} webhooks already"
            raise LimitReached(msg)
        self.add(webhook, Secrets(secret))

    def get(self, account_id: str, webhook_id: str) -> Webhook | None:
        self.failures.check("get")
        found = self.webhooks.get((account_id, webhook_id))
        return found[0] if found else None

    def page(self, account_id: str, limit: int, before: str | None = None) -> WebhookPage:
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
        return WebhookPage(page, page[-1].id if len(ids) > limit else None)

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
        values = {name: value for name, value in changes._asdict().items() if value is not None}
        if "events" in values:
            values["events"] = tuple(values["events"])
        if "active" in values:
            values["disabled_reason"] = None
        if recovery_id is not None:
            values["health"] = Health(
                circuit=Circuit.DRAINING,
                recovery_id=recovery_id,
                recovery_due_at_ms=now_ms,
                draining_since_ms=now_ms,
                down_since_ms=found[0].health.down_since_ms,
            )
        webhook = replace(found[0], updated_at_ms=now_ms, **values)
        self.add(webhook, found[1])
        return webhook

    def rotate_secret(
        self, account_id: str, webhook_id: str, secret: str, *, previous_until_ms: int, now_ms: int
    ) -> bool:
        self.failures.check("rotate_secret")
        found = self.webhooks.get((account_id, webhook_id))
        if found is None or found[1].current is None:
            return False
        secrets = Secrets(secret)
        if previous_until_ms > now_ms:
            secrets = Secrets(secret, found[1].current, previous_until_ms)
        self.add(replace(found[0], updated_at_ms=now_ms), secrets)
        return True

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

    def delete(self, account_id: str, webhook_id: str) -> bool:
        self.failures.check("delete")
        if self.webhooks.pop((account_id, webhook_id), None) is None:
            return False
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


class FakeHealthStore:
    """`HealthStore` over a fake store's webhooks."""

    def __init__(self, store: FakeWebhookStore) -> None:
        self.store = store
        self.failures = Failures()
        self.writes: list[str] = []
        self._lock = threading.Lock()

    def failed(self, account_id: str, webhook_id: str, count: int, now_ms: int) -> Health | None:
        def change(webhook: Webhook) -> Webhook:
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
        return changed is not None

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
        return [
            RecoveryKey(webhook.account_id, webhook.id, webhook.health.recovery_id or "")
            for webhook in found[:limit]
        ]

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


class FakeDeliveryStore:
    """`DeliveryStore` in a dictionary, with every write counted."""

    def __init__(self) -> None:
        self.deliveries: dict[DeliveryKey, Delivery] = {}
        self.claims: dict[tuple[str, str], int] = {}
        self.failures = Failures()
        self.writes: list[str] = []
        self.unwritable: set[DeliveryKey] = set()

    def claim(self, event: Event) -> int:
        self.failures.check("claim")
        return self.claims.setdefault((event.account_id, event.id), event.occurred_at_ms)

    def get(self, key: DeliveryKey) -> Delivery | None:
        self.failures.check("get")
        return self.deliveries.get(key)

    def get_many(self, keys: Iterable[DeliveryKey]) -> Mapping[DeliveryKey, Delivery]:
        self.failures.check("get_many")
        return {key: self.deliveries[key] for key in keys if key in self.deliveries}

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        self.writes.append("put_settled")
        for delivery in deliveries:
            if delivery.key not in self.unwritable:
                self.deliveries[delivery.key] = delivery
        return [delivery.key for delivery in deliveries if delivery.key in self.unwritable]

    def create(self, delivery: Delivery) -> Delivery:
        self.failures.check("create")
        self.writes.append("create")
        return self.deliveries.setdefault(delivery.key, delivery)

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        self.failures.check("update")
        self.writes.append("update")
        stored = self.deliveries.get(delivery.key)
        if stored is None:
            return False
        if stored == delivery:
            return True
        if _version(stored) != _version(before):
            return False
        self.deliveries[delivery.key] = delivery
        return True

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> DeliveryPage:
        self.failures.check("page")
        first, last = delivery_id_range(query.since_ms, query.until_ms)
        matching = sorted(
            (
                delivery
                for key, delivery in self.deliveries.items()
                if (key.account_id, key.webhook_id) == (query.account_id, query.webhook_id)
                and first <= delivery.id <= last
                and (before is None or delivery.id < before)
                and query.status in {None, delivery.status}
                and query.event_type in {None, delivery.event_type}
            ),
            key=lambda delivery: delivery.id,
            reverse=True,
        )
        page = matching[:limit]
        return DeliveryPage(page, page[-1].id if len(matching) > limit else None)


def _version(delivery: Delivery) -> tuple[Status, int, int]:
    return delivery.status, len(delivery.attempts), delivery.generation


class FakeOverdueDeliveries:
    """`OverdueDeliveries` over a fake store's deliveries."""

    def __init__(self, store: FakeDeliveryStore) -> None:
        self.store = store

    def find(self, before_ms: int, limit: int) -> Sequence[DeliveryKey]:
        due = sorted(
            (delivery.next_attempt_at_ms, delivery.key)
            for delivery in self.store.deliveries.values()
            if delivery.next_attempt_at_ms is not None and delivery.next_attempt_at_ms < before_ms
        )
        return [key for _, key in due[:limit]]


class FakeDeliveryWalk:
    """`DeliveryWalk` over a fake store's deliveries."""

    def __init__(self, store: FakeDeliveryStore) -> None:
        self.store = store
        self.failures = Failures()

    def batch(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> DeliveryBatch:
        self.failures.check("batch")
        first, last = delivery_id_range(selection.since_ms, selection.until_ms)
        matching = sorted(
            (
                delivery
                for key, delivery in self.store.deliveries.items()
                if (key.account_id, key.webhook_id) == (account_id, webhook_id)
                and first <= delivery.id <= last
                and (after is None or delivery.id > after)
                and delivery.status in selection.statuses
            ),
            key=lambda delivery: delivery.id,
        )
        page = matching[:limit]
        return DeliveryBatch(page, page[-1].id if len(matching) > limit else None)


class FakeReplayStore:
    """`ReplayStore` in a dictionary."""

    def __init__(self) -> None:
        self.replays: dict[ReplayKey, Replay] = {}
        self.failures = Failures()

    def create(self, replay: Replay) -> bool:
        self.failures.check("create")
        of_webhook = self._of(replay.account_id, replay.webhook_id)
        if any(other.running and other != replay for other in of_webhook):
            return False
        self.replays[replay.key] = replay
        return True

    def get(self, key: ReplayKey) -> Replay | None:
        self.failures.check("get")
        return self.replays.get(key)

    def page(
        self, account_id: str, webhook_id: str, limit: int, before: str | None = None
    ) -> ReplayPage:
        self.failures.check("page")
        found = [
            replay
            for replay in self._of(account_id, webhook_id)
            if before is None or replay.id < before
        ]
        return ReplayPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def count_since(self, account_id: str, webhook_id: str, since_ms: int) -> int:
        self.failures.check("count_since")
        of_webhook = self._of(account_id, webhook_id)
        return sum(replay.created_at_ms >= since_ms for replay in of_webhook)

    def save(self, before: Replay, after: Replay) -> bool:
        self.failures.check("save")
        stored = self.replays.get(after.key)
        if stored == after:
            return True
        if stored is None or not stored.running or stored.steps != before.steps:
            return False
        self.replays[after.key] = after
        return True

    def _of(self, account_id: str, webhook_id: str) -> list[Replay]:
        """The replays of a webhook, newest first."""
        mine = [r for k, r in self.replays.items() if k[:2] == (account_id, webhook_id)]
        return sorted(mine, key=lambda replay: replay.id, reverse=True)


class FakeReplayScheduler:
    """A `ReplayScheduler` that keeps what was started."""

    def __init__(self) -> None:
        self.started: list[ReplayKey] = []
        self.failures = Failures()

    def start(self, key: ReplayKey) -> None:
        self.failures.check("start")
        self.started.append(key)


class FakeErasureStore:
    """`ErasureStore` in a dictionary."""

    def __init__(self) -> None:
        self.erasures: dict[ErasureKey, Erasure] = {}
        self.failures = Failures()

    def create(self, erasure: Erasure) -> None:
        self.failures.check("create")
        self.erasures[erasure.key] = erasure

    def get(self, key: ErasureKey) -> Erasure | None:
        self.failures.check("get")
        return self.erasures.get(key)

    def running(self, account_id: str, since_ms: int) -> Sequence[Erasure]:
        self.failures.check("running")
        return [
            erasure
            for key, erasure in sorted(self.erasures.items())
            if key.account_id == account_id
            and erasure.running
            and erasure.created_at_ms >= since_ms
        ]

    def save(self, before: Erasure, after: Erasure) -> bool:
        self.failures.check("save")
        stored = self.erasures.get(after.key)
        if stored == after:
            return True
        if stored is None or not stored.running or stored.steps != before.steps:
            return False
        self.erasures[after.key] = after
        return True


class FakeCheckStore:
    """`CheckStore` in a dictionary."""

    def __init__(self) -> None:
        self.checks: dict[CheckKey, Check] = {}
        self.failures = Failures()

    def create(self, check: Check) -> None:
        self.failures.check("create")
        self.checks[check.key] = check

    def get(self, key: CheckKey) -> Check | None:
        self.failures.check("get")
        return self.checks.get(key)

    def end(self, check: Check) -> bool:
        self.failures.check("end")
        stored = self.checks.get(check.key)
        if stored == check:
            return True
        if stored is None or not stored.running:
            return False
        self.checks[check.key] = check
        return True


class FakeWebhookTrail:
    """`WebhookTrail` over a fake store's webhooks."""

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


class FakeCheckScheduler:
    """A `CheckScheduler` that keeps what was started."""

    def __init__(self) -> None:
        self.started: list[CheckKey] = []
        self.failures = Failures()

    def start(self, key: CheckKey) -> None:
        self.failures.check("start")
        self.started.append(key)


class FakeErasureScheduler:
    """An `ErasureScheduler` that keeps what was started."""

    def __init__(self) -> None:
        self.started: list[ErasureKey] = []
        self.failures = Failures()

    def start(self, key: ErasureKey) -> None:
        self.failures.check("start")
        self.started.append(key)


class FakeAllowanceStore:
    """`AllowanceStore` in a dictionary, with every write counted."""

    def __init__(self) -> None:
        self.used: dict[Allowance, int] = {}
        self.failures = Failures()
        self.writes = 0

    def take(self, allowance: Allowance, *, limit: int, count: int = 1) -> bool:
        self.failures.check("take")
        self.writes += 1
        used = self.used.get(allowance, 0) + count
        if used > limit:
            return False
        self.used[allowance] = used
        return True


class FakeApiKeyStore:
    """`ApiKeyStore` in a dictionary."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.failures = Failures()

    def create(self, key: ApiKey) -> None:
        self.failures.check("create")
        self.keys[key.key_hash] = key

    def get(self, key_hash: str) -> ApiKey | None:
        self.failures.check("get")
        return self.keys.get(key_hash)

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        self.failures.check("find")
        found = (key for key in self.keys.values() if key.account_id == account_id)
        return next((key for key in found if key.id == key_id), None)

    def page(self, account_id: str, limit: int, before: str | None = None) -> ApiKeyPage:
        self.failures.check("page")
        keys = sorted(
            (
                key
                for key in self.keys.values()
                if key.account_id == account_id and (before is None or key.id < before)
            ),
            key=lambda key: key.id,
            reverse=True,
        )
        page = keys[:limit]
        return ApiKeyPage(page, page[-1].id if len(keys) > limit else None)

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        self.failures.check("revoke")
        needed = [key_hash] + ([] if while_active is None else [while_active])
        if any(each not in self.keys or self.keys[each].revoked_at_ms for each in needed):
            return False
        self.keys[key_hash] = replace(self.keys[key_hash], revoked_at_ms=now_ms)
        return True

    def touch(self, key_hash: str, now_ms: int) -> None:
        self.failures.check("touch")
        self.keys[key_hash] = replace(self.keys[key_hash], last_used_at_ms=now_ms)


@dataclass
class FakeSender:
    """A `Sender` whose answers a test writes; unscripted posts succeed with 200."""

    answer: Callable[[str, Mapping[str, str]], Outcome] | None = None
    posts: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.posts.append((url, body, dict(headers)))
        if self.answer is None:
            return Outcome(status_code=200, duration_ms=1)
        return self.answer(url, headers)


class FakeScheduler:
    """A `RetryScheduler` that keeps one execution a generation, as Step Functions does by name."""

    def __init__(self) -> None:
        self.executions: dict[DeliveryKey, tuple[int, float]] = {}
        self.generations: dict[tuple[DeliveryKey, int], bool] = {}
        self.resends: dict[str, tuple[DeliveryKey, int]] = {}
        self.calls = 0
        self.failures = Failures()

    def start(self, delivery: Delivery, *, delay_seconds: float) -> None:
        self.calls += 1
        self.failures.check("start")
        name = (delivery.key, delivery.generation)
        if name not in self.generations:
            self.generations[name] = True
            self.executions[delivery.key] = (delivery.scheduled_attempts + 1, delay_seconds)

    def running(self, delivery: Delivery) -> bool:
        self.failures.check("running")
        return self.generations.get((delivery.key, delivery.generation), False)

    def stop(self, delivery: Delivery) -> None:
        """End an execution before its time, as an operator can."""
        self.generations[delivery.key, delivery.generation] = False

    def resend(self, key: DeliveryKey, *, attempt: int, request_id: str) -> None:
        self.failures.check("resend")
        self.resends.setdefault(request_id, (key, attempt))


class FakeRecoveryScheduler:
    """A `RecoveryScheduler` that keeps what was started."""

    def __init__(self) -> None:
        self.started: list[tuple[RecoveryKey, float]] = []
        self.failures = Failures()

    def start(self, key: RecoveryKey, *, delay_seconds: float) -> None:
        self.failures.check("start")
        self.started.append((key, delay_seconds))


class FakeAnnouncer:
    """An `Announcer` that keeps what it was told."""

    def __init__(self) -> None:
        self.announcements: list[Announcement] = []
        self.failures = Failures()

    def announce(self, announcement: Announcement) -> None:
        self.failures.check("announce")
        self.announcements.append(announcement)

    @property
    def types(self) -> list[str]:
        return [announcement.type.value for announcement in self.announcements]


class FakeRejectedMessages:
    """The events dead-letter queue as a list."""

    def __init__(self) -> None:
        self.messages: list[RejectedMessage] = []
        self.refuse: set[str] = set()

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        self.messages += [m for m in messages if m.message_id not in self.refuse]
        return [m.message_id for m in messages if m.message_id in self.refuse]


class FakeEventQueue:
    """The events queue as a list of account and message."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str]] = []
        self.refuse: set[int] = set()

    def put(self, account_id: str, messages: Sequence[str]) -> Sequence[int]:
        self.messages += [
            (account_id, message)
            for place, message in enumerate(messages)
            if place not in self.refuse
        ]
        return [place for place in range(len(messages)) if place in self.refuse]


class FakeKeptAnswers:
    """`KeptAnswers` in a dictionary; None stands for an answer that is being made."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, ...], tuple[str, KeptAnswer | None]] = {}

    def once(
        self,
        key: Sequence[str],
        fingerprint: str,
        answer: Callable[[], KeptAnswer],
        *,
        remaining_ms: Callable[[], int],
    ) -> KeptAnswer:
        known = self.kept.get(tuple(key))
        if known is not None:
            if known[0] != fingerprint:
                raise IdempotencyConflict
            if known[1] is None:
                raise IdempotencyInProgress
            return known[1]._replace(replayed=True)
        self.kept[tuple(key)] = (fingerprint, None)
        try:
            made = answer()
        except Exception:
            del self.kept[tuple(key)]
            raise
        if made.final:
            self.kept[tuple(key)] = (fingerprint, made)
        else:
            del self.kept[tuple(key)]
        return made


class FakeObserver:
    """Keeps what the services said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.counts: dict[str, int] = {}
        self.times: defaultdict[str, list[int]] = defaultdict(list)
        self.traced: defaultdict[str, list[str]] = defaultdict(list)

    def log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))

    def count(self, metric: str, value: int = 1) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def measure(self, metric: str, milliseconds: int) -> None:
        self.times[metric].append(milliseconds)

    def trace(self, field: str, name: str) -> None:
        self.traced[field].append(name)

    def logged(self, event: str) -> list[dict[str, object]]:
        """The fields of each line about `event`."""
        return [fields for _, name, fields in self.lines if name == event]
