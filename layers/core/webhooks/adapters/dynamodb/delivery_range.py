"""Queries of a webhook's deliveries in the order of time, shared by their log and their reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb import delivery_items, item_keys
from webhooks.domain.delivery import delivery_id_range

if TYPE_CHECKING:
    from webhooks.domain.delivery import Status


def range_query(
    table: str,
    owner: str,
    since_ms: int | None,
    until_ms: int | None,
    *,
    start_id: str | None,
    indexed: Status | None = None,
) -> dict[str, Any]:
    """Return a `Query` of an owner's deliveries in a range of time, starting after `start_id`.

    With `indexed` it uses the sparse index, for that status alone. The response includes the number
    of read units used.
    """
    key: item_keys.Item = {"owner": {"S": owner}}
    if indexed is not None:
        key = {"attention": {"S": delivery_items.attention_key(owner, indexed)}}
    first, last = delivery_id_range(since_ms, until_ms)
    [(partition, value)] = key.items()
    query: dict[str, Any] = {
        "TableName": table,
        "ReturnConsumedCapacity": "TOTAL",
        "KeyConditionExpression": "#partition = :partition AND #id BETWEEN :first AND :last",
        "ExpressionAttributeNames": {"#partition": partition, "#id": "delivery_id"},
        "ExpressionAttributeValues": {
            ":partition": value,
            ":first": {"S": first},
            ":last": {"S": last},
        },
    }
    if indexed is not None:
        query["IndexName"] = "attention"
    else:
        query["ConsistentRead"] = True
    if start_id is not None:
        query["ExclusiveStartKey"] = {
            **key,
            "owner": {"S": owner},
            "delivery_id": {"S": start_id},
        }
    return query
