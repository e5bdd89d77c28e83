"""Items that reserve an owner's own ids for its webhooks, so that each is unique in its account.

They are stored in the webhooks' table, outside the range of every query for webhooks. The
transaction that writes or deletes a webhook also writes or deletes its item.
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

# The SDK repeats a write whose response was lost: an id that the same webhook has already is fine.
_FREE_OR_OURS = f"attribute_not_exists({HELD_BY}) OR {HELD_BY} = :webhook_id"


def hold(table: str, account_id: str, external_id: str, webhook_id: str) -> dict[str, Any]:
    """Return the write that gives an id to a webhook; its condition fails if another has it."""
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
    """Return the id of the webhook that has an external id, None if there is none."""
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
    """Free an external id whose webhook is gone; False if a webhook has it.

    The previous version deletes a webhook and leaves this item, for instance after a rollback. A
    webhook's id is never used again, so the item cannot belong to another webhook when it is
    deleted.
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
