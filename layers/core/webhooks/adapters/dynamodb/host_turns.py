"""The lines of turns at hosts on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.own_writes import sent_again
from webhooks.domain.errors import UnavailableError
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_KEPT_SECONDS = 3600
"""The time to live removes an unused line this long after its end."""

_TRIES = 4


class DynamoDBHostTurns:
    """One item for each account and host, in the deliveries' table: when the next turn is free."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def reserve(
        self,
        account_id: str,
        host: str,
        *,
        span_ms: int,
        now_ms: int,
        latest_ms: int,
        least_ms: int = 0,
    ) -> int | None:
        """Reserve the line's next `span_ms`; returns when they begin, in Unix milliseconds.

        If they begin now, at least `least_ms` are reserved. If they would begin after `latest_ms`,
        nothing is reserved and None is returned. One write if the line is empty, otherwise two.
        """
        for _ in range(_TRIES):
            begins_ms = self._begin(account_id, host, max(span_ms, least_ms), now_ms)
            if begins_ms <= now_ms:
                return now_ms
            if begins_ms > latest_ms:
                return None
            queued_ms = self._queue(account_id, host, span_ms, now_ms, latest_ms)
            if queued_ms is not None:
                return queued_ms
        msg = "reserving turns at a host: too many at once"
        raise UnavailableError(msg)

    def _begin(self, account_id: str, host: str, span_ms: int, now_ms: int) -> int:
        """Begin a line unless there is one; returns when its next turn is free, now or later."""
        changed, next_ms = self._update(
            item_keys.host_turns_key(account_id, host),
            "SET next_at = :next, expires_at = :end",
            "attribute_not_exists(next_at) OR next_at <= :now",
            {":next": now_ms + span_ms, ":now": now_ms},
            now_ms + span_ms,
        )
        return now_ms if changed else next_ms

    def _queue(
        self, account_id: str, host: str, span_ms: int, now_ms: int, latest_ms: int
    ) -> int | None:
        """Extend a line; returns the first turn's time, None if the line has changed meanwhile."""
        changed, next_ms = self._update(
            item_keys.host_turns_key(account_id, host),
            "SET next_at = next_at + :span, expires_at = :end",
            "next_at BETWEEN :now AND :latest",
            {":span": span_ms, ":now": now_ms, ":latest": latest_ms},
            latest_ms + span_ms,
        )
        return next_ms - span_ms if changed else None

    def _update(
        self,
        key: item_keys.Item,
        change: str,
        condition: str,
        values: Mapping[str, int],
        ends_ms: int,
        /,
    ) -> tuple[bool, int]:
        """Change a line; returns whether its condition held, and when its next turn is free."""
        numbers = {**values, ":end": ends_ms // MILLISECONDS + _KEPT_SECONDS}
        with unavailable_on_failure("reserving turns at a host"):
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression=change,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={
                        name: item_keys.number(value) for name, value in numbers.items()
                    },
                    ReturnValues="UPDATED_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except ClientError as error:
                # If the item was removed meanwhile, no turn is reserved.
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                stored: Any = error.response.get("Item", {"next_at": {"N": "0"}})
                return _is_begun(error, stored, values), int(stored["next_at"]["N"])
        return True, int(answer["Attributes"]["next_at"]["N"])


def _is_begun(error: ClientError, stored: item_keys.Item, values: Mapping[str, int]) -> bool:
    """Whether the beginning of a line failed because an earlier try of it succeeded."""
    begins = ":next" in values and stored["next_at"] == item_keys.number(values[":next"])
    return begins and sent_again(error.response)
