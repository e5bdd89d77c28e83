"""The stack's tables on any DynamoDB, made from the template, and therefore the deployed ones."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from local.template import load, of_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

_BUILT = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return of_type(load(), "AWS::DynamoDB::Table")


def key_names(table: str) -> list[str]:
    """Return the attributes of a table's key, by the table's logical id."""
    return [part["AttributeName"] for part in _tables()[table]["Properties"]["KeySchema"]]


def create_tables(client: DynamoDBClient, names: Mapping[str, str] | None = None) -> None:
    """Create every table of the template, each under its logical id, or the mapped name."""
    for logical_id, table in _tables().items():
        properties: dict[str, Any] = table["Properties"]
        built: Any = {name: properties[name] for name in _BUILT if name in properties}
        client.create_table(TableName=(names or {}).get(logical_id, logical_id), **built)
