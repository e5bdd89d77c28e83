"""The store of replays on DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters import items
from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.transactions import transact
from webhooks.domain.delivery import Status, delivery_id_range
from webhooks.domain.replay import Replay, ReplayKey, ReplayStatus, Selection
from webhooks.ports import ReplayPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_MILLISECONDS = 1000


class DynamoDBReplayStore:
    """Replays beside the deliveries, in a partition of their own.

    One more item there names the running replay. It comes and goes in one transaction with the
    replay's own item, so that a webhook never has two running and never waits for one that ended.
    """

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

    def create(self, replay: Replay) -> bool:
        """Add a running replay; False where the webhook has a running one already."""
        item = self._item(replay)
        running: Any = {
            **items.replay_key(replay.account_id, replay.webhook_id, items.RUNNING),
            "replay_id": {"S": replay.id},
            "expires_at": item["expires_at"],
        }
        free: Any = {
            "TableName": self._table,
            "Item": running,
            # An item past its time to live may not have been removed yet.
            "ConditionExpression": "attribute_not_exists(delivery_id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": {"N": str(int(self._clock()))}},
        }
        writes = [{"Put": free}, {"Put": {"TableName": self._table, "Item": item}}]
        refused = transact(self._client, writes, "recording a replay")
        # The answer of a first try may have been lost.
        return not refused or self.get(replay.key) == replay

    def get(self, key: ReplayKey) -> Replay | None:
        """Return one replay, read consistently; None also past its time to live."""
        with unavailable_on_failure("reading a replay"):
            answer = self._client.get_item(
                TableName=self._table, Key=items.replay_key(*key), ConsistentRead=True
            )
        item = answer.get("Item")
        return _read(item) if item and self._lives(item) else None

    def page(
        self, account_id: str, webhook_id: str, limit: int, before: str | None = None
    ) -> ReplayPage:
        """Return up to `limit` replays, newest first, from those older than id `before`."""
        request = self._query(account_id, webhook_id, None)
        if before is not None:
            request["ExclusiveStartKey"] = items.replay_key(account_id, webhook_id, before)
        with unavailable_on_failure("listing replays"):
            answer = self._client.query(**request, Limit=limit + 1)
        found = [_read(item) for item in answer["Items"] if self._lives(item)]
        return ReplayPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def count_since(self, account_id: str, webhook_id: str, since_ms: int) -> int:
        """Return how many replays of a webhook were created at a time or later."""
        with unavailable_on_failure("counting replays"):
            answer = self._client.query(
                **self._query(account_id, webhook_id, since_ms), Select="COUNT"
            )
        return answer["Count"]

    def save(self, before: Replay, after: Replay) -> bool:
        """Write a replay's progress or end over `before`.

        True also where the answer of a first try was lost and the write had been made.
        """
        put: Any = {
            "TableName": self._table,
            "Item": self._item(after),
            "ConditionExpression": "#status = :running AND steps = :steps",
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": {
                ":running": {"S": ReplayStatus.RUNNING.value},
                ":steps": {"N": str(before.steps)},
            },
        }
        if after.running:
            written = self._put(put)
        else:
            writes = [{"Put": put}, self._end(after)]
            written = not transact(self._client, writes, "ending a replay")
        return written or self.get(after.key) == after

    def _put(self, put: Any) -> bool:
        with unavailable_on_failure("recording a replay's progress"):
            try:
                self._client.put_item(**put)
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    def _end(self, replay: Replay) -> Any:
        """Return the write that lets the webhook have another replay."""
        return {
            "Delete": {
                "TableName": self._table,
                "Key": items.replay_key(replay.account_id, replay.webhook_id, items.RUNNING),
                "ConditionExpression": "attribute_not_exists(replay_id) OR replay_id = :id",
                "ExpressionAttributeValues": {":id": {"S": replay.id}},
            }
        }

    def _query(self, account_id: str, webhook_id: str, since_ms: int | None) -> dict[str, Any]:
        # Every id lies in the range; the item that names the running one does not.
        first, last = delivery_id_range(since_ms, None)
        owner = items.replay_key(account_id, webhook_id, first)["owner"]
        return {
            "TableName": self._table,
            "KeyConditionExpression": "#owner = :owner AND delivery_id BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":owner": owner,
                ":first": {"S": first},
                ":last": {"S": last},
            },
            "ScanIndexForward": False,
            "ConsistentRead": True,
        }

    def _item(self, replay: Replay) -> items.Item:
        since_ms, until_ms, statuses = replay.selection
        expires_at = replay.created_at_ms // _MILLISECONDS + self._retention_seconds
        item: items.Item = {
            **items.replay_key(*replay.key),
            "status": {"S": replay.status.value},
            "since": {"N": str(since_ms)},
            "until": {"N": str(until_ms)},
            "statuses": {"L": [{"S": status.value} for status in statuses]},
            "sent": {"N": str(replay.sent)},
            "succeeded": {"N": str(replay.succeeded)},
            "steps": {"N": str(replay.steps)},
            "created_at": {"N": str(replay.created_at_ms)},
            "updated_at": {"N": str(replay.updated_at_ms)},
            "expires_at": {"N": str(expires_at)},
        }
        if replay.position is not None:
            item["position"] = {"S": replay.position}
        if replay.reason is not None:
            item["reason"] = {"S": replay.reason}
        return item

    def _lives(self, item: Mapping[str, Any]) -> bool:
        return int(item["expires_at"]["N"]) > self._clock()


def _read(item: Mapping[str, Any]) -> Replay:
    key = _read_key(item)
    return Replay(
        account_id=key.account_id,
        webhook_id=key.webhook_id,
        id=key.replay_id,
        selection=Selection(
            since_ms=int(item["since"]["N"]),
            until_ms=int(item["until"]["N"]),
            statuses=tuple(Status(status["S"]) for status in item["statuses"]["L"]),
        ),
        created_at_ms=int(item["created_at"]["N"]),
        updated_at_ms=int(item["updated_at"]["N"]),
        status=ReplayStatus(item["status"]["S"]),
        position=item.get("position", {}).get("S"),
        sent=int(item["sent"]["N"]),
        succeeded=int(item["succeeded"]["N"]),
        steps=int(item["steps"]["N"]),
        reason=item.get("reason", {}).get("S"),
    )


def _read_key(item: Mapping[str, Any]) -> ReplayKey:
    """Return whose replay an item is."""
    account_id, webhook_id, _ = item["owner"]["S"].rsplit("#", 2)
    return ReplayKey(account_id, webhook_id, item["delivery_id"]["S"])
