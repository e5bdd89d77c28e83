"""The template in CloudFormation's rendering, for parameters, a partition and a stack's name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Parameters = dict[str, str]

ACCOUNT = "123456789012"
LONGEST_STACK_NAME = "s" * 59


class Place(NamedTuple):
    """A partition with one of its regions, and the suffix of its services' addresses."""

    partition: str
    region: str
    url_suffix: str


COMMERCIAL = Place("aws", "ap-southeast-1", "amazonaws.com")
GOVCLOUD = Place("aws-us-gov", "us-gov-west-1", "amazonaws.com")
CHINA = Place("aws-cn", "cn-northwest-1", "amazonaws.com.cn")
PLACES = (COMMERCIAL, GOVCLOUD, CHINA)

_NO_VALUE = {"Ref": "AWS::NoValue"}
_NOTHING = object()
"""The value of `AWS::NoValue`: the property is left out."""

_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:{name}:1",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
_REF_IS_ARN = {"AWS::Lambda::LayerVersion", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}
_REF_IS_ID = {"AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::KMS::Key"}
NAMES = {
    "AWS::ApiGatewayV2::DomainName": "DomainName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::KMS::Alias": "AliasName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::Logs::QueryDefinition": "Name",
    "AWS::SES::ConfigurationSet": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
"""The property that names a resource, by its type."""


@dataclass
class Rendering:
    """A transformed template with everything in it resolved."""

    template: Mapping[str, Any]
    parameters: Parameters
    place: Place = COMMERCIAL
    stack: str = "stack"
    resources: dict[str, dict[str, Any]] = field(init=False)
    outputs: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Resolve the resources and outputs that exist under these parameters."""
        self.resources = {
            name: self.resolved(resource)
            for name, resource in self.template["Resources"].items()
            if self._exists(resource)
        }
        self.outputs = {
            name: self.resolved(output["Value"])
            for name, output in self.template["Outputs"].items()
            if self._exists(output)
        }

    def resolved(self, value: Any) -> Any:
        """Return a value without intrinsic functions; AssertionError for an unknown function."""
        found: Any
        match value:
            case {"Ref": str(name)}:
                found = self._ref(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                found = self._attribute(name, attribute)
            case {"Fn::Sub": str(text)}:
                found = self._substituted(text, {})
            case {"Fn::Sub": [str(text), dict(variables)]}:
                found = self._substituted(text, self.resolved(variables))
            case {"Fn::If": [str(condition), then, other]}:
                found = self.resolved(then if self.holds(condition) else other)
            case dict():
                pairs = ((key, self.resolved(one)) for key, one in value.items())
                found = {key: one for key, one in pairs if one is not _NOTHING}
                assert not [key for key in found if key.startswith("Fn::")], value
            case list():
                ones = map(self.resolved, value)
                found = [one for one in ones if one is not _NOTHING]
            case _:
                found = value
        return found

    def holds(self, condition: Any) -> bool:
        """Evaluate a condition, by its name or its expression."""
        match condition:
            case str(name) | {"Condition": str(name)}:
                return self.holds(self.template["Conditions"][name])
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Fn::And": list(parts)}:
                return all(self.holds(part) for part in parts)
            case {"Fn::Or": list(parts)}:
                return any(self.holds(part) for part in parts)
            case {"Fn::Equals": [left, right]}:
                return bool(self.resolved(left) == self.resolved(right))
        raise KeyError(condition)

    def obeys_the_rules(self) -> bool:
        """True if the template's rules accept the parameters."""
        return all(
            self.holds(assertion["Assert"])
            for rule in self.template["Rules"].values()
            if self.holds(rule["RuleCondition"])
            for assertion in rule["Assertions"]
        )

    def name(self, logical_id: str) -> str:
        """Return a resource's physical name; without one in the template, CloudFormation's."""
        resource = self.template["Resources"][logical_id]
        given = resource.get("Properties", {}).get(NAMES.get(resource["Type"], ""))
        return self.resolved(given) if given else f"{self.stack}-{logical_id}-{'X' * 12}"[-64:]

    def _exists(self, part: Mapping[str, Any]) -> bool:
        return "Condition" not in part or self.holds(part["Condition"])

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": ACCOUNT,
            "AWS::NoValue": _NOTHING,
            "AWS::Partition": self.place.partition,
            "AWS::Region": self.place.region,
            "AWS::StackId": self._arn(f"cloudformation:{{region}}:{{account}}:stack/{self.stack}/"),
            "AWS::StackName": self.stack,
            "AWS::URLSuffix": self.place.url_suffix,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.template["Parameters"]:
            default = self.template["Parameters"][name].get("Default", "")
            return self.parameters.get(name, str(default))
        kind = self.template["Resources"][name]["Type"]
        if kind in _REF_IS_ARN:
            return self._attribute(name, "Arn")
        if kind == "AWS::SQS::Queue":
            host = f"sqs.{self.place.region}.{self.place.url_suffix}"
            return f"https://{host}/{ACCOUNT}/{self.name(name)}"
        return "a" * 10 if kind in _REF_IS_ID else self.name(name)

    def _attribute(self, name: str, attribute: str) -> str:
        if attribute != "Arn":
            return self.name(name)
        form = _ARNS[self.template["Resources"][name]["Type"]]
        return self._arn(form.replace("{name}", self.name(name)))

    def _arn(self, form: str) -> str:
        return f"arn:{self.place.partition}:" + form.format(
            region=self.place.region, account=ACCOUNT
        )

    def _substituted(self, text: str, variables: Mapping[str, str]) -> str:
        def one(found: re.Match[str]) -> str:
            name, _, attribute = found[1].partition(".")
            if found[1] in variables:
                return variables[found[1]]
            return str(self._attribute(name, attribute) if attribute else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", one, text)


def reduced(loaded: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    """Return a transformed template with its conditions applied and the rest unchanged.

    The parameters are its defaults.
    """
    rendering = Rendering(loaded, parameters)

    def applied(value: Any) -> Any:
        match value:
            case list():
                return [found for one in value if (found := applied(one)) != _NO_VALUE]
            case {"Fn::If": [condition, then, other]}:
                return applied(then if rendering.holds(condition) else other)
            case dict():
                found = {key: applied(one) for key, one in value.items()}
                return {key: one for key, one in found.items() if one != _NO_VALUE}
        return value

    kept = {
        section: {
            name: applied({key: one for key, one in part.items() if key != "Condition"})
            for name, part in loaded[section].items()
            if "Condition" not in part or rendering.holds(part["Condition"])
        }
        for section in ("Resources", "Outputs")
    }
    declared = {
        name: {**one, "Default": parameters.get(name, one.get("Default", ""))}
        for name, one in loaded["Parameters"].items()
    }
    return {"AWSTemplateFormatVersion": "2010-09-09", "Parameters": declared, **kept}
