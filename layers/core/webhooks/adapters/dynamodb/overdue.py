"""Overdue deliveries and jobs on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import delivery_items, item_keys
from webhooks.adapters.dynamodb.job_items import DUE_JOBS
from webhooks.ports import OverdueDelivery, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.job_items import JobCodec
    from webhooks.ports import JobKey

_DUE_INDEX = "due"


class DynamoDBOverdueDeliveries:
    """The sparse index of the deliveries with a due time, by that time.

    A read costs only its results: with nothing overdue, half a read unit for each partition.
    """

    partitions = tuple(delivery_items.DUE_KEYS)

    def __init__(self, client: DynamoDBClient, table: str) -> None:
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
        """Return up to `limit` deliveries due from `since_ms` and before `before_ms`."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": _DUE_INDEX,
            "KeyConditionExpression": "due = :due AND next_attempt_at BETWEEN :since AND :until",
            "ExpressionAttributeValues": {
                ":due": {"S": partition},
                ":since": item_keys.number(since_ms),
                ":until": item_keys.number(before_ms - 1),
            },
            "Limit": limit,
        }
        if after is not None:
            query["ExclusiveStartKey"] = {
                **item_keys.delivery_key(after.key),
                "due": {"S": partition},
                "next_attempt_at": item_keys.number(after.due_ms),
            }
        with unavailable_on_failure("finding overdue deliveries"):
            answer = self._client.query(**query)
        last = answer.get("LastEvaluatedKey")
        return Page(
            [_read(item) for item in answer["Items"]], last["delivery_id"]["S"] if last else None
        )


class DynamoDBOverdueJobs:
    """The running jobs by the due time of their next step: one partition of that index.

    `codecs` are the kinds of job that it finds.
    """

    def __init__(self, client: DynamoDBClient, table: str, codecs: Iterable[JobCodec[Any]]) -> None:
        self._client = client
        self._table = table
        self._codecs = {codec.kind: codec for codec in codecs}

    def overdue(self, before_ms: int, limit: int) -> Sequence[JobKey]:
        """Return up to `limit` jobs that were due before a time, the longest overdue first."""
        with unavailable_on_failure("finding overdue jobs"):
            answer = self._client.query(
                TableName=self._table,
                IndexName=_DUE_INDEX,
                KeyConditionExpression="due = :due AND next_attempt_at < :before",
                ExpressionAttributeValues={
                    ":due": {"S": DUE_JOBS},
                    ":before": item_keys.number(before_ms),
                },
                Limit=limit,
            )
        found = [
            (item_keys.job_kind(item), item_keys.read_job_ids(item)) for item in answer["Items"]
        ]
        # After a rollback, jobs of kinds that only a later version knows are left for it.
        return [self._codecs[kind].key(ids) for kind, ids in found if kind in self._codecs]


def _read(item: Mapping[str, Any]) -> OverdueDelivery:
    return OverdueDelivery(int(item["next_attempt_at"]["N"]), item_keys.read_delivery_key(item))
