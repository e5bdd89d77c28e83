"""The event types that an account's webhooks are subscribed to, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_PAGES = 2
"""Pages of 1 MB: 260 read units for the first and, eventually consistent, 130 for the second. An
account exceeds them with 120 of the largest webhooks, or 3,000 of the usual ones."""


class DynamoDBSubscriptions:
    """The subscriptions of webhooks, to find an event's webhooks without reading any secret."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def subscriptions(self, account_id: str) -> Sequence[Sequence[str]] | None:
        """Return the types of each webhook; None for an account that takes over two pages."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "account_id = :account_id AND webhook_id < :end",
            "ExpressionAttributeValues": {
                ":account_id": {"S": account_id},
                ":end": {"S": item_keys.AFTER_ALL_WEBHOOKS},
            },
            "ProjectionExpression": "#events",
            "ExpressionAttributeNames": {"#events": "events"},
            "ConsistentRead": True,
        }
        found: list[list[str]] = []
        for _ in range(_MOST_PAGES):
            with unavailable_on_failure("counting an event's webhooks"):
                answer = self._client.query(**query)
            found += [_types(item) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return found
            query |= {"ExclusiveStartKey": answer["LastEvaluatedKey"], "ConsistentRead": False}
        return None


def _types(item: Any) -> list[str]:
    """Return the readable types; the events are accepted by now, so others are skipped."""
    return [each["S"] for each in item.get("events", {}).get("L", ()) if "S" in each]
