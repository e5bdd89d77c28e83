"""The SAM template as plain CloudFormation, translated by SAM's own translator, offline.

The template has two files: `template.yaml` includes `monitoring.yaml` in its resources. `read`
inserts it, as `AWS::Include` does on AWS.

::

    python -m local.template                                prints the transformed template
    python -m local.template .aws-sam/build/template.yaml   inserts what a template includes
"""

from __future__ import annotations

import copy
import functools
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = Path(__file__).parent.parent / "template.yaml"

REGION = "us-east-1"
"""The region that the translator requires; nothing in the template depends on it."""

_DUMMY_CODE = "s3://not-uploaded/code.zip"


class Route(NamedTuple):
    """One route of the HTTP API, as a function's event declares it; `ANY` means every method."""

    function: str
    method: str
    path: str


def read(path: Path = TEMPLATE) -> dict[str, Any]:
    """Return the template as written, with the short forms of the intrinsics spelled out.

    A file that its resources include is inserted.
    """
    template = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    if not isinstance(template, dict):
        msg = f"{path} does not hold a template"
        raise ValueError(msg)
    include = template.get("Resources", {}).pop("Fn::Transform", None)
    if include:
        part = path.parent / include["Parameters"]["Location"]
        template["Resources"] |= copy.deepcopy(_parsed(part.read_text(encoding="utf-8")))
        # It is for a linter of the one file: the whole template uses every condition.
        template["Metadata"].pop("cfn-lint")
    return template


@functools.cache
def _parsed(text: str) -> Any:
    """Parse a YAML text, once per process."""
    return yaml_parse(text)


def insert_includes(path: Path) -> None:
    """Write a template anew, with what it includes inserted.

    CloudFormation could insert it. But the SAM CLI adds `Metadata` to each entry of the resources,
    the include too, and AWS does not document whether a macro's call may have another key.
    """
    path.write_text(json.dumps(read(path), indent=2), encoding="utf-8")


def load(path: Path = TEMPLATE, parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the template as CloudFormation would run it, with `parameters` as its defaults.

    Code addresses are dummies, because nothing is uploaded. Each state machine has its definition
    as one JSON text in `DefinitionString`, with `DefinitionSubstitutions` next to it, which
    `definition` applies. References and conditions are left for CloudFormation to resolve. Raises
    ValueError for a parameter or a value that the template does not allow.
    """
    template = read(path)
    _set_defaults(template["Parameters"], parameters or {})
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = _DUMMY_CODE
        elif resource["Type"] == "AWS::Serverless::StateMachine":
            source = path.parent / properties.pop("DefinitionUri")
            properties["Definition"] = copy.deepcopy(_parsed(source.read_text(encoding="utf-8")))
    template["Globals"]["Function"]["CodeUri"] = _DUMMY_CODE
    # Every role of the template spells out its policies, so no managed policies are needed.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    translated: dict[str, Any] = translator.translate(template, parameter_values={})
    for resource in of_type(translated, "AWS::StepFunctions::StateMachine").values():
        # The translator splits the text into lines for human readers.
        separator, lines = resource["Properties"]["DefinitionString"]["Fn::Join"]
        resource["Properties"]["DefinitionString"] = separator.join(lines)
    return translated


def check_parameters(chosen: Mapping[str, str]) -> None:
    """Raise ValueError for a parameter or a value that the template does not allow."""
    _set_defaults(read()["Parameters"], chosen)


def check_rules(parameters: Mapping[str, str]) -> None:
    """Raise ValueError for values that the template's rules do not allow together.

    `parameters` are the stack's; missing ones have their defaults, unknown ones are ignored.
    CloudFormation checks the same, but after the build.
    """
    template = read()
    for name in parameters.keys() & template["Parameters"].keys():
        template["Parameters"][name]["Default"] = parameters[name]
    for rule in template["Rules"].values():
        if not _holds(rule["RuleCondition"], template):
            continue
        for assertion in rule["Assertions"]:
            if not _holds(assertion["Assert"], template):
                raise ValueError(assertion["AssertDescription"].strip().removesuffix("."))


def existing(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a translated template without the resources whose condition is false."""
    kept = {
        name: resource
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or _holds({"Condition": resource["Condition"]}, template)
    }
    return {**template, "Resources": kept}


def definition(state_machine: Mapping[str, Any], substitutions: Mapping[str, str]) -> str:
    """Return a translated state machine's definition with its placeholders filled in.

    `substitutions` are the resolved values of `DefinitionSubstitutions`.
    """
    text = str(state_machine["Properties"]["DefinitionString"])
    for name, value in substitutions.items():
        text = text.replace(f"${{{name}}}", json.dumps(value)[1:-1])
    return text


def routes(template: Mapping[str, Any]) -> list[Route]:
    """Return the routes of the HTTP API from a template as `read` returns it."""
    return [
        Route(name, event["Properties"]["Method"].upper(), event["Properties"]["Path"])
        for name, resource in template["Resources"].items()
        for event in resource.get("Properties", {}).get("Events", {}).values()
        if event["Type"] == "HttpApi"
    ]


def of_type(template: Mapping[str, Any], resource_type: str) -> dict[str, dict[str, Any]]:
    """Return the resources of one type, by logical id, from either form of the template."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == resource_type
    }


def _holds(expression: Any, template: Mapping[str, Any]) -> bool:
    """Evaluate a condition, or a rule's expression, with the parameters' defaults."""
    match expression:
        case {"Condition": str(name)}:
            return _holds(template["Conditions"][name], template)
        case {"Fn::Not": [inner]}:
            return not _holds(inner, template)
        case {"Fn::And": list(parts)}:
            return all(_holds(part, template) for part in parts)
        case {"Fn::Equals": [{"Ref": str(name)}, str(value)]}:
            return str(template["Parameters"][name]["Default"]) == value
    msg = f"a condition of an unknown form: {expression}"
    raise ValueError(msg)


def _set_defaults(declared: dict[str, Any], chosen: Mapping[str, str]) -> None:
    for name, value in chosen.items():
        if name not in declared:
            msg = f"the template has no parameter {name}"
            raise ValueError(msg)
        parameter = declared[name]
        allowed = [str(one) for one in parameter.get("AllowedValues", [])]
        if allowed and value not in allowed:
            msg = f"parameter {name} must be one of {', '.join(allowed)}"
            raise ValueError(msg)
        if not re.fullmatch(parameter.get("AllowedPattern", ".*"), value):
            msg = f"parameter {name} {parameter.get('ConstraintDescription', 'is malformed')}"
            raise ValueError(msg)
        if parameter["Type"] == "Number":
            _check_number(name, value, parameter)
        parameter["Default"] = value


def _check_number(name: str, value: str, parameter: Mapping[str, Any]) -> None:
    least, most = (float(parameter.get(key, "nan")) for key in ("MinValue", "MaxValue"))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        msg = f"parameter {name} must be a number"
        raise ValueError(msg)
    # A missing bound is NaN, and no comparison with NaN is true.
    if float(value) < least or float(value) > most:
        msg = f"parameter {name} must be {least:,.0f} to {most:,.0f}"
        raise ValueError(msg)


if __name__ == "__main__":
    if sys.argv[1:]:
        insert_includes(Path(sys.argv[1]))
    else:
        json.dump(load(), sys.stdout, indent=2)
