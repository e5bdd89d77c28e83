"""The store of jobs' records on DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.item_keys import number
from webhooks.adapters.dynamodb.job_items import run_attributes
from webhooks.adapters.dynamodb.transactions import transact
from webhooks.domain.delivery import delivery_id_range
from webhooks.domain.errors import UnreadableRecordError
from webhooks.domain.timestamps import MILLISECONDS
from webhooks.ports import Page, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.job_items import JobCodec
    from webhooks.ports import JobKey, JobOwner

_DAY_SECONDS = 86_400
_RUNNING = "running"
"""The status of a running job of any kind."""


class DynamoDBJobStore(Generic[Record]):
    """Jobs of one kind in the deliveries' table, a partition for each owner.

    For a kind that is limited to one at a time, another item there names the running job. It is
    written and removed in one transaction with the job's own item. Therefore a webhook never has
    two running jobs and is never blocked by a job that ended. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        codec: JobCodec[Record],
        *,
        retention_days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._table = table
        self._codec = codec
        self._retention_seconds = retention_days * _DAY_SECONDS
        self._clock = clock

    def create(self, job: Record) -> bool:
        """Add a running job; False if the kind is limited to one at a time and one is running."""
        put: Any = {"TableName": self._table, "Item": self._item(job)}
        if not self._codec.one_at_a_time:
            return self._put(put)
        *_, (id_name, job_id) = job.key._asdict().items()
        running: Any = {
            "TableName": self._table,
            "Item": {
                **self._running_key(job.key),
                id_name: {"S": job_id},
                "expires_at": put["Item"]["expires_at"],
            },
            # An item past its time to live may not have been removed yet.
            "ConditionExpression": "attribute_not_exists(delivery_id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": number(int(self._clock()))},
        }
        refused = transact(self._client, [{"Put": running}, {"Put": put}], "recording a job")
        # The response to a first try may have been lost.
        return not refused or self.get(job.key) == job

    def get(self, key: JobKey) -> Record | None:
        """Return one job, read consistently; None also past its time to live."""
        with unavailable_on_failure("reading a job"):
            answer = self._client.get_item(
                TableName=self._table, Key=self._key(key), ConsistentRead=True
            )
        item = answer.get("Item")
        if not item or not self._lives(item):
            return None
        try:
            return self._read(item)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UnreadableRecordError(key, type(error).__name__) from None

    def page(self, owner: JobOwner, limit: int, before: str | None = None) -> Page[Record]:
        """Return up to `limit` of an owner's jobs older than an id, newest first."""
        request = self._query(owner, None)
        if before is not None:
            request["ExclusiveStartKey"] = item_keys.job_key(self._codec.kind, *owner, before)
        with unavailable_on_failure("listing jobs"):
            answer = self._client.query(**request, ScanIndexForward=False, Limit=limit + 1)
        found = [self._read(item) for item in answer["Items"] if self._lives(item)]
        [*_, last] = found[limit - 1].key._asdict().values() if len(found) > limit else [None]
        return Page(found[:limit], last)

    def running_one(self, owner: JobOwner) -> Record | None:
        """Return an owner's running job, of a kind limited to one at a time; None without one."""
        with unavailable_on_failure("reading a job"):
            answer = self._client.get_item(
                TableName=self._table,
                Key=item_keys.job_key(self._codec.kind, *owner, item_keys.RUNNING),
                ConsistentRead=True,
            )
        mark = answer.get("Item")
        if mark is None:
            return None
        # Apart from its key and its time to live, it has only the job's id.
        [id_name] = mark.keys() - {"owner", "delivery_id", "expires_at"}
        job_id = mark[id_name]["S"]
        job = self.get(self._codec.key([each for each in (*owner, job_id) if each is not None]))
        return job if job is not None and job.running else None

    def running_since(self, owner: JobOwner, since_ms: int) -> Sequence[Record]:
        """Return an owner's running jobs created at a time or later, oldest first."""
        request = self._query(owner, since_ms)
        request["FilterExpression"] = "#status = :running"
        request["ExpressionAttributeNames"]["#status"] = "status"
        request["ExpressionAttributeValues"][":running"] = {"S": _RUNNING}
        return [self._read(item) for answer in self._pages(request) for item in answer["Items"]]

    def count_since(self, owner: JobOwner, since_ms: int) -> int:
        """Return how many of an owner's jobs were created at a time or later."""
        request = self._query(owner, since_ms)
        return sum(answer["Count"] for answer in self._pages({**request, "Select": "COUNT"}))

    def save(self, before: Record, after: Record) -> bool:
        """Write a job's progress or end over `before`.

        True also if the response to a first try was lost and the write had been made.
        """
        condition = "#status = :running"
        values: Any = {":running": {"S": _RUNNING}}
        steps = self._codec.attributes(before).get("steps")
        if steps is not None:
            condition, values[":steps"] = f"{condition} AND steps = :steps", steps
        if before.run.number:
            condition, values[":run"] = f"{condition} AND #run = :run", number(before.run.number)
        else:
            condition += " AND attribute_not_exists(#run)"
        put: Any = {
            "TableName": self._table,
            "Item": self._item(after),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#status": "status", "#run": "run"},
            "ExpressionAttributeValues": values,
        }
        if after.running or not self._codec.one_at_a_time:
            written = self._put(put)
        else:
            writes = [{"Put": put}, self._release(after)]
            written = not transact(self._client, writes, "ending a job")
        return written or self.get(after.key) == after

    def _put(self, put: Any) -> bool:
        with unavailable_on_failure("recording a job"):
            try:
                self._client.put_item(**put)
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    def _release(self, job: Record) -> Any:
        """Return the write that allows the job's owner another one."""
        *_, (id_name, job_id) = job.key._asdict().items()
        return {
            "Delete": {
                "TableName": self._table,
                "Key": self._running_key(job.key),
                "ConditionExpression": f"attribute_not_exists({id_name}) OR {id_name} = :id",
                "ExpressionAttributeValues": {":id": {"S": job_id}},
            }
        }

    def _query(self, owner: JobOwner, since_ms: int | None) -> dict[str, Any]:
        # Every id is in the range; the item that names the running job is not.
        first, last = delivery_id_range(since_ms, None)
        return {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner AND delivery_id BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":owner": item_keys.job_key(self._codec.kind, *owner, first)["owner"],
                ":first": {"S": first},
                ":last": {"S": last},
            },
            "ConsistentRead": True,
        }

    def _pages(self, query: dict[str, Any]) -> Iterator[Any]:
        while True:
            with unavailable_on_failure("finding jobs"):
                answer = self._client.query(**query)
            yield answer
            if not answer.get("LastEvaluatedKey"):
                return
            query = {**query, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _item(self, job: Record) -> item_keys.Item:
        expires_at = job.created_at_ms // MILLISECONDS + self._retention_seconds
        return {
            **self._key(job.key),
            **self._codec.attributes(job),
            "status": {"S": job.status.value},
            "created_at": number(job.created_at_ms),
            "updated_at": number(job.updated_at_ms),
            "expires_at": number(expires_at),
            **({} if job.reason is None else {"reason": {"S": job.reason}}),
            **run_attributes(job.run, running=job.running),
        }

    def _read(self, item: Mapping[str, Any]) -> Record:
        return self._codec.read(item_keys.read_job_ids(item), item)

    def _key(self, key: JobKey) -> item_keys.Item:
        return item_keys.job_key(self._codec.kind, *key._asdict().values())

    def _running_key(self, key: JobKey) -> item_keys.Item:
        *owner, _ = key._asdict().values()
        return item_keys.job_key(self._codec.kind, *owner, item_keys.RUNNING)

    def _lives(self, item: Mapping[str, Any]) -> bool:
        return int(item["expires_at"]["N"]) > self._clock()
