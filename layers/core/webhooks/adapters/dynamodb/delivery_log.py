"""The log of deliveries on DynamoDB: what their owner looks through."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import delivery_items, item_keys
from webhooks.adapters.dynamodb.delivery_range import range_query
from webhooks.adapters.dynamodb.read_units import ReadUnits
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.deliveries import DynamoDBDeliveryStore
    from webhooks.domain.delivery import Delivery, DeliveryKey
    from webhooks.ports import DeliveryQuery

_MAX_EXAMINED = 1000
"""Deliveries that one page examines for a filter at most, so that its cost is bounded."""

_LEAST_KEYS = 48
"""Keys that a query of the index reads at least where a filter may leave some of them out: one by
one, a thousand would take a thousand requests."""


class DynamoDBDeliveryLog:
    """Pages of a webhook's deliveries, newest first.

    The table's own order is that of time, so a page without a filter reads what it returns and one
    more. The statuses that need attention have the sparse index; other filters apply as the
    deliveries are read. A page ends early where its read units do: bodies are part of the items.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        store: DynamoDBDeliveryStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use `table` through a low-level client; `store` reads what the index points to."""
        self._client = client
        self._table = table
        self._store = store
        self._clock = clock

    def page(self, query: DeliveryQuery, limit: int, before: str | None = None) -> Page[Delivery]:
        """Return up to `limit` deliveries that match, newest first, older than id `before`.

        With a filter they are read eventually consistently, at half the price.
        """
        if query.status in delivery_items.ATTENTION:
            return self._indexed(query, limit, before)
        request = self._request(query, before)
        filtered = "FilterExpression" in request
        request["ConsistentRead"] = not filtered
        units = ReadUnits()
        found: list[Delivery] = []
        unreadable: list[DeliveryKey] = []
        examined = 0
        while True:
            request["Limit"] = (
                units.filtered_items(consistent=False) if filtered else limit + 1 - len(found)
            )
            answer = self._query(request, units)
            living = delivery_items.read_living(answer["Items"], self._clock())
            _sort_out(query, living, found, unreadable)
            examined += answer["ScannedCount"]
            last_key = answer.get("LastEvaluatedKey")
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1].id, unreadable)
            if last_key is None:
                return Page(found, None, unreadable)
            if examined >= _MAX_EXAMINED or not units.allow_query(consistent=not filtered):
                return Page(found, last_key["delivery_id"]["S"], unreadable)
            request["ExclusiveStartKey"] = last_key

    def _indexed(self, query: DeliveryQuery, limit: int, before: str | None) -> Page[Delivery]:
        """Return a page of a status that has the index, whose deliveries are read by their keys.

        Their sizes are not known before, so that only as many are read at once as there are units
        for the largest ones.
        """
        request = self._request(query, before)
        units = ReadUnits()
        found: list[Delivery] = []
        unreadable: list[DeliveryKey] = []
        last_id = before
        examined = 0
        while True:
            wanted = limit + 1 - len(found)
            request["Limit"] = wanted if query.event_type is None else max(wanted, _LEAST_KEYS)
            answer = self._query(request, units)
            keys = [item_keys.read_delivery_key(item) for item in answer["Items"]]
            examined += len(keys)
            while keys and len(found) <= limit:
                number = units.allowed_items(consistent=False)
                if not number:
                    return Page(found, last_id, unreadable)
                chunk, keys = keys[:number], keys[number:]
                _sort_out(query, self._store.get_many(chunk, units=units), found, unreadable)
                last_id = chunk[-1].delivery_id
            if len(found) > limit:
                return Page(found[:limit], found[limit - 1].id, unreadable)
            last_key = answer.get("LastEvaluatedKey")
            if last_key is None:
                return Page(found, None, unreadable)
            if examined >= _MAX_EXAMINED:
                return Page(found, last_key["delivery_id"]["S"], unreadable)
            request["ExclusiveStartKey"] = last_key

    def _query(self, request: dict[str, Any], units: ReadUnits) -> Any:
        with unavailable_on_failure("listing deliveries"):
            answer = self._client.query(**request)
        units.count(answer)
        return answer

    def _request(self, query: DeliveryQuery, before: str | None) -> dict[str, Any]:
        indexed = query.status if query.status in delivery_items.ATTENTION else None
        request = range_query(
            self._table,
            item_keys.owner(query.account_id, query.webhook_id),
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


def _sort_out(
    query: DeliveryQuery,
    living: Mapping[DeliveryKey, Delivery | None],
    found: list[Delivery],
    unreadable: list[DeliveryKey],
) -> None:
    """Add the deliveries that match, newest first, and the keys of those that cannot be read."""
    # The keys differ in nothing but their ids.
    for key in sorted(living, reverse=True):
        delivery = living[key]
        if delivery is None:
            unreadable.append(key)
        elif _matches(delivery, query):
            found.append(delivery)


def _matches(delivery: Delivery, query: DeliveryQuery) -> bool:
    """Tell whether a delivery is as a query asks: an index may be behind."""
    return query.status in {None, delivery.status} and query.event_type in {
        None,
        delivery.event_type,
    }
