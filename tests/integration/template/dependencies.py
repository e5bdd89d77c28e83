"""The order in which CloudFormation creates a template's resources, by their references."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ATTACHED = {
    "AWS::IAM::ManagedPolicy": "Roles",
    "AWS::IAM::Policy": "Roles",
    "AWS::IAM::RolePolicy": "RoleName",
}
_ROLES = {"AWS::Lambda::Function": "Role", "AWS::StepFunctions::StateMachine": "RoleArn"}


class Late(NamedTuple):
    """A policy that may be created after a resource with its role."""

    resource: str
    policy: str


def cycles(resources: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the resources that depend on themselves."""
    return {name for name in resources if name in _before(resources, name)}


def late_policies(resources: Mapping[str, Mapping[str, Any]]) -> set[Late]:
    """Return the policies of its role that a function or state machine does not wait for."""
    attached = {
        policy: set(_referred(resource["Properties"].get(_ATTACHED[resource["Type"]])))
        for policy, resource in resources.items()
        if resource["Type"] in _ATTACHED
    }
    owners = {
        name: next(_referred(resource["Properties"][_ROLES[resource["Type"]]]))
        for name, resource in resources.items()
        if resource["Type"] in _ROLES
    }
    return {
        Late(name, policy)
        for name, role in owners.items()
        for policy, roles in attached.items()
        if role in roles and policy not in _before(resources, name)
    }


def _before(resources: Mapping[str, Mapping[str, Any]], name: str) -> set[str]:
    """Return all resources that are created before a resource."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in set(_needs(resources[waiting.pop()])) & set(resources) - found:
            found.add(other)
            waiting.append(other)
    return found


def _needs(resource: Mapping[str, Any]) -> Iterator[str]:
    after = resource.get("DependsOn", [])
    yield from [after] if isinstance(after, str) else after
    yield from _referred(resource.get("Properties", {}))


def _referred(value: Any) -> Iterator[str]:
    match value:
        case list():
            for one in value:
                yield from _referred(one)
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            yield name
        case {"Fn::Sub": str(text)}:
            yield from _named(text)
        case {"Fn::Sub": [str(text), dict(variables)]}:
            yield from (name for name in _named(text) if name not in variables)
            yield from _referred(list(variables.values()))
        case dict():
            yield from _referred(list(value.values()))


def _named(text: str) -> list[str]:
    return re.findall(r"\$\{(\w+)(?:\.\w+)?\}", text)
