"""The ports in memory: what the stores' conformance suite says of the real ones holds here too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from webhooks.domain.delivery import Delivery, DeliveryKey, Outcome
from webhooks.domain.errors import LimitReached, Unavailable
from webhooks.domain.webhook import Destination, Secrets, Webhook
from webhooks.ports import RejectedMessage, WebhookPage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from webhooks.domain.api_key import ApiKey
    from webhooks.domain.event import Event


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

    def delete(self, account_id: str, webhook_id: str) -> bool:
        self.failures.check("delete")
        return self.webhooks.pop((account_id, webhook_id), None) is not None

    def destinations(self, account_id: str) -> Sequence[Destination]:
        self.failures.check("destinations")
        self.queries += 1
        return [
            Destination(webhook, secrets)
            for (account, _), (webhook, secrets) in sorted(self.webhooks.items())
            if account == account_id
        ]

    def destination(self, account_id: str, webhook_id: str) -> Destination | None:
        self.failures.check("destination")
        found = self.webhooks.get((account_id, webhook_id))
        return Destination(*found) if found else None

    def disable(self, account_id: str, webhook_id: str, reason: str, now_ms: int) -> bool:
        self.failures.check("disable")
        found = self.webhooks.get((account_id, webhook_id))
        if found is None or not found[0].active:
            return False
        webhook = replace(found[0], active=False, disabled_reason=reason, updated_at_ms=now_ms)
        self.add(webhook, found[1])
        return True


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

    def update(self, delivery: Delivery, *, attempts_before: int) -> bool:
        self.failures.check("update")
        self.writes.append("update")
        stored = self.deliveries.get(delivery.key)
        if stored is None:
            return False
        if stored == delivery:
            return True
        if stored.status.settled or len(stored.attempts) != attempts_before:
            return False
        self.deliveries[delivery.key] = delivery
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
    """A `RetryScheduler` that keeps one execution a delivery, as Step Functions does by name."""

    def __init__(self) -> None:
        self.executions: dict[DeliveryKey, tuple[int, float]] = {}
        self.calls = 0
        self.failures = Failures()

    def start(
        self, key: DeliveryKey, *, attempt: int, delay_seconds: float, created_at_ms: int
    ) -> None:
        self.calls += 1
        self.failures.check("start")
        self.executions.setdefault(key, (attempt, delay_seconds))


class FakeRejectedMessages:
    """The events dead-letter queue as a list."""

    def __init__(self) -> None:
        self.messages: list[RejectedMessage] = []
        self.refuse: set[str] = set()

    def put(self, messages: Sequence[RejectedMessage]) -> Sequence[str]:
        self.messages += [m for m in messages if m.message_id not in self.refuse]
        return [m.message_id for m in messages if m.message_id in self.refuse]


class FakeObserver:
    """Keeps what the services said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.counts: dict[str, int] = {}

    def log(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))

    def count(self, metric: str, value: int = 1) -> None:
        self.counts[metric] = self.counts.get(metric, 0) + value

    def logged(self, event: str) -> list[dict[str, object]]:
        """The fields of each line about `event`."""
        return [fields for _, name, fields in self.lines if name == event]
