"""The deploying role's policies under IAM's rules, and the needs of CloudFormation's schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import cfnlint.data.AdditionalSpecs  # type: ignore[import-untyped]
from cfnlint.helpers import load_resource  # type: ignore[import-untyped]
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from local import template
from support.stack import ROOT

FILE = ROOT / "deploying-role.yaml"
STACK = "sendcomms-webhooks-staging"
"""Longer than 24 characters, the length to which CloudFormation cuts it in names of up to 64."""
VALUES = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws-cn",
    "AWS::Region": "cn-north-1",
    "StackName": STACK,
    "NamePrefix": STACK[:24],
    "Repository": "acme/webhooks",
    "Environment": "dev",
}
LONGEST = VALUES | {
    "AWS::Partition": "aws-us-gov",
    "AWS::Region": "ap-northeast-1",
    "StackName": "x" * 59,
    "NamePrefix": "x" * 24,
}


@dataclass(frozen=True)
class Statement:
    """A statement that allows; the reader judges its conditions."""

    policy: str
    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]]

    def allows(self, action: str, resource: str) -> bool:
        # IAM compares actions without regard to case, and its * matches slashes too.
        return any(fnmatchcase(action.lower(), one.lower()) for one in self.actions) and any(
            fnmatchcase(resource, one) for one in self.resources
        )


@cache
def declared() -> dict[str, Any]:
    return template.read(FILE)


def resolved(value: Any, values: Mapping[str, str]) -> Any:
    """Return a value of the template with its `Fn::Sub` filled in."""
    if isinstance(value, Mapping):
        if [*value] == ["Fn::Sub"]:
            return re.sub(r"\$\{([^}]+)\}", lambda name: values[name[1]], value["Fn::Sub"])
        return {key: resolved(one, values) for key, one in value.items()}
    return [resolved(one, values) for one in value] if isinstance(value, list) else value


def documents(values: Mapping[str, str] = VALUES) -> dict[str, dict[str, Any]]:
    """Return the policies' documents, by logical id."""
    return {
        name: resolved(resource["Properties"]["PolicyDocument"], values)
        for name, resource in template.of_type(declared(), "AWS::IAM::ManagedPolicy").items()
    }


def statements(values: Mapping[str, str] = VALUES) -> list[Statement]:
    return [
        Statement(
            policy,
            one["Sid"],
            tuple(listed(one["Action"])),
            tuple(listed(one["Resource"])),
            one.get("Condition", {}),
        )
        for policy, document in documents(values).items()
        for one in document["Statement"]
    ]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def characters(document: Mapping[str, Any]) -> int:
    """Return a policy's size as IAM counts it, without white space."""
    return len(re.sub(r"\s", "", json.dumps(document)))


@cache
def handlers(resource_type: str) -> frozenset[str]:
    """Return the actions that CloudFormation uses for resources of a type.

    From the registry's schema in cfn-lint: to create, read, update, delete and list.
    """
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    return frozenset(
        action
        for handler in schema["handlers"].values()
        for action in handler.get("permissions", [])
    ) | frozenset(schema.get("tagging", {}).get("permissions", []))


@cache
def _reference() -> dict[str, Any]:
    loaded: dict[str, Any] = load_resource(cfnlint.data.AdditionalSpecs, "Policies.json")
    return loaded


def known(action: str) -> bool:
    """True if IAM has the action: a few of the schemas' actions do not exist."""
    service, name = action.split(":")
    return name.lower() in _reference().get(service, {}).get("Actions", {})


def takes_resource(action: str) -> bool:
    """True if an action has a resource; an action without is allowed on * alone."""
    service, name = action.split(":")
    return bool(_reference()[service]["Actions"][name.lower()].get("Resources"))


def keys(value: Any) -> Iterator[str]:
    """Yield every key of a resource's properties, at any depth."""
    if isinstance(value, Mapping):
        yield from value
        for one in value.values():
            yield from keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from keys(one)
