"""The template as CloudFormation gets it, and its parts by their names."""

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
        for statement in policy["PolicyDocument"]["Statement"]
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def every_allowed_statement() -> Iterator[tuple[str, dict[str, Any]]]:
    for logical_id, resource in translated()["Resources"].items():
        document = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in document.get("Policies", [])]
        documents += [
            document[name] for name in ("PolicyDocument", "KeyPolicy") if name in document
        ]
        for written in (one for policy in documents for one in policy["Statement"]):
            # One that a condition decides on has what it says where the condition holds.
            statement = written["Fn::If"][1] if "Fn::If" in written else written
            if statement["Effect"] == "Allow":
                yield logical_id, statement


def text(value: Any) -> str:
    """Return an intrinsic function as Fn::Sub writes it."""
    if isinstance(value, str):
        return value
    [(function, argument)] = value.items()
    if function == "Fn::Sub":
        return str(argument)
    return "${" + (argument if function == "Ref" else ".".join(argument)) + "}"
