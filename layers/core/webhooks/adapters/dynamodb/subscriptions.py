"""The event types that an account's webhooks are subscribed to, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_PAGES = 2
"""Pages of 1 MB: 260 read units and, eventually consistent, 130. No account of fewer than 120
webhooks takes more, and none of the usual ones of fewer than 3,000."""


class DynamoDBSubscriptions:
    """What is read of webhooks to tell which of them an event goes to: nothing secret."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        """Use the webhooks' table through a low-level client."""
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
    """Read what can be read: by now the events are accepted."""
    return [each["S"] for each in item.get("events", {}).get("L", ()) if "S" in each]
