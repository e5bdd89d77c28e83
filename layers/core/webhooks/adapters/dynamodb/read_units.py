"""Read units of one list: their use as DynamoDB reports it, and the room for the next request.

A read unit is 4 KB read consistently, or 8 KB read eventually consistently ("Read and write
operations" in AWS's developer guide). A query is charged for each item that it goes through, with
its body, even if its filter or its projection leaves the item out. A request's cost is not known in
advance, so each is counted at its maximum: a query ends at 1 MB, and an item at 400 KB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LIST_UNITS = 480
"""Most read units of one list. The look-ups of the key and the webhook have the rest of 500."""

_UNIT_BYTES = 4096
_PAGE_BYTES = 1_048_576
"""A query ends with the item that exceeds this ("Query" in AWS's API reference)."""

USUAL_ITEM_BYTES = 81_920
"""The size of a delivery with the largest body and all of its schedule's attempts."""

_RESENT_ITEM_BYTES = 180_224
"""The size of a delivery with a hundred attempts, each with a full response body."""

_ITEM_BYTES = 409_600
"""The largest item ("Service, account, and table quotas" in AWS's developer guide)."""

_LEAST_ITEMS = 3


class ReadUnits:
    """The read units that one list may still use; `most` at first."""

    def __init__(self, most: float = MAX_LIST_UNITS) -> None:
        self._left = float(most)

    def count(self, answer: Mapping[str, Any]) -> None:
        """Count a response to a request with `ReturnConsumedCapacity`.

        A query reports one table, a batch a list of tables.
        """
        consumed = answer.get("ConsumedCapacity") or ()
        tables = (consumed,) if isinstance(consumed, dict) else consumed
        self._left -= sum(table["CapacityUnits"] for table in tables)

    def allow_query(self, *, consistent: bool) -> bool:
        """Whether one more query is within the limit, however large the items are."""
        return _units(_PAGE_BYTES + _ITEM_BYTES, consistent=consistent) <= self._left

    def filtered_items(self, *, consistent: bool, item_bytes: int = _RESENT_ITEM_BYTES) -> int:
        """Return the `Limit` of a query with a filter, once `allow_query` has allowed it.

        DynamoDB Local ends such a query at 1 MB of returned items instead of read ones. This
        `Limit` keeps the cost within bounds there too, for items of this size.
        """
        return int(self._left / _units(item_bytes, consistent=consistent))

    def allowed_items(self, *, consistent: bool) -> int:
        """Return how many items may be read by their keys, however large they are.

        0 instead of one or two: with so few a request, small items would take many requests.
        """
        number = int(self._left / _units(_ITEM_BYTES, consistent=consistent))
        return number if number >= _LEAST_ITEMS else 0


def _units(size: int, *, consistent: bool) -> float:
    return size / _UNIT_BYTES / (1 if consistent else 2)
