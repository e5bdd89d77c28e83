"""Operational events that could not be published, on DynamoDB."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.domain.operational_event import (
    KEPT_SECONDS,
    KeptEventKey,
    OperationalEvent,
    OperationalEventType,
)
from webhooks.ports import KeptEventsPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_TYPES = frozenset(OperationalEventType)


class DynamoDBKeptOperationalEvents:
    """One partition in the deliveries' table, in the order of the events' times.

    A read costs half a read unit if nothing is kept. `clock` returns Unix seconds.
    """

    def __init__(
        self, client: DynamoDBClient, table: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def keep(self, event: OperationalEvent) -> None:
        """Keep an event. Its key is derived from its content, so a second write is the same."""
        item = {
            **item_keys.kept_event_key(event),
            "type": {"S": event.type.value},
            "account_id": {"S": event.account_id},
            "webhook_id": {"S": event.webhook_id},
            "at": item_keys.number(event.at_ms),
            "facts": {"S": json.dumps(event.facts)},
            # A day after it is given up, in case no sweep runs for so long.
            "expires_at": item_keys.number(int(self._clock() + KEPT_SECONDS) + _DAY_SECONDS),
        }
        with unavailable_on_failure("keeping an operational event"):
            self._client.put_item(TableName=self._table, Item=item)

    def page(self, limit: int, after: str | None = None) -> KeptEventsPage:
        """Return up to `limit` kept events, the oldest first.

        After a rollback, events of types that only a later version knows are left for it. An
        unreadable event does not prevent others from being published.
        """
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":owner": {"S": item_keys.KEPT_EVENTS}},
            "Limit": limit,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {
                "owner": {"S": item_keys.KEPT_EVENTS},
                "delivery_id": {"S": after},
            }
        with unavailable_on_failure("reading kept operational events"):
            answer = self._client.query(**query)
        last = answer.get("LastEvaluatedKey")
        events: list[OperationalEvent] = []
        unreadable: list[KeptEventKey] = []
        for item in answer["Items"]:
            try:
                if item["type"]["S"] in _TYPES:
                    events.append(_read(item))
            except (KeyError, TypeError, ValueError):
                unreadable.append(KeptEventKey(item["delivery_id"]["S"]))
        return KeptEventsPage(events, last["delivery_id"]["S"] if last else None, tuple(unreadable))

    def forget(self, event: OperationalEvent) -> None:
        """Remove an event; if it is absent, nothing happens."""
        with unavailable_on_failure("removing an operational event"):
            self._client.delete_item(TableName=self._table, Key=item_keys.kept_event_key(event))


def _read(item: Mapping[str, Any]) -> OperationalEvent:
    return OperationalEvent(
        OperationalEventType(item["type"]["S"]),
        item["account_id"]["S"],
        item["webhook_id"]["S"],
        int(item["at"]["N"]),
        json.loads(item["facts"]["S"]),
    )
