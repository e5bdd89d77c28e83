"""Reads a webhook's deliveries on DynamoDB, oldest first, for the jobs that send them again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import delivery_items, item_keys
from webhooks.adapters.dynamodb.delivery_range import range_query
from webhooks.adapters.dynamodb.read_units import USUAL_ITEM_BYTES, ReadUnits
from webhooks.domain.delivery import DeliveryKey, Status
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.delivery import Delivery
    from webhooks.domain.selection import Selection
    from webhooks.ports import DeliveryStore

_MAX_EXAMINED = 1000
"""Most deliveries that one batch examines for a status, so that its cost is bounded."""

_LIFE = tuple(Status)
"""The statuses in the order in which a delivery goes through them."""


class DynamoDBDeliveryReader:
    """Batches of a webhook's deliveries, oldest first. `clock` returns Unix seconds.

    Statuses that need attention are found in the sparse index, whose keys `store` reads; others by
    filtering all deliveries.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        store: DeliveryStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._store = store
        self._clock = clock

    def oldest_first(
        self,
        account_id: str,
        webhook_id: str,
        selection: Selection,
        limit: int,
        after: str | None = None,
    ) -> Page[Delivery]:
        """Return up to `limit` selected deliveries, oldest first, newer than id `after`."""
        owner = item_keys.owner(account_id, webhook_id)
        if delivery_items.ATTENTION.issuperset(selection.statuses):
            return self._indexed(owner, selection, limit, after)
        return self._filtered(owner, selection, limit, after)

    def _indexed(
        self, owner: str, selection: Selection, limit: int, after: str | None
    ) -> Page[Delivery]:
        found: dict[str, DeliveryKey] = {}
        more = False
        # In the order of a delivery's life: a delivery that changes its status meanwhile is found
        # twice rather than not at all.
        for status in sorted(selection.statuses, key=_LIFE.index):
            request = self._request(owner, selection, after, status)
            with unavailable_on_failure("finding deliveries"):
                answer = self._client.query(**request, Limit=limit)
            keys = [item_keys.read_delivery_key(item) for item in answer["Items"]]
            found |= {key.delivery_id: key for key in keys}
            more = more or "LastEvaluatedKey" in answer
        taken = sorted(found)[:limit]
        stored = self._store.get_many([found[delivery_id] for delivery_id in taken])
        more = more or len(found) > len(taken)
        selected = {
            # The keys differ only in their ids.
            key: delivery
            for key, delivery in sorted(stored.items(), key=lambda each: each[0])
            if delivery is None or delivery.status in selection.statuses
        }
        return _batch(selected, taken[-1] if taken and more else None)

    def _filtered(
        self, owner: str, selection: Selection, limit: int, after: str | None
    ) -> Page[Delivery]:
        request = self._request(owner, selection, after)
        # A selection of all statuses includes statuses unknown to this version.
        if set(selection.statuses) != set(Status):
            statuses = {f":{status}": {"S": status.value} for status in selection.statuses}
            request["FilterExpression"] = f"#status IN ({', '.join(statuses)})"
            request["ExpressionAttributeNames"]["#status"] = "status"
            request["ExpressionAttributeValues"] |= statuses
        found: dict[DeliveryKey, Delivery | None] = {}
        examined = 0
        units = ReadUnits()
        # The first query reads just enough if most deliveries match; if few do, the next read more.
        page_size = limit + 1
        if "FilterExpression" in request:
            page_size = min(page_size, _filtered_items(units))
        while True:
            with unavailable_on_failure("finding deliveries"):
                answer = self._client.query(**request, Limit=page_size)
            found |= delivery_items.read_living(answer["Items"], self._clock())
            examined += answer["ScannedCount"]
            units.count(answer)
            last_key = answer.get("LastEvaluatedKey")
            if len(found) > limit:
                taken = list(found)[:limit]
                return _batch({key: found[key] for key in taken}, taken[-1].delivery_id)
            if last_key is None:
                return _batch(found, None)
            if examined >= _MAX_EXAMINED or not units.allow_query(consistent=True):
                return _batch(found, last_key["delivery_id"]["S"])
            request["ExclusiveStartKey"] = last_key
            page_size = _filtered_items(units)

    def _request(
        self, owner: str, selection: Selection, after: str | None, indexed: Status | None = None
    ) -> dict[str, Any]:
        return range_query(
            self._table,
            owner,
            selection.since_ms,
            selection.until_ms,
            start_id=after,
            indexed=indexed,
        )


def _filtered_items(units: ReadUnits) -> int:
    return units.filtered_items(consistent=True, item_bytes=USUAL_ITEM_BYTES)


def _batch(found: Mapping[DeliveryKey, Delivery | None], next_after: str | None) -> Page[Delivery]:
    return Page(
        [delivery for delivery in found.values() if delivery is not None],
        next_after,
        [key for key, delivery in found.items() if delivery is None],
    )
