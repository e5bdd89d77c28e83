"""Lists all of an account's webhooks on DynamoDB, deleted ones too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

_NEXT = " "
"""An id with this suffix sorts after that id, and before every other: all have the same length."""

_DELETED_AT_ONCE = 1000
_DELETED_PAGES = 10
"""At most this many queries skip ids of deleted webhooks past their time to live."""


class DynamoDBWebhookIds:
    """An account's webhooks, and those deleted within the retention, by id.

    `clock` returns Unix seconds.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        deliveries_table: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._deliveries_table = deliveries_table
        self._clock = clock

    def next(self, account_id: str, after: str | None) -> str | None:
        """Return the id of the next webhook after another, None at the end."""
        first = _NEXT if after is None else after + _NEXT
        # In this order: a webhook that is deleted in between has left its id by then.
        living = self._living(account_id, first)
        return min(filter(None, (living, self._deleted(account_id, first))), default=None)

    def _living(self, account_id: str, first: str) -> str | None:
        request = _range(self._table, "account_id", account_id, "webhook_id", first)
        answer = self._query({**request, "ProjectionExpression": "#sort", "Limit": 1})
        return next((str(item["webhook_id"]["S"]) for item in answer["Items"]), None)

    def _deleted(self, account_id: str, first: str) -> str | None:
        """Return the first deleted webhook within its time to live, which DynamoDB enforces late.

        Deliveries of a webhook past it are expired too. After too many of these, the last one is
        returned.
        """
        owner = item_keys.deleted_webhook_key(account_id, first)["owner"]["S"]
        request = _range(self._deliveries_table, "owner", owner, "delivery_id", first)
        request |= {
            "FilterExpression": "attribute_not_exists(expires_at) OR expires_at > :now",
            "Limit": 1,
        }
        request["ExpressionAttributeValues"][":now"] = item_keys.number(int(self._clock()))
        last: str | None = None
        for _ in range(_DELETED_PAGES):
            answer = self._query(request)
            for item in answer["Items"]:
                return str(item["delivery_id"]["S"])
            if "LastEvaluatedKey" not in answer:
                return None
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            request["Limit"] = _DELETED_AT_ONCE
            last = answer["LastEvaluatedKey"]["delivery_id"]["S"]
        return last

    def _query(self, request: dict[str, Any]) -> Any:
        with unavailable_on_failure("finding an account's webhooks"):
            return self._client.query(**request)


def _range(table: str, partition: str, value: str, sort: str, first: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "KeyConditionExpression": "#partition = :partition AND #sort BETWEEN :first AND :last",
        "ExpressionAttributeNames": {"#partition": partition, "#sort": sort},
        "ExpressionAttributeValues": {
            ":partition": {"S": value},
            ":first": {"S": first},
            ":last": {"S": item_keys.AFTER_ALL_WEBHOOKS},
        },
        "ConsistentRead": True,
    }
