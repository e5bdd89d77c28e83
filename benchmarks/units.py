"""The units that AWS bills for the requests of a botocore client.

Reads and writes are computed from the items before and after, because moto's own count is a
constant. The rules are those of "Read and write capacity unit consumption" in DynamoDB's developer
guide.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webhooks.adapters.dynamodb.delivery_items import WRITE_UNIT_BYTES
from webhooks.adapters.dynamodb.item_keys import item_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from webhooks.adapters.dynamodb.item_keys import Item

READ_UNIT_BYTES = 4096
SQS_CHUNK_BYTES = 65_536
"""SQS bills one request for every 64 KB of payload."""

_PARTIAL = ("ProjectionExpression", "FilterExpression", "Select")
_FREE = frozenset({"sfn.StartExecution", "sfn.DescribeExecution"})
"""Billed by the states that an execution enters, which `machines` counts."""


@dataclass
class Units:
    """The units used. `requests` counts HTTP requests by service and operation with repeats."""

    requests: Counter[str] = field(default_factory=Counter)
    read_units: float = 0.0
    write_units: float = 0.0
    sqs_requests: int = 0
    eventbridge_events: int = 0
    executions: int = 0
    short_executions: int = 0
    transitions: int = 0
    invocations: int = 0
    log_lines: int = 0
    log_bytes: int = 0

    def as_document(self) -> dict[str, Any]:
        """Return the units in JSON's types, requests sorted by name."""
        return {**vars(self), "requests": dict(sorted(self.requests.items()))}


@dataclass(frozen=True)
class Table:
    """A table's key, and the attributes in each of its indexes: None means all."""

    key: tuple[str, ...]
    indexes: Mapping[str, tuple[tuple[str, ...], frozenset[str] | None]]

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Table:
        """Read the properties of an `AWS::DynamoDB::Table`."""
        key = _names(properties["KeySchema"])
        indexes = {}
        for index in properties.get("GlobalSecondaryIndexes", []):
            own, projection = _names(index["KeySchema"]), index["Projection"]
            held = {*key, *own, *projection.get("NonKeyAttributes", [])}
            everything = projection["ProjectionType"] == "ALL"
            indexes[index["IndexName"]] = own, None if everything else frozenset(held)
        return cls(key, indexes)

    def entries(self, item: Item | None) -> Iterator[tuple[tuple[str, ...], Item | None]]:
        """Yield each index's key names and its entry for an item; None without an entry."""
        for own, held in self.indexes.values():
            if item is None or not all(name in item for name in own):
                yield own, None
            else:
                yield own, {name: item[name] for name in item if held is None or name in held}


def write_units(item: Item | None) -> int:
    """Return the units of writing an item, or of an attempt to write without an item."""
    return max(1, -(-item_size(item or {}) // WRITE_UNIT_BYTES))


def read_units(size: int, *, consistent: bool) -> float:
    """Return the units of reading this many bytes at once."""
    return max(1, -(-size // READ_UNIT_BYTES)) * (1.0 if consistent else 0.5)


def units_of_change(table: Table, before: Item | None, after: Item | None) -> int:
    """Return the write units of turning one item into the other, in the table and its indexes."""
    units = max(write_units(before), write_units(after))
    for (own, old), (_, new) in zip(table.entries(before), table.entries(after), strict=True):
        if old == new:
            continue
        if old and new and all(old[name] == new[name] for name in own):
            units += max(write_units(old), write_units(new))
        else:
            units += sum(write_units(entry) for entry in (old, new) if entry)
    return units


class Meter:
    """Adds up the cost of the requests of the clients that it listens to.

    It looks at items through `dynamodb`, a client that is not listened to itself.
    """

    def __init__(self, dynamodb: Any, tables: Mapping[str, Table]) -> None:
        self._dynamodb = dynamodb
        self._tables = tables
        self._lock = threading.Lock()
        self._unknown: set[str] = set()
        self.units = Units()

    def listen(self, client: Any) -> Any:
        """Listen to the client from now on, and return it."""
        client.meta.events.register("before-parameter-build", self._remember)
        client.meta.events.register("before-send", self._sent)
        client.meta.events.register("after-call", self._add)
        return client

    def take(self) -> Units:
        """Return the units used since the last call. ValueError for a request without a rule."""
        if self._unknown:
            msg = f"the meter has no rule for {', '.join(sorted(self._unknown))}"
            raise ValueError(msg)
        units, self.units = self.units, Units()
        return units

    def _sent(self, event_name: str, **_: Any) -> None:
        with self._lock:
            self.units.requests[event_name.removeprefix("before-send.")] += 1

    def _remember(self, params: Any, model: Any, context: Any, **_: Any) -> None:
        context["metered"] = params
        context["changes"] = [
            (table, key, self._image(table, key), after)
            for table, key, after in self._written(model, params)
        ]

    def _written(self, model: Any, params: Any) -> Iterator[tuple[str, Item, Item | None]]:
        """Yield the table, the key and, if known, the item of each write of an operation."""
        if model.name == "PutItem":
            table, item = params["TableName"], params["Item"]
            yield table, self._key(table, item), item
        elif model.name == "UpdateItem":
            yield params["TableName"], params["Key"], None
        elif model.name == "BatchWriteItem":
            for table, writes in params["RequestItems"].items():
                for write in writes:
                    item = write["PutRequest"]["Item"]
                    yield table, self._key(table, item), item

    def _key(self, table: str, item: Item) -> Item:
        return {name: item[name] for name in self._tables[table].key}

    def _image(self, table: str, key: Item) -> Item | None:
        answer = self._dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)
        image: Item | None = answer.get("Item")
        return image

    def _add(self, parsed: Any, model: Any, context: Any, **_: Any) -> None:
        params = context["metered"]
        service = model.service_model.service_id.hyphenize()
        name = f"{service}.{model.name}"
        with self._lock:
            if context["changes"]:
                self.units.write_units += self._writes(parsed, context["changes"])
            elif service == "dynamodb" and not any(part in params for part in _PARTIAL):
                self.units.read_units += self._reads(name, params, parsed)
            elif name in {"sqs.SendMessage", "sqs.SendMessageBatch"}:
                size = sum(
                    len(one["MessageBody"].encode()) for one in params.get("Entries", [params])
                )
                self.units.sqs_requests += max(1, -(-size // SQS_CHUNK_BYTES))
            elif name == "eventbridge.PutEvents":
                self.units.eventbridge_events += len(params["Entries"])
            elif name not in _FREE:
                self._unknown.add(name)
            self.units.executions += name == "sfn.StartExecution"

    def _writes(
        self, parsed: Any, changes: list[tuple[str, Item, Item | None, Item | None]]
    ) -> int:
        code = parsed.get("Error", {}).get("Code")
        if code == "ConditionalCheckFailedException":
            return sum(write_units(before) for _, _, before, _ in changes)
        if code:
            return 0
        return sum(
            units_of_change(self._tables[table], before, after or self._image(table, key))
            for table, key, before, after in changes
        )

    def _reads(self, name: str, params: Any, parsed: Any) -> float:
        if name == "dynamodb.Query":
            size = sum(item_size(item) for item in parsed["Items"])
            return read_units(size, consistent=params.get("ConsistentRead", False))
        if name == "dynamodb.GetItem":
            size = item_size(parsed.get("Item", {}))
            return read_units(size, consistent=params.get("ConsistentRead", False))
        if name != "dynamodb.BatchGetItem":
            self._unknown.add(name)
            return 0.0
        units = 0.0
        for table, wanted in params["RequestItems"].items():
            found = parsed["Responses"].get(table, [])
            sizes = [item_size(item) for item in found]
            sizes += [0] * (len(wanted["Keys"]) - len(found))
            consistent = wanted.get("ConsistentRead", False)
            units += sum(read_units(size, consistent=consistent) for size in sizes)
        return units


def _names(schema: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(part["AttributeName"] for part in schema)
