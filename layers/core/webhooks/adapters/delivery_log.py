"""The log of deliveries on DynamoDB: what their owner looks through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters import delivery_items, items
from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.delivery_range import range_query
from webhooks.ports import DeliveryPage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.delivery import Delivery
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

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> DeliveryPage:
        """Return up to `limit` deliveries that match, newest first, older than id `before`."""
        request = self._request(query, before)
        indexed = query.status in delivery_items.ATTENTION
        filtered = query.event_type is not None or (query.status is not None and not indexed)
        found: list[Delivery] = []
        examined = 0
        while True:
            request["Limit"] = _FILTERED_LIMIT if filtered else limit + 1 - len(found)
            with unavailable_on_failure("listing deliveries"):
                answer = self._client.query(**request)
            found += self._matching(query, answer["Items"])
            examined += answer["ScannedCount"]
            last_key = answer.get("LastEvaluatedKey")
            if len(found) > limit:
                return DeliveryPage(found[:limit], found[limit - 1].id)
            if last_key is None:
                return DeliveryPage(found, None)
            if examined >= _MAX_EXAMINED:
                return DeliveryPage(found, last_key["delivery_id"]["S"])
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

    def _matching(self, query: DeliveryQuery, found: Sequence[Any]) -> list[Delivery]:
        """Return the deliveries of a query's items that live and match."""
        if query.status not in delivery_items.ATTENTION:
            now = self._clock()
            return [
                delivery_items.read_delivery(i) for i in found if int(i["expires_at"]["N"]) > now
            ]
        stored = self._store.get_many([items.read_delivery_key(item) for item in found])
        return sorted(
            (
                delivery
                for delivery in stored.values()
                if delivery.status is query.status
                and query.event_type in {None, delivery.event_type}
            ),
            key=lambda delivery: delivery.id,
            reverse=True,
        )
