"""Items that hold an owner's own ids for its webhooks, so that each is unique in its account.

They live beside the webhooks, out of the reach of every query for webhooks. An item is written and
deleted in the transaction that writes or deletes its webhook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.transactions import transact

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HELD_BY = "held_by"
"""The attribute with the id of the webhook that has the external id."""

# The SDK repeats a write whose answer was lost. So one that the same webhook made already is fine.
_FREE_OR_OURS = f"attribute_not_exists({HELD_BY}) OR {HELD_BY} = :webhook_id"


def hold(table: str, account_id: str, external_id: str, webhook_id: str) -> dict[str, Any]:
    """Return the write that makes an id a webhook's; its condition fails where another has it."""
    return {
        "Put": {
            "TableName": table,
            "Item": {
                **item_keys.external_id_key(account_id, external_id),
                HELD_BY: {"S": webhook_id},
            },
            "ConditionExpression": _FREE_OR_OURS,
            "ExpressionAttributeValues": {":webhook_id": {"S": webhook_id}},
        }
    }


def release(table: str, account_id: str, external_id: str, webhook_id: str) -> dict[str, Any]:
    """Return the write that frees the id of a webhook."""
    return {
        "Delete": {
            "TableName": table,
            "Key": item_keys.external_id_key(account_id, external_id),
            "ConditionExpression": _FREE_OR_OURS,
            "ExpressionAttributeValues": {":webhook_id": {"S": webhook_id}},
        }
    }


def find(client: DynamoDBClient, table: str, account_id: str, external_id: str) -> str | None:
    """Return the id of the webhook that has an external id, None where none has it."""
    with unavailable_on_failure("finding a webhook by its external id"):
        answer = client.get_item(
            TableName=table,
            Key=item_keys.external_id_key(account_id, external_id),
            ConsistentRead=True,
            ProjectionExpression=HELD_BY,
        )
    item = answer.get("Item")
    return item[HELD_BY]["S"] if item else None


def free(client: DynamoDBClient, table: str, account_id: str, external_id: str) -> bool:
    """Free an external id whose webhook is gone; False where a webhook has it.

    The version before deletes a webhook and leaves the item, as after a rollback. A webhook's id is
    never used again, so the item is no other's by the time it is deleted.
    """
    webhook_id = find(client, table, account_id, external_id)
    if webhook_id is None:
        return True
    with unavailable_on_failure("looking for a webhook"):
        answer = client.get_item(
            TableName=table,
            Key=item_keys.webhook_key(account_id, webhook_id),
            ConsistentRead=True,
            ProjectionExpression="webhook_id",
        )
    if "Item" in answer:
        return False
    transact(
        client, [release(table, account_id, external_id, webhook_id)], "freeing an external id"
    )
    return True
