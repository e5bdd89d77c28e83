"""Lost answers of AWS, for adapters on any DynamoDB, moto in this process included."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore.endpoint import Endpoint
from botocore.exceptions import ReadTimeoutError

from support.tables import key_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

READS = {"GetItem", "BatchGetItem", "Query", "Scan", "DescribeExecution"}

_EXCHANGE = "_do_get_response"
"""botocore's method that sends a request, once, and reads the answer."""


class Writes:
    """The writes that were sent, each with its parameters, the SDK's own tries included."""

    def __init__(self, lost: int | None = None, operation: str = "") -> None:
        """Lose the answer to the write at this place; repeats are not counted.

        With `operation`, only its writes count.
        """
        self._lost = lost
        self._operation = operation
        self._calls = 0
        self._repeats = False
        self.sent: list[tuple[str, Any]] = []

    @property
    def calls(self) -> int:
        """The number of writes, without the SDK's repeats."""
        return self._calls

    @contextmanager
    def watched(self) -> Iterator[Writes]:
        """Watch every client of this process."""
        original: Any = getattr(Endpoint, _EXCHANGE)

        def exchange(endpoint: Any, request: Any, model: Any, context: Any) -> Any:
            answer = original(endpoint, request, model, context)
            if model.name in READS or self._operation not in {"", model.name}:
                return answer
            self.sent.append((model.name, _parameters(request)))
            if self._repeats:
                self._repeats = False
                assert self.sent[-1] == self.sent[-2], "a repeat is the same request"
                return answer
            place, self._calls = self._calls, self._calls + 1
            if place != self._lost:
                return answer
            self._repeats = True
            return None, ReadTimeoutError(endpoint_url=request.url)

        with mock.patch.object(Endpoint, _EXCHANGE, exchange):
            yield self


def contents(client: DynamoDBClient, *, but: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return every item of every table, without the attributes that a test cannot fix."""
    found = {}
    for table in client.list_tables()["TableNames"]:
        items = client.scan(TableName=table, ConsistentRead=True)["Items"]
        kept = [{name: item[name] for name in sorted(item.keys() - but)} for item in items]
        found[table] = sorted(kept, key=str)
    return found


def empty(client: DynamoDBClient) -> None:
    """Remove every item of every table."""
    for table in client.list_tables()["TableNames"]:
        keys = key_names(table)
        for item in client.scan(TableName=table, ConsistentRead=True)["Items"]:
            client.delete_item(TableName=table, Key={name: item[name] for name in keys})


def _parameters(request: Any) -> Any:
    body = request.body or b""
    return json.loads(body) if body else None
