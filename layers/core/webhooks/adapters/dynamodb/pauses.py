"""The pauses of webhooks on DynamoDB: one attribute of the webhook's own item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys, webhook_items
from webhooks.adapters.dynamodb.own_writes import made_before
from webhooks.domain.health import Circuit, Comeback
from webhooks.domain.pauses import LEAST_MOVE_MS
from webhooks.ports.pauses import Paused

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.adapters.dynamodb.own_writes import Recognise
    from webhooks.domain.health import RecoveryKey

_NOT_BEFORE = webhook_items.NOT_BEFORE
_TARGET_CHANGED = webhook_items.TARGET_CHANGED

_ENDS_EARLIER = f"(attribute_not_exists({_NOT_BEFORE}) OR {_NOT_BEFORE} <= :earlier)"
_HAS_NO_RECOVERY = "attribute_not_exists(circuit) AND attribute_not_exists(recovery_id)"


class _Update(NamedTuple):
    """The item that an update found, empty if there was none, and whether the update was made."""

    item: Any
    made: bool


class DynamoDBPauseStore:
    """Pauses, in conditional updates: of any number of parallel calls, one makes each change."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def pause(
        self, account_id: str, webhook_id: str, until_ms: int, *, updated_at_ms: int
    ) -> Paused | None:
        """Write the end of a pause, if it moves later; None if the webhook's target has changed."""
        update = self._update(
            (account_id, webhook_id),
            f"SET {_NOT_BEFORE} = :until",
            f"{webhook_items.UNCHANGED} AND {_ENDS_EARLIER}",
            {
                ":until": item_keys.number(until_ms),
                ":earlier": item_keys.number(until_ms - LEAST_MOVE_MS),
                ":updated_at": item_keys.number(updated_at_ms),
            },
            returns="ALL_OLD",
            recognise=lambda item: _unpaused(item, until_ms),
        )
        changed_at_ms = int(update.item.get(_TARGET_CHANGED, {}).get("N", 0))
        if not update.item or changed_at_ms > updated_at_ms:
            return None
        return Paused(webhook_items.read_health(update.item), update.made)

    def clear(self, account_id: str, webhook_id: str, known_ms: int) -> None:
        """Remove a pause that ends no later than the pause that the caller knew."""
        self._update(
            (account_id, webhook_id),
            f"REMOVE {_NOT_BEFORE}",
            f"{_NOT_BEFORE} <= :known",
            {":known": item_keys.number(known_ms)},
        )

    def begin(self, key: RecoveryKey, due_ms: int, now_ms: int) -> bool:
        """Write a recovery that drains, unless the webhook has one."""
        recovering = webhook_items.recovering(key.recovery_id, due_ms)
        assigned = ", ".join(f"{name} = :{name}" for name in recovering)
        update = self._update(
            key[:2],
            f"SET circuit = :draining, comeback = :slow, draining_since = :now, {assigned}",
            f"active = :enabled AND {_HAS_NO_RECOVERY}",
            {
                ":draining": {"S": Circuit.DRAINING.value},
                ":slow": {"S": Comeback.SLOW.value},
                ":now": item_keys.number(now_ms),
                ":enabled": {"BOOL": True},
                **{f":{name}": value for name, value in recovering.items()},
            },
        )
        # This very call may have written it, if the response to its first try was lost.
        return update.made or update.item.get("recovery_id") == {"S": key.recovery_id}

    def _update(
        self,
        owner: tuple[str, str],
        expression: str,
        condition: str,
        values: item_keys.Item,
        *,
        returns: Literal["NONE", "ALL_OLD"] = "NONE",
        recognise: Recognise | None = None,
    ) -> _Update:
        with unavailable_on_failure("recording a webhook's pause"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.webhook_key(*owner),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    ReturnValues=returns,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                before = made_before(error, recognise) if recognise else None
                if before is not None:
                    return _Update(before, made=True)
                return _Update(error.response.get("Item", {}), made=False)
        return _Update(answer.get("Attributes", {}), made=True)


def _unpaused(item: item_keys.Item, until_ms: int) -> item_keys.Item | None:
    """Recognise the write of a pause; the former pause is lost, so the result has none."""
    if item.get(_NOT_BEFORE) != item_keys.number(until_ms):
        return None
    return {name: value for name, value in item.items() if name != _NOT_BEFORE}
