"""The log of deliveries on DynamoDB, for their owners."""

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
"""Most deliveries that one page examines for a filter, so that its cost is bounded."""

_LEAST_KEYS = 48
"""Fewest keys that a query of the index reads if a filter may skip some of them: one by one, a
thousand would take a thousand requests."""


class DynamoDBDeliveryLog:
    """Pages of a webhook's deliveries, newest first. `clock` returns Unix seconds.

    The table is sorted by time, so a page without a filter reads its own deliveries and one more.
    Statuses that need attention have the sparse index, whose keys `store` reads; other filters
    apply while the deliveries are read. A page ends early when its read units are used up: bodies
    are part of the items.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        store: DynamoDBDeliveryStore,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
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
        """Return a page of a status with an index; its deliveries are read by their keys.

        Their sizes are not known in advance; therefore each request reads only as many as the
        remaining units allow if all are of the largest size.
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
    """Add the deliveries that match, newest first, and the keys of unreadable ones."""
    # The keys differ only in their ids.
    for key in sorted(living, reverse=True):
        delivery = living[key]
        if delivery is None:
            unreadable.append(key)
        elif _matches(delivery, query):
            found.append(delivery)


def _matches(delivery: Delivery, query: DeliveryQuery) -> bool:
    """Whether a delivery matches a query: an index may be behind."""
    return query.status in {None, delivery.status} and query.event_type in {
        None,
        delivery.event_type,
    }
