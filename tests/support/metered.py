"""A DynamoDB client that counts read units by AWS's rules, with an assumed size of each item."""

from __future__ import annotations

import math
from typing import Any

PAGE_BYTES = 1_048_576
"""A query ends with the item that exceeds this size."""

_UNIT_BYTES = 4096
_INDEX_ITEM_BYTES = 250


class MeteredClient:
    """Answers `query` and `batch_get_item` through another client, whose items may be small."""

    def __init__(self, client: Any, item_bytes: int, *, local: bool = False) -> None:
        self._client = client
        self._item_bytes = item_bytes
        self._local = local
        self.units = 0.0
        self.calls = 0

    def query(self, **request: Any) -> Any:
        size = _INDEX_ITEM_BYTES if "IndexName" in request else self._item_bytes
        # DynamoDB Local reads on past a megabyte if a filter leaves the item out.
        local = self._local and "FilterExpression" in request
        limit = request.get("Limit", PAGE_BYTES)
        most = limit if local else PAGE_BYTES // size + 1
        answer = self._client.query(**{**request, "Limit": min(limit, most)})
        used = math.ceil(answer["ScannedCount"] * size / _UNIT_BYTES)
        answer["ConsumedCapacity"] = {"CapacityUnits": self._price(request, used)}
        return answer

    def batch_get_item(self, **request: Any) -> Any:
        answer = self._client.batch_get_item(**request)
        [(table, wanted)] = request["RequestItems"].items()
        used = len(answer["Responses"][table]) * math.ceil(self._item_bytes / _UNIT_BYTES)
        answer["ConsumedCapacity"] = [{"CapacityUnits": self._price(wanted, used)}]
        return answer

    def _price(self, request: Any, units: int) -> float:
        price = units * (1.0 if request.get("ConsistentRead") else 0.5)
        self.units += price
        self.calls += 1
        return price
