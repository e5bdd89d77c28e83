"""The template in CloudFormation's form, and its parts by their names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from local import template
from support.former import without_former_names
from webhooks.observability import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

FUNCTIONS = {"ApiFunction": "api", "DispatcherFunction": "dispatcher", "WorkerFunction": "worker"}

OWN = f"{NAMESPACE}/${{AWS::StackName}}"
"""The namespace of the functions' metrics."""


@cache
def translated() -> dict[str, Any]:
    return without_former_names(template.load())


def resources() -> dict[str, Any]:
    found: dict[str, Any] = translated()["Resources"]
    return found


def of_type(resource_type: str) -> dict[str, Any]:
    found = template.of_type({"Resources": resources()}, resource_type)
    return {name: resource["Properties"] for name, resource in found.items()}


def properties(logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = resources()[logical_id]["Properties"]
    return found


def statements(logical_id: str) -> dict[str, dict[str, Any]]:
    """Return the statements of a role's own policies, by their ids."""
    return {
        statement["Sid"]: statement
        for policy in properties(logical_id)["Policies"]
        for statement in map(where_it_holds, policy["PolicyDocument"]["Statement"])
    }


def where_it_holds(written: dict[str, Any]) -> dict[str, Any]:
    """Return a statement under a condition in its form where the condition holds."""
    found: dict[str, Any] = written["Fn::If"][1] if "Fn::If" in written else written
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def every_allowed_statement() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each statement that allows an action on a resource: a trust policy names no resource."""
    for logical_id, statement in every_statement(translated()):
        if statement["Effect"] == "Allow" and "Resource" in statement:
            yield logical_id, statement


def used_condition_keys() -> set[str]:
    """Return the keys of all conditions of all policies, trust policies included."""
    return {
        key
        for _, statement in every_statement(template.load())
        for keys in statement.get("Condition", {}).values()
        for key in keys
    }


def every_statement(loaded: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each statement of each policy of a transformed template, with its resource's id."""
    for logical_id, resource in loaded["Resources"].items():
        document = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in document.get("Policies", [])]
        documents += [
            document[name]
            for name in ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument")
            if name in document
        ]
        for written in (one for policy in documents for one in policy["Statement"]):
            yield logical_id, where_it_holds(written)


def text(value: Any) -> str:
    """Return an intrinsic function in the form of Fn::Sub."""
    if isinstance(value, str):
        return value
    [(function, argument)] = value.items()
    if function == "Fn::Sub":
        return str(argument)
    return "${" + (argument if function == "Ref" else ".".join(argument)) + "}"
