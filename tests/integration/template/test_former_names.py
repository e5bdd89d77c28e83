"""The template's resources under the former release's names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import retrier.handler
from integration.state_machines.former_executions import DEFINITIONS, FORMER, former, rendered
from local import template
from support.backend import lambda_context
from webhooks.domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMER_NAMES = {
    "RetrierFunction",
    "RecoveryStateMachine",
    "RecoveryStateMachineLogs",
    "RecoveryStateMachineRole",
    "RecoveryStateMachineContinuation",
    "FormerRetries",
}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = rendered("true")["Resources"][name]["Properties"]
    return found


def test_the_former_names_exist_where_they_are_asked_for() -> None:
    without, with_them = rendered("false")["Resources"], rendered("true")["Resources"]
    assert not FORMER_NAMES & set(without)
    assert set(with_them) - set(without) == FORMER_NAMES


def test_no_other_resource_takes_a_name_that_one_had_in_the_version_before() -> None:
    # CloudFormation makes new resources before it deletes removed ones: the update would fail.
    taken: dict[str, str] = json.loads((FORMER / "names.json").read_text())
    found = [
        (taken[name], logical_id)
        for logical_id, resource in template.read()["Resources"].items()
        for name in custom_names(resource)
        if name in taken
    ]
    assert len(found) > 4
    assert [(former, now) for former, now in found if former != now] == []


def custom_names(resource: dict[str, Any]) -> Iterator[str]:
    for name in ("Name", "AliasName", "DashboardName", "LogGroupName"):
        value = resource.get("Properties", {}).get(name)
        if isinstance(value, dict):
            value = value.get("Fn::Sub", f"${{{value.get('Ref')}}}")
        yield f"{resource['Type']} {value}"


def test_the_former_function_is_the_worker() -> None:
    former, now = properties("RetrierFunction"), properties("WorkerFunction")
    assert former.pop("Handler") == "retrier.handler.lambda_handler"
    assert now.pop("Handler") == "worker.handler.lambda_handler"
    for each in (former, now):
        each.pop("Description")
    assert former == now
    targets = [
        target["Arn"]
        for resource in rendered("true")["Resources"].values()
        for target in resource.get("Properties", {}).get("Targets", [])
    ]
    assert {"Fn::GetAtt": ["WorkerFunction", "Arn"]} in targets
    assert {"Fn::GetAtt": ["RetrierFunction", "Arn"]} not in targets, "nothing is swept twice"


def test_the_former_state_machine_is_the_one_of_jobs() -> None:
    former, now = properties("RecoveryStateMachine"), properties("JobStateMachine")
    for name in ("DefinitionString", "DefinitionSubstitutions", "StateMachineType"):
        assert former[name] == now[name]
    name = former["StateMachineName"]
    assert name == {"Fn::Sub": "${AWS::StackName}-RecoveryStateMachine"}
    assert former["RoleArn"] == {"Fn::GetAtt": ["RecoveryStateMachineRole", "Arn"]}


def test_each_role_may_call_what_the_open_executions_call() -> None:
    function = {"Fn::GetAtt": ["RetrierFunction", "Arn"]}
    retries = properties("FormerRetries")
    assert retries["Roles"] == [{"Ref": "RetryStateMachineRole"}]
    [statement] = retries["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("lambda:InvokeFunction", function)
    [policy] = properties("RecoveryStateMachineRole")["Policies"]
    called = policy["PolicyDocument"]["Statement"][0]["Resource"]
    assert called == [{"Fn::GetAtt": ["WorkerFunction", "Arn"]}, function]
    continued = properties("RecoveryStateMachineContinuation")
    assert continued["Roles"] == [{"Ref": "RecoveryStateMachineRole"}]
    [statement] = continued["PolicyDocument"]["Statement"]
    assert statement["Resource"] == {"Ref": "RecoveryStateMachine"}


def test_the_former_function_calls_the_error_by_its_former_name() -> None:
    class Broken:
        """Services that do not answer."""

        def __getattr__(self, _: str) -> Any:
            raise UnavailableError("no answer")

    services: Any = Broken()
    with pytest.raises(retrier.handler.Unavailable, match="no answer"):
        retrier.handler.handle({"version": 1}, lambda_context(), services)
    for name in DEFINITIONS.values():
        [names, _] = former(name)["States"]["Attempt" if name == "retry" else "Step"]["Retry"]
        assert retrier.handler.Unavailable.__name__ in names["ErrorEquals"]
