"""The recovery state machine, really run on each of its paths; its task does as it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local import resources, template
from local.aws import aws_client, aws_server, invoking
from local.functions import LocalFunction
from local.serving import listen
from retrier import recovery
from support.stack import eventually
from webhooks.domain.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.functions import Context
    from local.resources import Resources

IDS = {
    "version": 1,
    "action": "replay",
    "account_id": "acc_1",
    "webhook_id": "w",
    "replay_id": "r",
}
MACHINE = "RecoveryStateMachine"


class Retrier:
    """The state machine's task: gives the answers it was told to, one an invocation."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any] | Exception] = []
        self.states: list[dict[str, Any]] = []

    def __call__(self, state: dict[str, Any], context: Context) -> dict[str, Any]:
        self.states.append(state)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return IDS | answer


class Machine:
    """The template's recovery state machine in moto."""

    def __init__(self, endpoint: str, made: Resources) -> None:
        self._states = aws_client("stepfunctions", endpoint)
        self._arn = made.state_machines[MACHINE]

    def run(self) -> tuple[str, list[str]]:
        """Run one execution; returns its status and the states it entered."""
        state = json.dumps(IDS | {"seconds": 0})
        started = self._states.start_execution(stateMachineArn=self._arn, name="r", input=state)
        return self.ended("r", started["executionArn"])

    def ended(self, name: str, arn: str | None = None) -> tuple[str, list[str]]:
        """Wait for the execution of that name."""
        execution = arn or eventually(lambda: self._find(name), f"an execution {name}")

        def status() -> str | None:
            found = str(self._states.describe_execution(executionArn=execution)["status"])
            return None if found == "RUNNING" else found

        return eventually(status, "the execution ends"), self._entered(execution)

    def take_the_name(self, name: str) -> None:
        """Run an execution of that name with another input."""
        state = json.dumps(IDS | {"seconds": 0, "other": True})
        started = self._states.start_execution(stateMachineArn=self._arn, name=name, input=state)
        self.ended(name, started["executionArn"])

    def _find(self, name: str) -> str | None:
        listed = self._states.list_executions(stateMachineArn=self._arn)["executions"]
        found = [str(one["executionArn"]) for one in listed if one["name"] == name]
        return found[0] if found else None

    def _entered(self, execution: str) -> list[str]:
        history = self._states.get_execution_history(executionArn=execution, maxResults=1000)
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in history["events"]
            if "stateEnteredEventDetails" in event
        ]


def hurried(translated: dict[str, Any]) -> dict[str, Any]:
    """Cut the definition's own retries to one, a second later: the paths stay the same."""
    properties = translated["Resources"][MACHINE]["Properties"]
    definition = json.loads(properties["DefinitionString"])
    for state in definition["States"].values():
        for rule in state.get("Retry", []):
            if rule["MaxAttempts"]:
                rule |= {"IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}
            rule.pop("MaxDelaySeconds", None)
    properties["DefinitionString"] = json.dumps(definition)
    return translated


@pytest.fixture
def retrier() -> Retrier:
    return Retrier()


@pytest.fixture
def machine(retrier: Retrier) -> Iterator[Machine]:
    with aws_server([listen("127.0.0.1", 0, "AWS_PORT")]) as endpoint:
        made = resources.create(hurried(template.load()), endpoint)
        name = made.functions["RetrierFunction"].name
        with invoking([LocalFunction(name=name, handler=retrier)]):
            yield Machine(endpoint, made)


def test_a_work_of_one_step_takes_three_transitions(machine: Machine, retrier: Retrier) -> None:
    retrier.answers = [{"decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert retrier.states == [IDS | {"seconds": 0}]


def test_each_further_step_takes_three_more_and_knows_the_state_before_it(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [
        {"decision": "wait", "seconds": 0, "steps": 1},
        {"decision": "wait", "seconds": 1, "steps": 2},
        {"decision": "done"},
    ]

    status, entered = machine.run()

    assert status == "SUCCEEDED"
    assert entered == [*["Wait", "Step", "Decide"] * 3, "Done"]
    assert [state.get("steps") for state in retrier.states] == [None, 1, 2]


def test_a_long_work_goes_on_in_a_new_execution(machine: Machine, retrier: Retrier) -> None:
    after = IDS | {"seconds": 0, "steps": 100}
    retrier.answers = [
        {"decision": "continue", "name": "r-100", "input": after},
        {"decision": "done"},
    ]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Continue", "Done"])
    assert machine.ended("r-100") == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert retrier.states[1] == after


def test_a_new_execution_that_was_started_already_is_not_started_again(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [
        {"decision": "done"},
        {"decision": "continue", "name": "r-100", "input": IDS | {"seconds": 0}},
    ]
    machine.take_the_name("r-100")

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Continue", "Done"])
    assert len(retrier.states) == 2


def test_a_new_execution_that_cannot_be_started_is_abandoned(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [
        {"decision": "continue", "name": "r-100", "input": "not a JSON text"},
        {},
    ]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == ["Continue", "Abandon", "Interrupted"]
    assert retrier.states[1]["action"] == "abandon"
    assert retrier.states[1]["state"].items() >= IDS.items()


def test_our_own_side_being_unavailable_is_tried_again(machine: Machine, retrier: Retrier) -> None:
    retrier.answers = [Unavailable("reading a replay"), {"decision": "done"}]

    assert machine.run() == ("SUCCEEDED", ["Wait", "Step", "Decide", "Done"])
    assert len(retrier.states) == 2


def test_a_bug_is_tried_again_then_abandoned_and_fails_in_sight(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [KeyError("x"), KeyError("x"), {}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered == ["Wait", "Step", "Abandon", "Interrupted"]
    abandoned = retrier.states[2]
    assert (abandoned["version"], abandoned["action"]) == (1, "abandon")
    assert abandoned["state"].items() >= IDS.items()
    assert abandoned["state"]["error"]["Error"] == "KeyError"


def test_a_retrier_that_cannot_even_abandon_fails_in_sight(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [KeyError("x")] * 4

    status, entered = machine.run()

    assert (status, entered[2:]) == ("FAILED", ["Abandon", "Interrupted"])


def test_a_decision_that_the_machine_does_not_know_is_abandoned(
    machine: Machine, retrier: Retrier
) -> None:
    retrier.answers = [{"decision": "ponder"}, {}]

    status, entered = machine.run()

    assert status == "FAILED"
    assert entered[3:] == ["UnknownDecision", "Abandon", "Interrupted"]
    assert retrier.states[1]["state"]["error"] == {"Error": "UnknownDecision"}


def test_a_history_never_reaches_its_limit() -> None:
    """Count what Step Functions writes down of a step with every retry that it may have."""
    states = definition()
    retries = sum(rule["MaxAttempts"] for rule in states["Step"]["Retry"])
    events_a_step = 2 + 2 + 2 + 3 * (1 + retries)  # Wait, Decide, Step; a try is three events

    assert recovery.STEPS_AN_EXECUTION * events_a_step < 25_000 - 1_000


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
