"""The deliveries that are overdue, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webhooks.adapters import delivery_items, items
from webhooks.adapters.aws import unavailable_on_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from webhooks.domain.delivery import DeliveryKey

_DUE_INDEX = "due"


class DynamoDBOverdueDeliveries:
    """The sparse index of the deliveries that are due some time, by that time.

    Looking costs as much as what is found: with nothing overdue, a half read unit a partition.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        """Use `table` through a low-level client."""
        self._client = client
        self._table = table

    def find(self, before_ms: int, limit: int) -> Sequence[DeliveryKey]:
        """Return about `limit` of the deliveries that were due before a time.

        The longest overdue of each partition, so that none is kept from its turn.
        """
        found: list[DeliveryKey] = []
        for partition in delivery_items.DUE_KEYS:
            with unavailable_on_failure("finding overdue deliveries"):
                answer = self._client.query(
                    TableName=self._table,
                    IndexName=_DUE_INDEX,
                    KeyConditionExpression="due = :due AND next_attempt_at < :before",
                    ExpressionAttributeValues={
                        ":due": {"S": partition},
                        ":before": {"N": str(before_ms)},
                    },
                    Limit=-(-limit // len(delivery_items.DUE_KEYS)),
                )
            found += [items.read_delivery_key(item) for item in answer["Items"]]
        return found
