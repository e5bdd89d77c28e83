"""The roles' policies under IAM's rules, from the template as CloudFormation runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from local import template
from support.condition_keys import complaints
from support.former import without_former_names
from support.translated_template import listed, where_it_holds

ACCOUNT = "123456789012"
REGION = "us-east-1"
STACK = "stack"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
}
_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}

Context = Mapping[str, frozenset[str]]
"""The condition keys of a call, each with its values; an absent key is left out."""


class Call(NamedTuple):
    """One call as IAM sees it: an action on a resource, with the keys of conditions."""

    action: str
    resource: str
    context: Context = MappingProxyType({})


@dataclass(frozen=True)
class Statement:
    """A statement that allows; `resources` are ARNs, with * for anything."""

    role: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)

    def allows(self, call: Call) -> bool:
        return (
            call.action in self.actions
            and any(fnmatchcase(call.resource, pattern) for pattern in self.resources)
            and all(
                _holds(operator, call.context.get(key), frozenset(wanted))
                for operator, keys in self.conditions.items()
                for key, wanted in keys.items()
            )
        )

    @property
    def key(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """The statement's key among the role's, for a failing test's message."""
        return self.sid, self.actions, self.resources

    def grants(self) -> Iterator[tuple[str, str]]:
        """Give each action on each resource that the statement allows."""
        for action in self.actions:
            for resource in self.resources:
                yield action, resource


def _holds(operator: str, found: frozenset[str] | None, wanted: frozenset[str]) -> bool:
    """True if a condition holds by IAM's guide; AssertionError for an unknown operator.

    ForAllValues holds for a call that has not the key at all.
    """
    if operator == "Null":
        return {"true" if found is None else "false"} == wanted
    if operator == "ForAllValues:StringEquals":
        return (found or frozenset()) <= wanted
    if operator == "ForAllValues:StringLike":
        return all(_is_like(one, wanted) for one in found or ())
    if operator == "StringEqualsIfExists" and found is None:
        return True
    assert operator in {"StringEquals", "StringEqualsIfExists", "StringLike"}, operator
    if found is None or len(found) != 1:
        return False
    [one] = found
    return _is_like(one, wanted) if operator == "StringLike" else one in wanted


def _is_like(one: str, wanted: frozenset[str]) -> bool:
    return any(fnmatchcase(one, like) for like in wanted)


@cache
def loaded() -> dict[str, Any]:
    """The transformed template."""
    return without_former_names(template.load())


def arn(name: str) -> str:
    """Return the ARN of a resource of the template, by its logical id."""
    resource = loaded()["Resources"][name]
    properties = resource.get("Properties", {})
    named = properties.get("StateMachineName")
    form = _ARNS[resource["Type"]].format(
        region=REGION, account=ACCOUNT, name=resolved(named) if named else name
    )
    return f"arn:aws:{form}"


def resolved(value: Any) -> str:
    """Return the text of an intrinsic function, with the ARN for every reference.

    A queue's address counts as its ARN, so that both are one thing.
    """
    if isinstance(value, str):
        return value
    [(function, argument)] = value.items()
    if function == "Ref":
        return _PSEUDO[argument] if argument in _PSEUDO else arn(argument)
    if function == "Fn::GetAtt":
        assert argument[1] == "Arn"
        return arn(argument[0])
    assert function == "Fn::Sub"
    return re.sub(r"\$\{([\w:]+)(\.Arn)?\}", lambda match: resolved({"Ref": match[1]}), argument)


@cache
def statements(role: str) -> tuple[Statement, ...]:
    """Return a role's statements, from its own policies and from attached ones."""
    documents = [one["PolicyDocument"] for one in _resource(role)["Policies"]]
    documents += [
        properties["PolicyDocument"]
        for properties in _of_type("AWS::IAM::Policy").values()
        if {"Ref": role} in properties["Roles"]
    ]
    found = [where_it_holds(one) for document in documents for one in document["Statement"]]
    assert all(one["Effect"] == "Allow" for one in found)
    assert [wrong for one in found for wrong in complaints(one)] == []
    return tuple(
        Statement(
            role,
            one["Sid"],
            tuple(listed(one["Action"])),
            tuple(resolved(resource) for resource in listed(one["Resource"])),
            _conditions(one.get("Condition", {})),
        )
        for one in found
    )


def role_of(name: str) -> str:
    """Return the logical id of the role of a function or of a state machine."""
    properties = _resource(name)
    role = properties["Role"] if "Role" in properties else properties["RoleArn"]
    return str(role["Fn::GetAtt"][0])


def roles() -> set[str]:
    """Return the logical ids of all roles."""
    return set(_of_type("AWS::IAM::Role"))


def _conditions(written: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    return {
        operator: {key: [resolved(one) for one in listed(value)] for key, value in keys.items()}
        for operator, keys in written.items()
    }


def _resource(name: str) -> dict[str, Any]:
    properties: dict[str, Any] = loaded()["Resources"][name]["Properties"]
    return properties


def _of_type(resource_type: str) -> dict[str, dict[str, Any]]:
    found = template.of_type(loaded(), resource_type)
    return {name: resource["Properties"] for name, resource in found.items()}
