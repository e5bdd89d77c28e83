"""The health of webhooks on DynamoDB: a few attributes of the webhook's own item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters import items, webhook_items
from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.domain.health import FAILURES_TO_OPEN, Circuit, RecoveryKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.health import Health

_RECOVERING_INDEX = "recovering"
_UNCHANGED = "updated_at = :updated_at"


class DynamoDBHealthStore:
    """Health, in conditional updates: of a thousand calls at once, one is told that it was the one.

    A call whose first try was made and whose answer was lost is told that it was not. So a notice
    may be lost that way, and never be given twice.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        """Use `table` through a low-level client."""
        self._client = client
        self._table = table

    def failed(
        self,
        account_id: str,
        webhook_id: str,
        count: int,
        now_ms: int,
        *,
        updated_at_ms: int | None = None,
    ) -> Health | None:
        """Count failures in a row; returns the health as it then is, None where absent."""
        condition = "attribute_exists(webhook_id)"
        values = {":now": items.number(now_ms), ":count": items.number(count)}
        if updated_at_ms is not None:
            condition = _UNCHANGED
            values[":updated_at"] = items.number(updated_at_ms)
        after = self._update(
            account_id,
            webhook_id,
            "SET failing_since = if_not_exists(failing_since, :now) ADD failures :count",
            condition,
            values,
        )
        return None if after is None else webhook_items.read_health(after)

    def succeeded(self, account_id: str, webhook_id: str, now_ms: int) -> bool:
        """Begin to count anew; True only for the first call since the webhook went down."""
        cleared = f"REMOVE {', '.join([*webhook_items.FAILURE_ATTRIBUTES, webhook_items.DOWN])}"
        is_open = {":open": {"S": Circuit.OPEN.value}}
        taken_from_open = self._update(
            account_id,
            webhook_id,
            f"SET circuit = :draining, draining_since = :now {cleared}",
            "circuit = :open",
            is_open | {":draining": {"S": Circuit.DRAINING.value}, ":now": items.number(now_ms)},
        )
        if taken_from_open is not None:
            return True
        # Or its owner enabled it, or moved it, while it was down.
        before = self._update(
            account_id,
            webhook_id,
            cleared,
            "(attribute_exists(failures) OR attribute_exists(down_since)) AND "
            "(attribute_not_exists(circuit) OR circuit <> :open)",
            is_open,
            returns="ALL_OLD",
        )
        return before is not None and webhook_items.DOWN in before

    def open(self, key: RecoveryKey, due_ms: int, now_ms: int) -> str | None:
        """Open the circuit of an active webhook that failed often enough in a row.

        Returns the id of its recovery where this call opened it: the given one, unless the webhook
        was draining and so has one already.
        """
        opened = self._update(
            key.account_id,
            key.webhook_id,
            "SET circuit = :open, recovering = :recovering, "
            "down_since = if_not_exists(failing_since, :now), "
            "recovery_id = if_not_exists(recovery_id, :recovery_id), "
            "recovery_due_at = if_not_exists(recovery_due_at, :recovery_due_at) "
            "REMOVE draining_since",
            "active = :enabled AND failures >= :enough AND "
            "(attribute_not_exists(circuit) OR circuit = :draining)",
            {f":{name}": value for name, value in webhook_items.recovering(key[2], due_ms).items()}
            | {
                ":open": {"S": Circuit.OPEN.value},
                ":now": items.number(now_ms),
                ":draining": {"S": Circuit.DRAINING.value},
                ":enabled": {"BOOL": True},
                ":enough": items.number(FAILURES_TO_OPEN),
            },
        )
        return None if opened is None else webhook_items.read_health(opened).recovery_id

    def warn(self, account_id: str, webhook_id: str, failing_since_ms: int, now_ms: int) -> bool:
        """Note that the owner is warned; True only for the one call that did it."""
        warned = self._update(
            account_id,
            webhook_id,
            "SET warned_at = :now",
            "active = :enabled AND failing_since <= :since AND attribute_not_exists(warned_at)",
            {
                ":now": items.number(now_ms),
                ":enabled": {"BOOL": True},
                ":since": items.number(failing_since_ms),
            },
        )
        return warned is not None

    def disable(
        self,
        account_id: str,
        webhook_id: str,
        reason: str,
        now_ms: int,
        *,
        failing_since_ms: int | None = None,
        updated_at_ms: int | None = None,
    ) -> bool:
        """Disable a webhook; True only for the one call that did it."""
        # An absent webhook has no `active`, so that nothing is made of a deleted one.
        condition = "active = :enabled"
        values: items.Item = {
            ":disabled": {"BOOL": False},
            ":enabled": {"BOOL": True},
            ":reason": {"S": reason},
            ":now": items.number(now_ms),
        }
        if failing_since_ms is not None:
            # A success in the meantime has cleared it.
            condition += " AND failing_since <= :since"
            values[":since"] = items.number(failing_since_ms)
        if updated_at_ms is not None:
            condition += f" AND {_UNCHANGED}"
            values[":updated_at"] = items.number(updated_at_ms)
        disabled = self._update(
            account_id,
            webhook_id,
            "SET active = :disabled, disabled_reason = :reason, updated_at = :now",
            condition,
            values,
        )
        return disabled is not None

    def keep(self, key: RecoveryKey, due_ms: int) -> None:
        """Note when the next step of a recovery is due, unless another has taken its place."""
        self._update(
            key.account_id,
            key.webhook_id,
            "SET recovery_due_at = :due",
            "recovery_id = :id",
            {":due": items.number(due_ms), ":id": {"S": key.recovery_id}},
        )

    def end(self, key: RecoveryKey, draining_since_ms: int) -> bool:
        """End a recovery that drains since this very time, or whose webhook is disabled."""
        ended = self._update(
            key.account_id,
            key.webhook_id,
            f"REMOVE {', '.join(webhook_items.RECOVERY_ATTRIBUTES)}",
            "recovery_id = :id AND "
            "((circuit = :draining AND draining_since = :since) OR active = :disabled)",
            {
                ":id": {"S": key.recovery_id},
                ":since": items.number(draining_since_ms),
                ":draining": {"S": Circuit.DRAINING.value},
                ":disabled": {"BOOL": False},
            },
        )
        return ended is not None

    def replace(self, key: RecoveryKey, new_id: str, due_ms: int) -> bool:
        """Have another recovery take a recovery's place; True only for the one call that did it."""
        change = "SET recovery_id = :new, recovery_due_at = :due"
        values = {
            ":id": {"S": key.recovery_id},
            ":new": {"S": new_id},
            ":due": items.number(due_ms),
        }
        return any(
            self._update(key.account_id, webhook_id, change, "recovery_id = :id", values)
            is not None
            for webhook_id in (key.webhook_id, f"{items.DELETED_WEBHOOKS}{key.webhook_id}")
        )

    def forget(self, key: RecoveryKey) -> None:
        """Take the recovery of a deleted webhook out of the index."""
        self._update(
            key.account_id,
            f"{items.DELETED_WEBHOOKS}{key.webhook_id}",
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
                    ":before": items.number(before_ms),
                },
                Limit=limit,
            )
        return [
            RecoveryKey(
                item["account_id"]["S"],
                item["webhook_id"]["S"].removeprefix(items.DELETED_WEBHOOKS),
                item["recovery_id"]["S"],
            )
            for item in answer["Items"]
        ]

    def _update(
        self,
        account_id: str,
        webhook_id: str,
        expression: str,
        condition: str,
        values: items.Item,
        *,
        returns: Literal["ALL_NEW", "ALL_OLD"] = "ALL_NEW",
    ) -> Any:
        """Return the webhook's item as it then is, or was; None where the condition failed."""
        with unavailable_on_failure("recording a webhook's health"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=items.webhook_key(account_id, webhook_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ReturnValues=returns,
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return None
        return answer.get("Attributes", {})
