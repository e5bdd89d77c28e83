"""Differences between two templates, and whether an update may have them.

CloudFormation replaces a resource if certain properties change. A new table is empty, a new queue
has no messages, and a deleted state machine takes its open executions with it. The properties are
those whose "Update requires" is "Replacement" in CloudFormation's reference of each type. An update
creates or deletes at most one index of a table, like DynamoDB's UpdateTable.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_REPLACING = {
    "AWS::DynamoDB::Table": ("KeySchema", "LocalSecondaryIndexes", "TableName"),
    "AWS::SQS::Queue": ("FifoQueue", "QueueName"),
    "AWS::Serverless::StateMachine": ("Name", "Type"),
    "AWS::Serverless::HttpApi": ("Name",),
    "AWS::SES::ConfigurationSet": ("Name",),
}
"""Properties whose change replaces a resource with contents or with a name in use elsewhere."""

_KEPT = frozenset({"AWS::DynamoDB::Table", "AWS::SQS::Queue"})
"""Types that must not be missing from the next template: their contents would be deleted."""

_CUSTOM_NAMES = (
    *("Name", "AliasName", "DashboardName", "LogGroupName", "QueueName", "TableName"),
    *("FunctionName", "RoleName", "StateMachineName", "ConfigurationSetName"),
)


class Change(NamedTuple):
    """A difference of a resource, as a sentence. A `refused` one must not be deployed."""

    resource: str
    sentence: str
    refused: bool


def changes(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[Change]:
    """Return the changes of an update from one template to another, as `read` returns them.

    Only changes that can lose something or fail are compared.
    """
    before, after = now["Resources"], then["Resources"]
    found: list[Change] = []
    for name in sorted(set(before) & set(after)):
        found += _of_resource(name, before[name], after[name])
    for name in sorted(set(before) - set(after)):
        kind = before[name]["Type"]
        found.append(Change(name, f"{name} ({kind}) is gone", kind in _KEPT))
    return found + list(_taken_names(before, after))


def _of_resource(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    if before["Type"] != after["Type"]:
        yield Change(name, f"{name} is of another type, which CloudFormation refuses", True)
        return
    old, new = before.get("Properties", {}), after.get("Properties", {})
    for each in _REPLACING.get(before["Type"], ()):
        if old.get(each) != new.get(each):
            yield Change(name, f"{name} is replaced because its {each} changes", True)
    if before["Type"] == "AWS::DynamoDB::Table":
        yield from _of_indexes(name, old, new)


def _of_indexes(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = _indexes(old), _indexes(new)
    changed = sorted(one for one in {*before, *after} if before.get(one) != after.get(one))
    for index in changed:
        if index in before and index in after:
            yield Change(
                name, f"{name}'s index {index} changes: delete it first, then create it", True
            )
        else:
            done = "created" if index in after else "deleted"
            yield Change(name, f"{name}'s index {index} is {done}", len(changed) > 1)


def _indexes(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {one["IndexName"]: one for one in properties.get("GlobalSecondaryIndexes", [])}


def _taken_names(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield names that pass to another resource, which is created before the old one is deleted."""
    taken = {custom: name for name, one in before.items() for custom in _custom_names(one)}
    for name, resource in after.items():
        for custom in _custom_names(resource):
            if taken.get(custom, name) != name:
                yield Change(name, f"{name} takes the name {custom[1]} of {taken[custom]}", True)


def _custom_names(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    properties = resource.get("Properties", {})
    # A domain name has one record per type.
    kind = f"{resource['Type']} {properties['Type']}" if "Type" in properties else resource["Type"]
    for name in _CUSTOM_NAMES:
        if name in properties:
            yield str(kind), json.dumps(properties[name], sort_keys=True)
