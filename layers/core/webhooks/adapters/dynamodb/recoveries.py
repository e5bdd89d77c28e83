"""Recoveries on DynamoDB: the due time of each one's next step, and the overdue ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.adapters.dynamodb.own_writes import left
from webhooks.adapters.dynamodb.probations import CLEARED_WINDOW
from webhooks.domain.health import Circuit, RecoveryKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.own_writes import Recognise

_RECOVERING_INDEX = "recovering"


class Recoveries:
    """The part of the health store for recoveries."""

    _client: DynamoDBClient
    _table: str
    _update: Callable[..., Any]
    """Makes a conditional update; returns the item, None if the condition failed."""

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        """Record when the next step of a recovery is due, unless another has replaced it."""
        values = {":due": item_keys.number(due_ms), ":id": {"S": key.recovery_id}}
        self._update_recovery(key, "SET recovery_due_at = :due", values)

    def end(
        self, key: RecoveryKey, draining_since_ms: int, *, not_before_ms: int | None = None
    ) -> bool:
        """End a recovery that has drained since exactly this time, or of a disabled webhook."""
        ended = self._update(
            key.account_id,
            key.webhook_id,
            f"REMOVE {', '.join(webhook_items.RECOVERY_ATTRIBUTES)}, {CLEARED_WINDOW}",
            "recovery_id = :id AND "
            "((circuit = :draining AND draining_since = :since AND "
            "(attribute_not_exists(not_before) OR not_before <= :known)) OR active = :disabled)",
            {
                ":known": item_keys.number(not_before_ms or 0),
                ":id": {"S": key.recovery_id},
                ":since": item_keys.number(draining_since_ms),
                ":draining": {"S": Circuit.DRAINING.value},
                ":disabled": {"BOOL": False},
            },
            recognise=left({}, absent=("recovery_id",)),
        )
        return ended is not None

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        """Replace a recovery by another; True only for the one call that did it."""
        change = "SET recovery_id = :new, recovery_due_at = :due"
        values = {
            ":id": {"S": key.recovery_id},
            ":new": {"S": new_id},
            ":due": item_keys.number(due_ms),
        }
        return self._update_recovery(key, change, values, left({"recovery_id": {"S": new_id}}))

    def _update_recovery(
        self,
        key: RecoveryKey,
        change: str,
        values: item_keys.Item,
        recognise: Recognise | None = None,
    ) -> bool:
        """Change a recovery, also of a deleted webhook; False if another has replaced it."""
        update = (change, "recovery_id = :id", values)
        return any(
            self._update(key.account_id, webhook_id, *update, recognise=recognise) is not None
            for webhook_id in (key.webhook_id, f"{item_keys.DELETED_WEBHOOKS}{key.webhook_id}")
        )

    def forget(self, key: RecoveryKey) -> None:
        """Remove the recovery of a deleted webhook from the index."""
        self._update(
            key.account_id,
            f"{item_keys.DELETED_WEBHOOKS}{key.webhook_id}",
            "REMOVE recovering, recovery_due_at",
            "recovering = :recovering",
            {":recovering": {"S": webhook_items.RECOVERING}},
        )

    def overdue(self, before_ms: int, limit: int) -> Sequence[RecoveryKey]:
        """Return recoveries whose next step was due before a time, the longest overdue first."""
        with unavailable_on_failure("finding recoveries"):
            answer = self._client.query(
                TableName=self._table,
                IndexName=_RECOVERING_INDEX,
                KeyConditionExpression="recovering = :recovering AND recovery_due_at < :before",
                ExpressionAttributeValues={
                    ":recovering": {"S": webhook_items.RECOVERING},
                    ":before": item_keys.number(before_ms),
                },
                Limit=limit,
            )
        return [
            RecoveryKey(
                item["account_id"]["S"],
                item["webhook_id"]["S"].removeprefix(item_keys.DELETED_WEBHOOKS),
                item["recovery_id"]["S"],
            )
            for item in answer["Items"]
        ]
