"""Deliveries in memory, for their writers, their readers and a walk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.fakes.failures import Failures
from webhooks.domain.delivery import Delivery, DeliveryKey, Status, delivery_id_range
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.event import HOLD_SECONDS, EventClaim
from webhooks.ports import OverdueDelivery, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from webhooks.domain.delivery import Claim
    from webhooks.domain.event import Event, Holder
    from webhooks.domain.selection import Selection
    from webhooks.ports import DeliveryQuery


RETENTION_SECONDS = 30 * 86_400


class FakeDeliveryStore:
    """`DeliveryStore` in a dictionary, with every write counted."""

    def __init__(self) -> None:
        self.deliveries: dict[DeliveryKey, Delivery] = {}
        self.claims: dict[tuple[str, str], int] = {}
        self.failures = Failures()
        self.writes: list[str] = []
        self.unwritable: set[DeliveryKey] = set()
        self.unreadable: set[DeliveryKey] = set()
        self.holders: dict[tuple[str, str], tuple[str, int]] = {}

    def claim(self, event: Event, holder: Holder) -> EventClaim:
        self.failures.check("claim")
        key = event.account_id, event.id
        first_ms = self.claims.setdefault(key, event.occurred_at_ms)
        batch, until_ms = self.holders.get(key, (holder.batch, 0))
        if batch != holder.batch and until_ms > holder.now_ms and not holder.take_over:
            return EventClaim(first_ms, held=True)
        if first_ms == event.occurred_at_ms:
            self.holders[key] = holder.batch, holder.now_ms + HOLD_SECONDS * 1000
        return EventClaim(first_ms)

    def get(self, key: DeliveryKey) -> Delivery | None:
        self.failures.check("get")
        return self._read(key)

    def get_many(self, keys: Iterable[DeliveryKey]) -> Mapping[DeliveryKey, Delivery | None]:
        self.failures.check("get_many")
        return {
            key: None if key in self.unreadable else self.deliveries[key]
            for key in keys
            if key in self.deliveries
        }

    def put_settled(self, deliveries: Sequence[Delivery]) -> Sequence[DeliveryKey]:
        """Write the allowed results: each delivery is a call of its own that may fail."""
        self.writes.append("put_settled")
        unwritten = []
        for delivery in deliveries:
            if delivery.key in self.unwritable or self.failures.due("put_settled"):
                unwritten.append(delivery.key)
                continue
            self.deliveries[delivery.key] = delivery
            self.unreadable.discard(delivery.key)
        return unwritten

    def create(self, delivery: Delivery) -> Delivery:
        self.failures.check("create")
        self.writes.append("create")
        self._read(delivery.key)
        return self.deliveries.setdefault(delivery.key, delivery)

    def update(self, delivery: Delivery, *, before: Delivery) -> bool:
        self.failures.check("update")
        self.writes.append("update")
        stored = self._read(delivery.key)
        if stored is None:
            return False
        if stored == delivery:
            return True
        if _version(stored) != _version(before):
            return False
        self.deliveries[delivery.key] = delivery
        return True

    def claim_attempt(
        self, delivery: Delivery, claim: Claim, *, attempt_number: int, now_ms: int
    ) -> Delivery | None:
        self.failures.check("claim_attempt")
        self.writes.append("claim_attempt")
        stored = self._read(delivery.key)
        if stored is None:
            return None
        wanted = (True, delivery.generation, attempt_number)
        free = stored.claim is None or stored.claim.until_ms <= now_ms
        if free and wanted == (stored.retrying, stored.generation, stored.next_attempt):
            stored = replace(stored, claim=claim)
            self.deliveries[delivery.key] = stored
        return stored

    def mark_unstarted(self, delivery: Delivery) -> bool:
        self.failures.check("mark_unstarted")
        self.writes.append("mark_unstarted")
        stored = self._read(delivery.key)
        known = delivery.generation, delivery.next_attempt_at_ms
        if stored is None or (stored.generation, stored.next_attempt_at_ms) != known:
            return False
        self.deliveries[delivery.key] = replace(stored, unstarted=True)
        return True

    def note_expiring(self, delivery: Delivery) -> bool:
        self.failures.check("note_expiring")
        self.writes.append("note_expiring")
        stored = self._read(delivery.key)
        if stored is None or stored.status is not Status.WAITING or stored.expiring:
            return False
        if _version(stored) != _version(delivery):
            return False
        self.deliveries[delivery.key] = replace(stored, expiring=True)
        return True

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> Page[Delivery]:
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
        readable = [delivery for delivery in matching if delivery.key not in self.unreadable]
        page = readable[:limit]
        unreadable = [delivery.key for delivery in matching if delivery.key in self.unreadable]
        return Page(page, page[-1].id if len(readable) > limit else None, unreadable)

    def _read(self, key: DeliveryKey) -> Delivery | None:
        if key in self.unreadable:
            raise UnreadableRecordError(key, "KeyError")
        return self.deliveries.get(key)


def _version(delivery: Delivery) -> tuple[object, ...]:
    return (
        delivery.status,
        len(delivery.attempts),
        delivery.generation,
        delivery.next_attempt_at_ms,
        delivery.claim and delivery.claim.invocation,
    )


def _due_at_ms(delivery: Delivery) -> int | None:
    if delivery.next_attempt_at_ms is not None:
        return delivery.next_attempt_at_ms
    return delivery.expiry_notice_at_ms(RETENTION_SECONDS)


class FakeOverdueDeliveries:
    """`OverdueDeliveries` over a fake store's deliveries."""

    partitions = tuple("0123456789abcdef")

    def __init__(self, store: FakeDeliveryStore) -> None:
        self.store = store
        self.failures = Failures()

    def page(
        self,
        partition: str,
        since_ms: int,
        before_ms: int,
        limit: int,
        after: OverdueDelivery | None = None,
    ) -> Page[OverdueDelivery]:
        self.failures.check("page")
        due = sorted(
            OverdueDelivery(due_ms, delivery.key)
            for delivery in list(self.store.deliveries.values())
            if delivery.id.endswith(partition)
            and (due_ms := _due_at_ms(delivery)) is not None
            and since_ms <= due_ms < before_ms
        )
        behind = [place for place in due if after is None or place > after]
        page = behind[:limit]
        return Page(page, page[-1].key.delivery_id if len(behind) > len(page) else None)


class FakeDeliveryReader:
    """`DeliveryReader` over a fake store's deliveries."""

    def __init__(self, store: FakeDeliveryStore) -> None:
        self.store = store
        self.failures = Failures()

    def oldest_first(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> Page[Delivery]:
        self.failures.check("oldest_first")
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
        return Page(
            [delivery for delivery in page if delivery.key not in self.store.unreadable],
            page[-1].id if len(matching) > limit else None,
            [delivery.key for delivery in page if delivery.key in self.store.unreadable],
        )
