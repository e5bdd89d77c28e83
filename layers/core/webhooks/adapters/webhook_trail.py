"""The way through all of an account's webhooks, deleted ones too, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters import items
from webhooks.adapters.aws import unavailable_on_failure

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NEXT = " "
"""An id with this behind it sorts after that id, and before every other: all are equally long."""


class DynamoDBWebhookTrail:
    """An account's webhooks, and those that were deleted within the retention, by id."""

    def __init__(self, client: DynamoDBClient, table: str, deliveries_table: str) -> None:
        """Use the tables through a low-level client."""
        self._client = client
        self._table = table
        self._deliveries_table = deliveries_table

    def next(self, account_id: str, after: str | None) -> str | None:
        """Return the first webhook's id after another, None at the end."""
        first = "" if after is None else after + _NEXT
        # In this order: one that is deleted in between has left its id by then.
        living = self._first(
            self._table, "account_id", {"S": account_id}, "webhook_id", first or _NEXT
        )
        owner = items.deleted_webhook_key(account_id, first)["owner"]
        deleted = self._first(self._deliveries_table, "owner", owner, "delivery_id", first or _NEXT)
        return min(filter(None, (living, deleted)), default=None)

    def _first(
        self, table: str, partition: str, value: dict[str, Any], sort: str, first: str
    ) -> str | None:
        with unavailable_on_failure("finding an account's webhooks"):
            answer = self._client.query(
                TableName=table,
                KeyConditionExpression="#partition = :partition AND #sort BETWEEN :first AND :last",
                ExpressionAttributeNames={"#partition": partition, "#sort": sort},
                ExpressionAttributeValues={
                    ":partition": value,
                    ":first": {"S": first},
                    ":last": {"S": items.AFTER_ALL_WEBHOOKS},
                },
                ProjectionExpression="#sort",
                ConsistentRead=True,
                Limit=1,
            )
        return next((str(item[sort]["S"]) for item in answer["Items"]), None)
