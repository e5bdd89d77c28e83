"""The job state machine, really run on each of its paths; a test scripts its task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import template
from support.state_machines import ScriptedTask, StateMachine, made_for
from webhooks.domain.errors import UnavailableError
from worker import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.resources import Resources

IDS = {
    "version": 1,
    "action": "replay",
    "account_id": "acc_1",
    "webhook_id": "w",
    "replay_id": "r",
}
MACHINE = "JobStateMachine"


class Machine(StateMachine):
    """The job state machine."""

    def __init__(self, endpoint: str, made: Resources) -> None:
        super().__init__(endpoint, made, MACHINE)

    def run(self) -> tuple[str, list[str]]:
        """Run one execution; returns its status and the states it entered."""
        return self.execute(IDS | {"seconds": 0}, name="r")

    def next_ended(self, name: str) -> tuple[str, list[str]]:
        """Wait for the execution of that name, which another starts."""
        return self.ended(self.named(name))

    def take_the_name(self, name: str) -> None:
        """Run an execution of that name with another input."""
        self.execute(IDS | {"seconds": 0, "other": True}, name=name)


@pytest.fixture
def task() -> ScriptedTask:
    return ScriptedTask(IDS)


@pytest.fixture
def machine(task: ScriptedTask) -> Iterator[Machine]:
    with made_for(task, MACHINE) as (endpoint, made):
        yield Machine(endpoint, made)


def test_a_work_of_one_step_takes_three_transitions(machine: Machine, task: ScriptedTask) -> None:
    task.answers = [{"decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert task.states == [IDS | {"seconds": 0}]


def test_each_further_step_takes_three_more_and_knows_the_state_before_it(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [
        {"decision": "wait", "seconds": 0, "steps": 1},
        {"decision": "wait", "seconds": 1, "steps": 2},
        {"decision": "done"},
    ]

    status, entered = machine.run()

    assert status == "SUCCEEDED"
    assert entered == [*["Wait", "Step", "Decide"] * 3, "Done"]
    assert [state.get("steps") for state in task.states] == [None, 1, 2]


def test_a_long_work_goes_on_in_a_new_execution(machine: Machine, task: ScriptedTask) -> None:
    after = IDS | {"seconds": 0, "steps": 100}
    task.answers = [
        {"decision": "continue", "name": "r-100", "input": after},
        {"decision": "done"},
    ]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Continue", "Done"])
    assert machine.next_ended("r-100") == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert task.states[1] == after


def test_a_new_execution_that_was_started_already_is_not_started_again(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [
        {"decision": "done"},
        {"decision": "continue", "name": "r-100", "input": IDS | {"seconds": 0}},
    ]
    machine.take_the_name("r-100")

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Continue", "Done"])
    assert len(task.states) == 2


def test_a_new_execution_that_cannot_be_started_is_abandoned(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [
        {"decision": "continue", "name": "r-100", "input": "not a JSON text"},
        {},
    ]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == ["Continue", "Abandon", "Interrupted"]
    assert task.states[1]["action"] == "abandon"
    assert task.states[1]["state"].items() >= IDS.items()


def test_our_own_side_being_unavailable_is_tried_again(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [UnavailableError("reading a replay"), {"decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert len(task.states) == 2


def test_a_bug_is_tried_again_then_abandoned_and_fails_in_sight(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [KeyError("x"), KeyError("x"), {}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered == ["Wait", "Step", "Abandon", "Interrupted"]
    abandoned = task.states[2]
    assert (abandoned["version"], abandoned["action"]) == (1, "abandon")
    assert abandoned["state"].items() >= IDS.items()
    assert abandoned["state"]["error"]["Error"] == "KeyError"


def test_a_worker_that_cannot_even_abandon_fails_in_sight(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [KeyError("x")] * 4

    status, entered = machine.run()

    assert (status, entered[2:]) == ("FAILED", ["Abandon", "Interrupted"])


def test_a_decision_that_the_machine_does_not_know_is_abandoned(
    machine: Machine, task: ScriptedTask
) -> None:
    task.answers = [{"decision": "ponder"}, {}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == ["UnknownDecision", "NameUnknownDecision", "Abandon", "Interrupted"]
    assert task.states[1]["state"]["error"] == {"Error": "UnknownDecision"}


@pytest.mark.parametrize("answer", [{}, {"decision": "ponder"}])
def test_an_answer_without_ids_is_abandoned_by_those_of_the_execution(
    answer: dict[str, Any],
) -> None:
    task = ScriptedTask({})
    task.answers = [answer, {}]
    with made_for(task, MACHINE) as (endpoint, made):
        status, _ = Machine(endpoint, made).run()

    assert status == "FAILED"
    assert task.states[1]["state"].items() >= IDS.items()


def test_a_history_never_reaches_its_limit() -> None:
    """Count the events of a step in Step Functions' history with every possible retry."""
    states = definition()
    retries = sum(rule["MaxAttempts"] for rule in states["Step"]["Retry"])
    events_a_step = 2 + 2 + 2 + 3 * (1 + retries)  # Wait, Decide, Step; a try is three events

    assert jobs.STEPS_AN_EXECUTION * events_a_step < 25_000 - 1_000


def test_each_task_outlives_hours_of_our_own_trouble() -> None:
    for name, rule in (("Step", 0), ("Continue", 1)):
        retry = definition()[name]["Retry"][rule]
        delays = [
            min(retry["IntervalSeconds"] * retry["BackoffRate"] ** number, retry["MaxDelaySeconds"])
            for number in range(retry["MaxAttempts"])
        ]
        # Full jitter halves a delay on average.
        assert sum(delays) / 2 > 6 * 3600, name
        assert retry["JitterStrategy"] == "FULL", name


def definition() -> dict[str, Any]:
    resource = template.load()["Resources"][MACHINE]
    states: dict[str, Any] = json.loads(template.definition(resource, {}))["States"]
    return states
