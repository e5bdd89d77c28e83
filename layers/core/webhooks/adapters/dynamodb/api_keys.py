"""The store of API keys on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from webhooks.adapters.aws import error_code, unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.transactions import transact
from webhooks.domain.api_key import ALL_SCOPES, ApiKey, Scope
from webhooks.ports import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

ACCOUNT_INDEX = "account"
_ACTIVE = "attribute_exists(key_hash) AND attribute_not_exists(revoked_at)"


class DynamoDBApiKeyStore:
    """API keys by their hash; an account's keys by an index, which is about a second behind."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def create(self, key: ApiKey) -> None:
        """Add a key, once: a second write would make a key valid that was revoked meanwhile."""
        with unavailable_on_failure("storing an API key"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item=api_key_item(key),
                    ConditionExpression="attribute_not_exists(key_hash)",
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise

    def get(self, key_hash: str) -> ApiKey | None:
        """Return the key with that hash, read consistently: a revoked key stops working at once."""
        with unavailable_on_failure("checking an API key"):
            answer = self._client.get_item(
                TableName=self._table, Key=item_keys.api_key_key(key_hash), ConsistentRead=True
            )
        item = answer.get("Item")
        return read_api_key(item) if item else None

    def find(self, account_id: str, key_id: str) -> ApiKey | None:
        """Return one key of an account by its id, read consistently once the index has it."""
        found = self._query("account_id = :account_id AND key_id = :key_id", account_id, key_id, 1)
        return self.get(found[0].key_hash) if found else None

    def page(self, account_id: str, limit: int, before: str | None = None) -> Page[ApiKey]:
        """Return up to `limit` keys, newest first: ids are ordered by time."""
        keys = self._query(
            "account_id = :account_id AND key_id < :key_id",
            account_id,
            before or item_keys.AFTER_ALL_KEYS,
            limit + 1,
        )
        page = keys[:limit]
        return Page(page, page[-1].id if len(keys) > limit else None)

    def _query(self, condition: str, account_id: str, key_id: str, limit: int) -> list[ApiKey]:
        with unavailable_on_failure("listing API keys"):
            answer = self._client.query(
                TableName=self._table,
                IndexName=ACCOUNT_INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues={
                    ":account_id": {"S": account_id},
                    ":key_id": {"S": key_id},
                },
                ScanIndexForward=False,
                Limit=limit,
            )
        return [read_api_key(item) for item in answer["Items"]]

    def revoke(self, key_hash: str, now_ms: int, *, while_active: str | None = None) -> bool:
        """Revoke a key, in one transaction with the check that the other one is active."""
        values = {":now": {"N": str(now_ms)}}
        writes: list[dict[str, Any]] = [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": item_keys.api_key_key(key_hash),
                    "UpdateExpression": "SET revoked_at = :now",
                    "ConditionExpression": _ACTIVE,
                    "ExpressionAttributeValues": values,
                }
            }
        ]
        if while_active is not None:
            check = {
                "TableName": self._table,
                "Key": item_keys.api_key_key(while_active),
                "ConditionExpression": _ACTIVE,
            }
            writes.append({"ConditionCheck": check})
        return not transact(self._client, writes, "revoking an API key")

    def touch(self, key_hash: str, now_ms: int) -> None:
        """Record when a key was last used, in Unix milliseconds."""
        with unavailable_on_failure("recording an API key's use"):
            self._client.update_item(
                TableName=self._table,
                Key=item_keys.api_key_key(key_hash),
                UpdateExpression="SET last_used_at = :now",
                # Otherwise the update would create an item without a key.
                ConditionExpression="attribute_exists(key_hash)",
                ExpressionAttributeValues={":now": {"N": str(now_ms)}},
            )


def api_key_item(key: ApiKey) -> item_keys.Item:
    """Return an API key as an item."""
    item: item_keys.Item = {
        **item_keys.api_key_key(key.key_hash),
        "key_id": {"S": key.id},
        "account_id": {"S": key.account_id},
        "name": {"S": key.name},
        "last_four": {"S": key.last_four},
        "scopes": {"SS": sorted(key.scopes)},
        "created_at": item_keys.number(key.created_at_ms),
    }
    if key.revoked_at_ms is not None:
        item["revoked_at"] = item_keys.number(key.revoked_at_ms)
    if key.last_used_at_ms is not None:
        item["last_used_at"] = item_keys.number(key.last_used_at_ms)
    return item


def read_api_key(item: Mapping[str, Any]) -> ApiKey:
    """Return the API key of an item; items older than scopes have none, and get all of them."""
    scopes = item.get("scopes")
    revoked_at = item.get("revoked_at")
    last_used_at = item.get("last_used_at")
    return ApiKey(
        key_hash=item["key_hash"]["S"],
        id=item["key_id"]["S"],
        account_id=item["account_id"]["S"],
        name=item["name"]["S"],
        last_four=item["last_four"]["S"],
        created_at_ms=int(item["created_at"]["N"]),
        scopes=frozenset(Scope(name) for name in scopes["SS"]) if scopes else ALL_SCOPES,
        revoked_at_ms=int(revoked_at["N"]) if revoked_at else None,
        last_used_at_ms=int(last_used_at["N"]) if last_used_at else None,
    )
