"""Writes to DynamoDB that happen all together or not at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONDITION_FAILED = "ConditionalCheckFailed"
"""The reason of a write whose condition did not hold."""

_TRIES = 5
_CONFLICT_PAUSE_SECONDS = 0.02


def transact(client: DynamoDBClient, writes: list[Any], operation: str) -> list[str]:
    """Write all or nothing; returns each write's reason if a condition stopped them.

    Another transaction on the same item is a conflict, which the SDK does not retry for us.
    """
    for attempt in range(1, _TRIES + 1):
        with unavailable_on_failure(operation):
            try:
                client.transact_write_items(TransactItems=writes)
            except ClientError as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                reasons = _cancellation_reasons(error)
            else:
                return []
        if CONDITION_FAILED in reasons:
            return reasons
        time.sleep(_CONFLICT_PAUSE_SECONDS * attempt)
    msg = f"{operation}: too many writes to this account at once"
    raise UnavailableError(msg)


def _cancellation_reasons(error: ClientError) -> list[str]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return [str(reason.get("Code", "None")) for reason in reasons]
