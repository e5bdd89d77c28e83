"""Example values of the OpenAPI document's schemas, for its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_FORMAT = {
    "date-time": "2025-12-21T23:25:12.006Z",
    "uuid": "e406c83c-50bc-4783-b5fc-4beafe6bf5eb",
    "uri": "https://your-server.com/webhooks/email",
}
_BY_TYPE: Mapping[str, Any] = {"integer": 1, "number": 1, "boolean": True, "string": "text"}
_DEEPEST = 8


def resolved(document: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part itself, or the target of its `$ref` within this document."""
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def example_of(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that fits a schema: its own example where it has one."""
    schema = resolved(document, schema)
    for name in ("example", "const", "default"):
        if name in schema:
            return schema[name]
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    for name in ("allOf", "anyOf", "oneOf"):
        if schema.get(name):
            return example_of(document, schema[name][0], depth + 1)
    return _of_type(document, schema, depth)


def _of_type(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if depth > _DEEPEST:
        return None
    if kind == "array":
        return [example_of(document, schema.get("items", {}), depth + 1)]
    if kind == "object" or "properties" in schema:
        return {
            name: example_of(document, field, depth + 1)
            for name, field in schema.get("properties", {}).items()
        }
    return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(str(kind)))
