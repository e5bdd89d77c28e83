"""The template's resources in moto, created by its CloudFormation or, where that fails, here."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.constants import ACCOUNT, REGION
from local.schedule import read_input, read_rate
from local.template import definition, existing, of_type

if TYPE_CHECKING:
    from collections.abc import Mapping

STACK_NAME = "sendcomms-webhooks-local"

_QUEUE = "AWS::SQS::Queue"
_TABLE = "AWS::DynamoDB::Table"
_FUNCTION = "AWS::Lambda::Function"
_MAPPING = "AWS::Lambda::EventSourceMapping"
_MACHINE = "AWS::StepFunctions::StateMachine"
_RULE = "AWS::Events::Rule"

_MADE_BY_MOTO = {
    _TABLE,
    "AWS::Events::EventBus",
    _RULE,
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::KMS::Alias",
    "AWS::KMS::Key",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    _FUNCTION,
    _QUEUE,
}
"""Types that moto's CloudFormation creates as AWS would. Its event source mappings and state
machines do not run correctly, so this module creates them. Alarms, logs and queue policies have no
effect here and are left out.
"""


@dataclass(frozen=True, slots=True)
class FunctionResource:
    """A created function: its physical name and its environment, all references resolved."""

    name: str
    handler: str
    timeout_seconds: int
    memory_mb: int
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class MappingResource:
    """An event source mapping: logical ids of its queue and function, and its properties."""

    queue: str
    function: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScheduleResource:
    """A rule with a schedule: its function's logical id, its interval in seconds, and its event."""

    function: str
    seconds: float
    event: Any


@dataclass(frozen=True, slots=True)
class Resources:
    """All created resources, by logical id: urls of queues, names of tables, ARNs of machines."""

    queues: dict[str, str]
    tables: dict[str, str]
    functions: dict[str, FunctionResource]
    state_machines: dict[str, str]
    mappings: list[MappingResource]
    schedules: list[ScheduleResource]


def create(template: Mapping[str, Any], endpoint: str) -> Resources:
    """Create a translated template's resources behind the endpoint.

    Raises RuntimeError, with CloudFormation's reason, if the stack cannot be created.
    """
    import boto3

    template = existing(template)
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateBody=json.dumps(_for_moto(template)),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    )
    stack = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        msg = f"moto did not create the stack: {stack.get('StackStatusReason')}"
        raise RuntimeError(msg)
    resolved: dict[str, Any] = json.loads(stack["Outputs"][0]["OutputValue"])
    queues = {
        name: f"{endpoint}/{ACCOUNT}/{resolved[name]['QueueName']}"
        for name in of_type(template, _QUEUE)
    }
    machines = of_type(template, _MACHINE)
    _create_state_machines(machines, resolved)
    return Resources(
        queues=queues,
        tables={name: resolved[name]["TableName"] for name in of_type(template, _TABLE)},
        functions={
            name: _function(resolved[name], queues) for name in of_type(template, _FUNCTION)
        },
        state_machines={
            name: _machine_arn(_physical_name(name, machine)) for name, machine in machines.items()
        },
        mappings=[
            MappingResource(
                queue=_referred(mapping["Properties"]["EventSourceArn"]),
                function=_referred(mapping["Properties"]["FunctionName"]),
                properties=resolved[name],
            )
            for name, mapping in of_type(template, _MAPPING).items()
        ],
        schedules=[
            ScheduleResource(
                function=_referred(target["Arn"]),
                seconds=read_rate(rule["Properties"]["ScheduleExpression"]),
                event=read_input(target),
            )
            for rule in of_type(template, _RULE).values()
            if "ScheduleExpression" in rule["Properties"]
            for target in rule["Properties"]["Targets"]
        ],
    )


def _for_moto(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the template for moto, with an output that resolves our expressions.

    CloudFormation resolves references and conditions in an output like anywhere else, so this
    module need not resolve them itself.
    """
    resources: Mapping[str, Any] = template["Resources"]
    # moto would make a scheduled rule match every event, and cannot invoke its function.
    kept = {
        name: resource
        for name, resource in resources.items()
        if resource["Type"] in _MADE_BY_MOTO
        and "ScheduleExpression" not in resource.get("Properties", {})
    }
    absent = {
        name: _physical_name(name, resource)
        for name, resource in resources.items()
        if name not in kept
    }
    questions = {name: _question(name, resource) for name, resource in resources.items()}
    sections = ("Parameters", "Conditions", "Mappings")
    return {
        **{section: template[section] for section in sections if section in template},
        "Resources": {name: _uploaded(_without(absent, r)) for name, r in kept.items()},
        "Outputs": {
            "Answers": {
                "Value": {
                    "Fn::ToJsonString": _without(
                        absent, {name: q for name, q in questions.items() if q is not None}
                    )
                }
            }
        },
    }


def _question(name: str, resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the facts that are needed about a created resource, as an expression."""
    properties = resource.get("Properties", {})
    match resource["Type"]:
        case "AWS::SQS::Queue":
            return {"QueueName": {"Fn::GetAtt": [name, "QueueName"]}}
        case "AWS::DynamoDB::Table":
            return {"TableName": {"Ref": name}}
        case "AWS::Lambda::Function":
            return {
                "Name": {"Ref": name},
                "Handler": properties["Handler"],
                "Timeout": properties.get("Timeout", 3),
                "MemorySize": properties.get("MemorySize", 128),
                "Variables": properties.get("Environment", {}).get("Variables", {}),
            }
        case "AWS::StepFunctions::StateMachine":
            return {
                "RoleArn": properties["RoleArn"],
                "Type": properties.get("StateMachineType", "STANDARD"),
                "DefinitionSubstitutions": properties.get("DefinitionSubstitutions", {}),
            }
        case "AWS::Lambda::EventSourceMapping":
            return dict(properties)
    return None


def _uploaded(resource: dict[str, Any]) -> dict[str, Any]:
    """Give a function some code: moto requires it, though our handlers never run from it."""
    if resource["Type"] != _FUNCTION:
        return resource
    code = {"ZipFile": "# runs in the process of the local stack"}
    properties = {k: v for k, v in resource["Properties"].items() if k != "Layers"}
    return resource | {"Properties": properties | {"Code": code}}


def _without(absent: Mapping[str, str], value: Any) -> Any:
    """Replace references to resources that moto does not have with their values.

    `absent` has their physical names, by logical id.
    """
    if isinstance(value, list):
        return [_without(absent, item) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": str(name)} if name in absent:
            replaced: Any = _machine_arn(absent[name])
        case {"Fn::GetAtt": [str(name), str(attribute)]} if name in absent:
            replaced = _attribute(absent[name], attribute)
        case {"Fn::Sub": str(text)}:
            replaced = {"Fn::Sub": _substituted(absent, text)}
        case {"Fn::Sub": [str(text), dict(variables)]}:
            replaced = {"Fn::Sub": [_substituted(absent, text), _without(absent, variables)]}
        case _:
            replaced = {key: _without(absent, item) for key, item in value.items()}
            _drop_dependencies(absent, replaced)
    return replaced


def _drop_dependencies(absent: Mapping[str, str], resource: dict[str, Any]) -> None:
    if isinstance(resource.get("DependsOn"), list):
        resource["DependsOn"] = [name for name in resource["DependsOn"] if name not in absent]
    elif resource.get("DependsOn") in absent:
        del resource["DependsOn"]


def _substituted(absent: Mapping[str, str], text: str) -> str:
    def replacement(found: re.Match[str]) -> str:
        name, _, attribute = found[1].partition(".")
        if name not in absent:
            return found[0]
        return _attribute(absent[name], attribute) if attribute else _machine_arn(absent[name])

    return re.sub(r"\$\{([A-Za-z0-9.]+)\}", replacement, text)


def _attribute(name: str, attribute: str) -> str:
    return name if attribute == "Name" else _machine_arn(name)


def _physical_name(name: str, resource: Mapping[str, Any]) -> str:
    """Return the local name of a resource that moto's CloudFormation does not create."""
    default = {"Fn::Sub": f"${{AWS::StackName}}-{name}"}
    named = resource.get("Properties", {}).get("StateMachineName", default)
    return str(named["Fn::Sub"]).replace("${AWS::StackName}", STACK_NAME)


def _machine_arn(name: str) -> str:
    return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{name}"


def _create_state_machines(machines: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    import boto3

    states = boto3.client("stepfunctions")
    for name, machine in machines.items():
        states.create_state_machine(
            name=_physical_name(name, machine),
            definition=definition(machine, resolved[name]["DefinitionSubstitutions"]),
            roleArn=resolved[name]["RoleArn"],
            type=resolved[name]["Type"],
        )


def _function(resolved: Mapping[str, Any], queues: Mapping[str, str]) -> FunctionResource:
    by_queue_name = {url.rsplit("/", 1)[1]: url for url in queues.values()}
    # A reference to a numeric parameter resolves to a number, which AWS turns into text.
    variables = {name: str(value) for name, value in resolved["Variables"].items()}
    return FunctionResource(
        name=resolved["Name"],
        handler=resolved["Handler"],
        timeout_seconds=int(resolved["Timeout"]),
        memory_mb=int(resolved["MemorySize"]),
        environment={
            # moto's own queue urls name a host that does not exist here.
            name: by_queue_name.get(value.rsplit("/", 1)[-1], value) if "://" in value else value
            for name, value in variables.items()
        },
    )


def _referred(expression: Mapping[str, Any]) -> str:
    """Return the logical id that an expression refers to."""
    match expression:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), _]}:
            return name
    msg = f"a mapping or a schedule must refer to resources of the template, not {expression}"
    raise ValueError(msg)
