"""The log of deliveries on DynamoDB: what their owner looks through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters import delivery_items, items
from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.delivery_range import range_query
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import DeliveryQuery, DeliveryStore

_MAX_EXAMINED = 1000
"""Deliveries that one page examines for a filter at most, so that its cost is bounded."""

_FILTERED_LIMIT = 250


class DynamoDBDeliveryLog:
    """Pages of a webhook's deliveries, newest first.

    The table's own order is that of time, so a page without a filter reads what it returns and one
    more. The statuses that need attention have the sparse index; other filters apply as the
    deliveries are read.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        store: DeliveryStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use `table` through a low-level client; `store` reads what the index points to."""
        self._client = client
        self._table = table
        self._store = store
        self._clock = clock

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> Page[Delivery]:
        """Return up to `limit` deliveries that match, newest first, older than id `before`."""
        request = self._request(query, before)
        indexed = query.status in delivery_items.ATTENTION
        filtered = query.event_type is not None or (query.status is not None and not indexed)
        found: list[Delivery] = []
        unreadable: list[DeliveryKey] = []
        examined = 0
        while True:
            request["Limit"] = _FILTERED_LIMIT if filtered else limit + 1 - len(found)
            with unavailable_on_failure("listing deliveries"):
                answer = self._client.query(**request)
            for key, delivery in self._living(query, answer["Items"]):
                if delivery is None:
                    unreadable.append(key)
                elif _matches(delivery, query):
                    found.append(delivery)
            examined += answer["ScannedCount"]
            last_key = answer.get("LastEvaluatedKey")
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1].id, unreadable)
            if last_key is None:
                return Page(found, None, unreadable)
            if examined >= _MAX_EXAMINED:
                return Page(found, last_key["delivery_id"]["S"], unreadable)
            request["ExclusiveStartKey"] = last_key

    def _request(self, query: DeliveryQuery, before: str | None) -> dict[str, Any]:
        indexed = query.status if query.status in delivery_items.ATTENTION else None
        request = range_query(
            self._table,
            items.owner(query.account_id, query.webhook_id),
            query.since_ms,
            query.until_ms,
            start_id=before,
            indexed=indexed,
        )
        if indexed is None:
            wanted = {"status": query.status, "event_type": query.event_type}
            filters = {name: value for name, value in wanted.items() if value is not None}
            if filters:
                request["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in filters)
            for name, value in filters.items():
                request["ExpressionAttributeNames"][f"#{name}"] = name
                request["ExpressionAttributeValues"][f":{name}"] = {"S": value}
        return {**request, "ScanIndexForward": False}

    def _living(
        self, query: DeliveryQuery, found: Sequence[Any]
    ) -> list[tuple[DeliveryKey, Delivery | None]]:
        """Return the deliveries of a query's items that live, newest first."""
        if query.status in delivery_items.ATTENTION:
            living = self._store.get_many([items.read_delivery_key(item) for item in found])
        else:
            living = delivery_items.read_living(found, self._clock())
        # The keys differ in nothing but their ids.
        return [(key, living[key]) for key in sorted(living, reverse=True)]


def _matches(delivery: Delivery, query: DeliveryQuery) -> bool:
    """Tell whether a delivery is as a query asks: an index may be behind."""
    return query.status in {None, delivery.status} and query.event_type in {
        None,
        delivery.event_type,
    }
