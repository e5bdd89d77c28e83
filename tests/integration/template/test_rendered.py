"""The template rendered for every pair of parameters, in each partition, under the longest name."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from integration.template.dependencies import Late, cycles, late_policies
from local import template
from support import condition_sets
from support.rendering import (
    CHINA,
    COMMERCIAL,
    GOVCLOUD,
    LONGEST_STACK_NAME,
    NAMES,
    PLACES,
    Place,
    Rendering,
    reduced,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSOLES = {
    COMMERCIAL: "console.aws.amazon.com",
    GOVCLOUD: "console.amazonaws-us-gov.com",
    CHINA: "console.amazonaws.cn",
}
PRINCIPALS = {
    f"{service}.amazonaws.com" for service in ("apigateway", "events", "lambda", "sns", "states")
}
"""The same in every partition (SAM's translator writes them so in China too)."""

LONGEST = {
    # Each service's quotas or API reference.
    "AWS::ApiGatewayV2::DomainName": 512,
    "AWS::CloudWatch::Dashboard": 255,
    "AWS::KMS::Alias": 256,
    "AWS::Logs::LogGroup": 512,
    "AWS::Logs::QueryDefinition": 255,
    "AWS::SES::ConfigurationSet": 64,
    "AWS::StepFunctions::StateMachine": 80,
}
MAX_ROLE_CHARACTERS = 10_240
"""All inline policies of a role together, without white space (IAM's quotas)."""
MAX_VARIABLES_BYTES = 4_096
"""All environment variables of a function together (Lambda's quotas)."""

CONTINUING = (
    "needs its state machine's ARN, and is used when an execution is a job's hundredth step"
)
COMES_AFTER = {
    Late("JobStateMachine", "JobStateMachineContinuation"): CONTINUING,
    Late("RecoveryStateMachine", "RecoveryStateMachineContinuation"): CONTINUING,
    Late("RetryStateMachine", "FormerRetries"): "is for executions that began before the update",
}
"""The policies that their role's owner need not wait for, each with its reason."""


@cache
def renderings(place: Place) -> list[Rendering]:
    return [
        Rendering(condition_sets.loaded(), one, place, LONGEST_STACK_NAME)
        for one in condition_sets.pairwise(place)
    ]


def everywhere() -> Iterator[Rendering]:
    for place in PLACES:
        yield from renderings(place)


def definitions(rendering: Rendering) -> Iterator[str]:
    for machine in rendering.resources.values():
        if machine["Type"] == "AWS::StepFunctions::StateMachine":
            given = machine["Properties"]["DefinitionSubstitutions"]
            yield template.definition(machine, given)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from (*texts(key), *texts(one))


def test_the_sets_have_every_pair_of_values() -> None:
    values = condition_sets.values(COMMERCIAL)
    sets = condition_sets.pairwise()
    assert len(values) >= 10
    assert len(sets) < 20
    for name, choices in values.items():
        assert {one[name] for one in sets} == set(choices)
    both = {"Tracing": "true", "FormerNames": "true"}
    assert any(one.items() >= both.items() for one in sets)


def test_every_resource_and_output_is_in_some_set() -> None:
    loaded = condition_sets.loaded()
    assert {name for one in renderings(COMMERCIAL) for name in one.resources} == set(
        loaded["Resources"]
    )
    assert {name for one in renderings(COMMERCIAL) for name in one.outputs} == set(
        loaded["Outputs"]
    )


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.partition)
def test_nothing_names_another_partition(place: Place) -> None:
    for rendering in renderings(place):
        everything = [
            *texts([rendering.resources, rendering.outputs]),
            *definitions(rendering),
        ]
        partitions = {one for text in everything for one in re.findall(r"\barn:([\w-]*)", text)}
        assert partitions == {place.partition}


def foreign_addresses(text: str, place: Place) -> set[str]:
    """Return the addresses of AWS in a text that belong to another partition."""
    found = set(re.findall(r"[\w.*-]*\b(?:amazonaws|aws\.amazon)[\w.*-]*", text))
    own = re.compile(
        rf"[\w.-]+\.{re.escape(place.url_suffix)}|{place.region}\.{re.escape(CONSOLES[place])}"
        # Matches the name with and without China's suffix.
        rf"|dynamodb\.{place.region}\.amazonaws\.\*"
    )
    return {one for one in found if one not in PRINCIPALS and not own.fullmatch(one)}


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.partition)
def test_nothing_names_an_address_of_another_partition(place: Place) -> None:
    for rendering in renderings(place):
        everything = "\n".join(
            [*texts([rendering.resources, rendering.outputs]), *definitions(rendering)]
        )
        assert place.url_suffix in everything
        assert foreign_addresses(everything, place) == set()


def test_a_description_names_no_partition() -> None:
    """No function fills it in; therefore a partition in it would be wrong in the two others."""
    loaded = condition_sets.loaded()
    read = [loaded["Description"], *texts(loaded["Metadata"]), *texts(loaded["Rules"])]
    for section in ("Parameters", "Outputs"):
        for one in loaded[section].values():
            read += [one.get("Description", ""), one.get("ConstraintDescription", "")]
    everything = "\n".join(read)
    assert "cloudwatch.amazonaws.com" in everything
    assert re.findall(r"\barn:aws", everything) == []
    assert foreign_addresses(everything, CHINA) == {"cloudwatch.amazonaws.com"}


def test_a_foreign_address_is_found() -> None:
    api = "https://a.execute-api.cn-northwest-1.amazonaws.com"
    console = "https://cn-northwest-1.console.aws.amazon.com/cloudwatch"
    assert len(foreign_addresses(f"{api} {console}", CHINA)) == 2
    assert foreign_addresses(f"{api}.cn", CHINA) == set()
    assert foreign_addresses(f"{api}.cn", COMMERCIAL) == {f"{api[8:]}.cn"}
    assert foreign_addresses("https://us-gov-west-1.console.aws.amazon.com", GOVCLOUD)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.partition)
def test_the_metrics_dashboards_address_is_the_partitions_console(place: Place) -> None:
    [(address, dashboard)] = {
        (rendering.outputs["MetricsDashboardUrl"], rendering.name("OperationsDashboard"))
        for rendering in renderings(place)
        if "MetricsDashboardUrl" in rendering.outputs
    }
    assert address.endswith(f"#dashboards/dashboard/{dashboard}")
    assert address.startswith(f"https://{place.region}.{CONSOLES[place]}/cloudwatch/home?region=")


def test_a_service_is_a_principal_by_its_name_alone() -> None:
    found = set()
    for rendering in everywhere():
        for text in texts(rendering.resources):
            found |= set(re.findall(r"^[\w-]+\.amazonaws\.com$", text))
    assert found == PRINCIPALS


def test_no_resource_waits_for_itself() -> None:
    for parameters in condition_sets.pairwise():
        assert cycles(reduced(condition_sets.loaded(), parameters)["Resources"]) == set()


def test_a_function_or_state_machine_comes_after_the_policies_of_its_role() -> None:
    late = set()
    for parameters in condition_sets.pairwise():
        late |= late_policies(reduced(condition_sets.loaded(), parameters)["Resources"])
    assert late == set(COMES_AFTER)


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("AWS::IAM::ManagedPolicy", {"Roles": [{"Ref": "WorkerRole"}]}),
        ("AWS::IAM::RolePolicy", {"RoleName": {"Ref": "WorkerRole"}}),
    ],
)
def test_a_late_policy_of_any_kind_is_found(kind: str, roles: dict[str, Any]) -> None:
    loaded = reduced(condition_sets.loaded(), {})["Resources"]
    loaded["Planted"] = {"Type": kind, "Properties": roles}
    assert Late("WorkerFunction", "Planted") in late_policies(loaded)


def test_a_policy_that_comes_late_is_found() -> None:
    """A policy of all roles waits for each role, and one of them for a function of another."""
    loaded = reduced(condition_sets.loaded(), {"Tracing": "true"})["Resources"]
    loaded["FunctionsTracing"] = {
        "Type": "AWS::IAM::Policy",
        "Properties": {"Roles": [{"Ref": "ApiRole"}, {"Ref": "WorkerRole"}]},
    }
    assert late_policies(loaded) >= {
        Late("ApiFunction", "FunctionsTracing"),
        Late("WorkerFunction", "FunctionsTracing"),
    }
    loaded["ApiFunction"]["DependsOn"] = "FunctionsTracing"
    assert Late("ApiFunction", "FunctionsTracing") not in late_policies(loaded)
    loaded["WorkerFunction"]["DependsOn"] = ["FunctionsTracing"]
    assert "WorkerFunction" in cycles(loaded)


def test_every_name_fits_under_the_longest_name_of_a_stack() -> None:
    measured = set()
    for rendering in everywhere():
        for logical_id, resource in rendering.resources.items():
            kind = resource["Type"]
            name = resource["Properties"].get(NAMES.get(kind, ""))
            if name is not None:
                measured.add(logical_id)
                assert len(name) <= LONGEST[kind], (logical_id, len(name))
    assert len(measured) > 15


def test_every_property_that_names_a_resource_is_measured() -> None:
    """A name of the stack's own that this file does not know would go unmeasured."""
    naming = re.compile(r"(?:.*Name|Name)$")
    no_name = {("AWS::SNS::Topic", "DisplayName")}
    found = {
        (resource["Type"], key)
        for resource in condition_sets.loaded()["Resources"].values()
        for key, value in resource["Properties"].items()
        if naming.match(key) and "AWS::StackName" in json.dumps(value)
    }
    assert found - no_name == {(kind, key) for kind, key in NAMES.items() if key != "DomainName"}


def test_every_roles_policies_fit() -> None:
    for rendering in everywhere():
        for name, resource in rendering.resources.items():
            if resource["Type"] != "AWS::IAM::Role":
                continue
            documents = [one["PolicyDocument"] for one in resource["Properties"]["Policies"]]
            size = sum(len(json.dumps(one, separators=(",", ":"))) for one in documents)
            # Lists of attributes grow: four fifths, to see it before it is too late.
            assert size < MAX_ROLE_CHARACTERS * 4 / 5, name


def test_every_functions_variables_fit_with_the_longest_values() -> None:
    schedule = ",".join(["9999999"] * 50)
    headers = ",".join(["x" * 64] * 20)
    longest = {
        "RetrySchedule": schedule,
        "RecoverySchedule": schedule,
        "SesHeaders": headers,
        "DefaultAccountId": "a" * 64,
        "DomainName": ".".join(["d" * 63] * 3) + ".example",
    }
    rendering = Rendering(
        condition_sets.loaded(), {**longest, "FormerNames": "true"}, CHINA, LONGEST_STACK_NAME
    )
    functions = [
        one["Properties"]["Environment"]["Variables"]
        for one in rendering.resources.values()
        if one["Type"] == "AWS::Lambda::Function"
    ]
    assert len(functions) == 4
    for variables in functions:
        size = sum(len(name) + len(str(value)) for name, value in variables.items())
        assert size < MAX_VARIABLES_BYTES
