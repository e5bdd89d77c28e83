"""The store of erasures on DynamoDB, and the way through an account's webhooks that they go."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters import items
from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.domain.delivery import delivery_id_range
from webhooks.domain.erasure import Erasure, ErasureKey, ErasureStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_MILLISECONDS = 1000
_NEXT = " "
"""An id with this behind it sorts after that id, and before every other: all are equally long."""


class DynamoDBErasureStore:
    """Erasures beside the deliveries, in a partition of the account's own."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        retention_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use `table` through a low-level client; `clock` gives Unix seconds."""
        self._client = client
        self._table = table
        self._retention_seconds = retention_days * _DAY_SECONDS
        self._clock = clock

    def create(self, erasure: Erasure) -> None:
        """Add an erasure."""
        with unavailable_on_failure("recording an erasure"):
            self._client.put_item(TableName=self._table, Item=self._item(erasure))

    def get(self, key: ErasureKey) -> Erasure | None:
        """Return one erasure, read consistently; None also past its time to live."""
        with unavailable_on_failure("reading an erasure"):
            answer = self._client.get_item(
                TableName=self._table, Key=items.erasure_key(*key), ConsistentRead=True
            )
        item = answer.get("Item")
        return _read(item) if item and int(item["expires_at"]["N"]) > self._clock() else None

    def running(self, account_id: str, since_ms: int) -> Sequence[Erasure]:
        """Return an account's erasures that are running and were created at a time or later."""
        first, last = delivery_id_range(since_ms, None)
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner AND delivery_id BETWEEN :first AND :last",
            "FilterExpression": "#status = :running",
            "ExpressionAttributeNames": {"#owner": "owner", "#status": "status"},
            "ExpressionAttributeValues": {
                ":owner": items.erasure_key(account_id, first)["owner"],
                ":first": {"S": first},
                ":last": {"S": last},
                ":running": {"S": ErasureStatus.RUNNING.value},
            },
            "ConsistentRead": True,
        }
        found: list[Erasure] = []
        while True:
            with unavailable_on_failure("finding erasures"):
                answer = self._client.query(**query)
            found += [_read(item) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return found
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def save(self, before: Erasure, after: Erasure) -> bool:
        """Write an erasure's progress or end over `before`.

        True also where the answer of a first try was lost and the write had been made.
        """
        with unavailable_on_failure("recording an erasure's progress"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=self._item(after),
                    ConditionExpression="#status = :running AND steps = :steps",
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues={
                        ":running": {"S": ErasureStatus.RUNNING.value},
                        ":steps": {"N": str(before.steps)},
                    },
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
            else:
                return True
        return self.get(after.key) == after

    def _item(self, erasure: Erasure) -> items.Item:
        expires_at = erasure.created_at_ms // _MILLISECONDS + self._retention_seconds
        numbers = {
            "created_at": erasure.created_at_ms,
            "updated_at": erasure.updated_at_ms,
            "passes": erasure.passes,
            "examined": erasure.examined,
            "erased_count": erasure.erased,
            "steps": erasure.steps,
            "expires_at": expires_at,
        }
        texts = {
            "status": erasure.status.value,
            "walked_webhook_id": erasure.webhook_id,
            "position": erasure.position,
            "reason": erasure.reason,
        }
        secrets = {"salt": erasure.salt, "digest": erasure.digest}
        return {
            **items.erasure_key(*erasure.key),
            **({"unreadable": {"BOOL": True}} if erasure.unreadable else {}),
            **{name: {"N": str(value)} for name, value in numbers.items()},
            **{name: {"S": value} for name, value in texts.items() if value is not None},
            **{name: {"B": value} for name, value in secrets.items() if value},
        }


def _read(item: Mapping[str, Any]) -> Erasure:
    return Erasure(
        account_id=item["owner"]["S"].removesuffix(items.ERASURES),
        id=item["delivery_id"]["S"],
        created_at_ms=int(item["created_at"]["N"]),
        updated_at_ms=int(item["updated_at"]["N"]),
        salt=item.get("salt", {}).get("B", b""),
        digest=item.get("digest", {}).get("B", b""),
        status=ErasureStatus(item["status"]["S"]),
        passes=int(item["passes"]["N"]),
        webhook_id=item.get("walked_webhook_id", {}).get("S"),
        position=item.get("position", {}).get("S"),
        examined=int(item["examined"]["N"]),
        erased=int(item["erased_count"]["N"]),
        steps=int(item["steps"]["N"]),
        reason=item.get("reason", {}).get("S"),
        unreadable=item.get("unreadable", {}).get("BOOL", False),
    )


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
