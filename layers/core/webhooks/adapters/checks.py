"""The store of checks on DynamoDB."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters import items
from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.domain.check import Check, CheckKey, CheckStatus, Probe
from webhooks.domain.delivery import FailureReason, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_DAY_SECONDS = 86_400
_MILLISECONDS = 1000


class DynamoDBCheckStore:
    """Checks beside the deliveries, in a partition of their own."""

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

    def create(self, check: Check) -> None:
        """Add a check."""
        with unavailable_on_failure("recording a check"):
            self._client.put_item(TableName=self._table, Item=self._item(check))

    def get(self, key: CheckKey) -> Check | None:
        """Return one check, read consistently; None also past its time to live."""
        with unavailable_on_failure("reading a check"):
            answer = self._client.get_item(
                TableName=self._table, Key=items.check_key(*key), ConsistentRead=True
            )
        item = answer.get("Item")
        return _read(key, item) if item and int(item["expires_at"]["N"]) > self._clock() else None

    def end(self, check: Check) -> bool:
        """Write a check's end over the running one.

        True also where the answer of a first try was lost and the write had been made.
        """
        with unavailable_on_failure("recording a check's end"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=self._item(check),
                    ConditionExpression="#status = :running",
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues={":running": {"S": CheckStatus.RUNNING.value}},
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
            else:
                return True
        return self.get(check.key) == check

    def _item(self, check: Check) -> items.Item:
        expires_at = check.created_at_ms // _MILLISECONDS + self._retention_seconds
        item: items.Item = {
            **items.check_key(*check.key),
            "status": {"S": check.status.value},
            "created_at": {"N": str(check.created_at_ms)},
            "updated_at": {"N": str(check.updated_at_ms)},
            "expires_at": {"N": str(expires_at)},
            "outcomes": {"L": [_value(probe, each) for probe, each in check.outcomes.items()]},
        }
        if check.reason is not None:
            item["reason"] = {"S": check.reason}
        return item


def _value(probe: Probe, outcome: Outcome) -> dict[str, Any]:
    """Return a request's outcome as a short JSON list; nothing of what was answered but these."""
    error = outcome.error.value if outcome.error else None
    return {"S": json.dumps([probe.value, outcome.status_code, error, outcome.duration_ms])}


def _read(key: CheckKey, item: Mapping[str, Any]) -> Check:
    return Check(
        account_id=key.account_id,
        webhook_id=key.webhook_id,
        id=key.check_id,
        created_at_ms=int(item["created_at"]["N"]),
        updated_at_ms=int(item["updated_at"]["N"]),
        status=CheckStatus(item["status"]["S"]),
        outcomes=dict(_read_outcome(value["S"]) for value in item["outcomes"]["L"]),
        reason=item.get("reason", {}).get("S"),
    )


def _read_outcome(text: str) -> tuple[Probe, Outcome]:
    probe, status_code, error, duration_ms = json.loads(text)
    outcome = Outcome(
        error=FailureReason(error) if error else None,
        status_code=status_code,
        duration_ms=duration_ms,
    )
    return Probe(probe), outcome
