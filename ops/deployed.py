"""A deployed stack and its resources, as CloudFormation lists them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local import template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_STACK = "REVIEW_IN_PROGRESS"
"""The status of a stack that consists of a change set only."""

_GONE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "ExecutionDoesNotExist",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
    }
)


def description(cloudformation: Any, stack: str) -> Mapping[str, Any] | None:
    """Describe a stack; None if it does not exist or has no resources."""
    try:
        [found] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    described: Mapping[str, Any] = found
    return None if described["StackStatus"] == _NO_STACK else described


def parameters(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a described stack's parameters, by name."""
    return {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", ())}


@contextmanager
def unless_gone() -> Iterator[None]:
    """Ignore the error for a resource that does not exist, or no longer exists."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack's resources: physical ids by type and logical id."""

    resources: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, cloudformation: Any, stack: str) -> Deployed:
        """List a stack's resources, except deleted ones and ones never created."""
        found: dict[str, dict[str, str]] = {}
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        for page in pages:
            for resource in page["StackResourceSummaries"]:
                physical_id = resource.get("PhysicalResourceId")
                if physical_id and resource["ResourceStatus"] != "DELETE_COMPLETE":
                    of_type = found.setdefault(resource["ResourceType"], {})
                    of_type[resource["LogicalResourceId"]] = physical_id
        return cls(found)

    def of_type(self, resource_type: str) -> Mapping[str, str]:
        """Return the physical ids of a type by logical id."""
        return self.resources.get(resource_type, {})

    def kept(self) -> dict[str, str]:
        """Return the resources that outlive the stack: physical ids by logical id."""
        retained = _retained()
        return {
            name: physical_id
            for of_type in self.resources.values()
            for name, physical_id in of_type.items()
            if name in retained
        }


@cache
def _retained() -> frozenset[str]:
    """Return the logical ids of the template's resources that outlive their stack."""
    return frozenset(
        name
        for name, resource in template.read()["Resources"].items()
        if str(resource.get("DeletionPolicy")).startswith("Retain")
    )
