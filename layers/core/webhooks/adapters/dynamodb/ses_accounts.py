"""The assignment of SES's configuration sets and tenants to accounts, on DynamoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webhooks.adapters.aws import unavailable_on_failure
from webhooks.adapters.dynamodb import item_keys
from webhooks.adapters.dynamodb.own_writes import sent_again
from webhooks.domain.ses import SesAccounts, SourceKind

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ACCOUNT = "owner_account_id"


class DynamoDBSesAccountStore:
    """A partition of the webhooks' table that no account has, an item for each set or tenant.

    The functions only read it; an operator's command writes it.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, default: str) -> SesAccounts:
        """Return the whole table, with `default` for all other mail."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "account_id = :partition",
            "ExpressionAttributeValues": {":partition": {"S": item_keys.SES_ACCOUNTS}},
        }
        found: dict[str, dict[str, str]] = {kind: {} for kind in SourceKind}
        while True:
            with unavailable_on_failure("reading the accounts of SES mail"):
                answer = self._client.query(**query)
            for item in answer["Items"]:
                kind, _, name = item["webhook_id"]["S"].partition("#")
                found[kind][name] = item[_ACCOUNT]["S"]
            if not answer.get("LastEvaluatedKey"):
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return SesAccounts(found[SourceKind.CONFIGURATION_SET], default, found[SourceKind.TENANT])

    def put(self, kind: SourceKind, name: str, account_id: str) -> None:
        """Assign the mail of a configuration set or of a tenant to an account."""
        item = {**item_keys.ses_account_key(kind, name), _ACCOUNT: {"S": account_id}}
        with unavailable_on_failure("storing an account of SES mail"):
            self._client.put_item(TableName=self._table, Item=item)

    def delete(self, kind: SourceKind, name: str) -> bool:
        """Remove an assignment; False if there was none."""
        with unavailable_on_failure("removing an account of SES mail"):
            answer = self._client.delete_item(
                TableName=self._table,
                Key=item_keys.ses_account_key(kind, name),
                ReturnValues="ALL_OLD",
            )
        # A repeated request finds no item although its first send removed it.
        return bool(answer.get("Attributes")) or sent_again(answer)
