"""Every Choice of every state machine: it compares no field that may be absent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local import template

if TYPE_CHECKING:
    from integration.state_machines.state_coverage import States


def unguarded(state: States) -> set[str]:
    """Return the paths that a Choice compares where they may be absent.

    Step Functions ends an execution that compares an absent path, even if the Choice has a Default
    ("Choice state", Step Functions' guide). An earlier rule for absence guards them; moto does not
    show it, since it goes on to the Default.
    """
    guarded: set[str] = set()
    found: set[str] = set()
    for rule in state["Choices"]:
        if rule.get("IsPresent") is False:
            guarded.add(rule["Variable"])
        else:
            found |= _compared(rule, guarded)
    return found


def _compared(rule: States, guarded: set[str]) -> set[str]:
    present = set(guarded)
    found: set[str] = set()
    for part in (*rule.get("And", ()), *rule.get("Or", ()), *filter(None, [rule.get("Not")])):
        found |= _compared(part, present)
        # And is evaluated in order, and ends with the first part that is false.
        if "And" in rule and part.get("IsPresent") is True:
            present.add(part["Variable"])
    if "Variable" in rule and "IsPresent" not in rule and rule["Variable"] not in guarded:
        found.add(rule["Variable"])
    return found


DECISION: States = {"Variable": "$.decision", "StringEquals": "wait"}
PRESENT: States = {"Variable": "$.decision", "IsPresent": True}
ABSENT: States = {"Variable": "$.decision", "IsPresent": False}


@pytest.mark.parametrize(
    ("choices", "found"),
    [
        ([DECISION], {"$.decision"}),
        ([DECISION, ABSENT], {"$.decision"}),
        ([ABSENT, DECISION], set()),
        ([{"And": [PRESENT, DECISION]}], set()),
        ([{"And": [DECISION, PRESENT]}], {"$.decision"}),
        ([{"Or": [PRESENT, DECISION]}], {"$.decision"}),
        ([{"Not": DECISION}], {"$.decision"}),
        ([PRESENT, DECISION], {"$.decision"}),
    ],
)
def test_a_comparison_of_what_may_be_absent_is_found(
    choices: list[States], found: set[str]
) -> None:
    assert unguarded({"Choices": choices}) == found


def states_of(machine: str) -> States:
    resource = template.load()["Resources"][machine]
    states: States = json.loads(template.definition(resource, {}))["States"]
    return states


def test_no_choice_compares_what_may_be_absent() -> None:
    machines = template.of_type(template.load(), "AWS::StepFunctions::StateMachine")
    choices = {
        (machine, name): state
        for machine in machines
        for name, state in states_of(machine).items()
        if state["Type"] == "Choice"
    }
    assert len(choices) == 3
    assert {place: unguarded(state) for place, state in choices.items() if unguarded(state)} == {}
