"""The deliveries that are overdue, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters import delivery_items, items
from webhooks.adapters.aws import unavailable_on_failure
from webhooks.ports import OverdueDelivery, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DUE_INDEX = "due"


class DynamoDBOverdueDeliveries:
    """The sparse index of the deliveries that are due some time, by that time.

    Looking costs as much as what is found: with nothing overdue, a half read unit a partition.
    """

    partitions = tuple(delivery_items.DUE_KEYS)

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        """Use `table` through a low-level client."""
        self._client = client
        self._table = table

    def page(
        self,
        partition: str,
        since_ms: int,
        before_ms: int,
        limit: int,
        after: OverdueDelivery | None = None,
    ) -> Page[OverdueDelivery]:
        """Return up to `limit` that were due from a time on and before another."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": _DUE_INDEX,
            "KeyConditionExpression": "due = :due AND next_attempt_at BETWEEN :since AND :until",
            "ExpressionAttributeValues": {
                ":due": {"S": partition},
                ":since": items.number(since_ms),
                ":until": items.number(before_ms - 1),
            },
            "Limit": limit,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {
                **items.delivery_key(after.key),
                "due": {"S": partition},
                "next_attempt_at": items.number(after.due_ms),
            }
        with unavailable_on_failure("finding overdue deliveries"):
            answer = self._client.query(**query)
        last = answer.get("LastEvaluatedKey")
        return Page(
            [_read(item) for item in answer["Items"]], last["delivery_id"]["S"] if last else None
        )


def _read(item: Mapping[str, Any]) -> OverdueDelivery:
    return OverdueDelivery(int(item["next_attempt_at"]["N"]), items.read_delivery_key(item))
