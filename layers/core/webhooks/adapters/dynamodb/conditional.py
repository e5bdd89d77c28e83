"""Conditional updates whose condition may fail in normal operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient


def update_if(client: DynamoDBClient, update: Mapping[str, Any], operation: str) -> bool:
    """Make an update; False if its condition does not hold.

    `operation` names the update in the UnavailableError of a failure.
    """
    with unavailable_on_failure(operation):
        try:
            client.update_item(**update)
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
    return True
