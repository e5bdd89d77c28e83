"""The store of rate limits on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.rate_limit import RateLimitWindow


class DynamoDBRateLimitStore:
    """A counter for each window in the deliveries' table, removed by the time to live."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def consume(self, window: RateLimitWindow, *, limit: int, count: int = 1) -> bool:
        """Add `count` to a window in one conditional write; False if that exceeds the limit."""
        if count > limit:
            return False
        with unavailable_on_failure("counting towards a rate limit"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=item_keys.rate_limit_key(window),
                    UpdateExpression="SET expires_at = :end ADD #used :count",
                    ConditionExpression="attribute_not_exists(#used) OR #used <= :room",
                    ExpressionAttributeNames={"#used": "used"},
                    ExpressionAttributeValues={
                        ":end": {"N": str(window.ends_at)},
                        ":count": {"N": str(count)},
                        ":room": {"N": str(limit - count)},
                    },
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
                return False
        return True

    def add(self, window: RateLimitWindow, count: int) -> int:
        """Add `count` to a window in one write; returns the new sum."""
        with unavailable_on_failure("counting events"):
            answer = self._client.update_item(
                TableName=self._table,
                Key=item_keys.rate_limit_key(window),
                UpdateExpression="SET expires_at = :end ADD #used :count",
                ExpressionAttributeNames={"#used": "used"},
                ExpressionAttributeValues={
                    ":end": {"N": str(window.ends_at)},
                    ":count": {"N": str(count)},
                },
                ReturnValues="UPDATED_NEW",
            )
        return int(answer["Attributes"]["used"]["N"])
