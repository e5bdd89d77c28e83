"""The template's state machines, really run in moto, with a scripted task."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from local import resources, template
from local.aws import aws_client, invoking
from local.functions import LocalFunction
from support.moto_in_process import serving_in_process
from support.stack import eventually
from webhooks.domain.jobs import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.functions import Context
    from local.resources import Resources


class ScriptedTask:
    """The machines' task: gives its scripted answers, one an invocation, with its ids.

    It has an answer of its own where a dead letter is to be noted, unless a test gives another.
    """

    def __init__(self, ids: Mapping[str, Any]) -> None:
        self.answers: list[dict[str, Any] | Exception] = []
        self.states: list[dict[str, Any]] = []
        self.noted: list[dict[str, Any]] = []
        self._ids = ids

    def __call__(self, state: dict[str, Any], context: Context) -> dict[str, Any]:
        action = state.get("action")
        if action == Action.NOTE_DEAD_LETTER:
            self.noted.append(state["state"])
            if not self.answers:
                return {}
        else:
            attempt = action in {Action.ATTEMPT, Action.SHORT_ATTEMPT}
            self.states.append(state["state"] if attempt else state)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {**self._ids, **answer}


class StateMachine:
    """One of the template's state machines."""

    def __init__(self, endpoint: str, made: Resources, name: str) -> None:
        self._states = aws_client("stepfunctions", endpoint)
        self._arn = made.state_machines[name]

    def execute(self, state: Mapping[str, Any], **options: str) -> tuple[str, list[str]]:
        """Run one execution; returns its status and the states it entered."""
        started = self._states.start_execution(
            stateMachineArn=self._arn, input=json.dumps(state), **options
        )
        return self.ended(started["executionArn"])

    def ended(self, execution: str) -> tuple[str, list[str]]:
        """Wait for an execution to end; returns its status and the states it entered."""

        def status() -> str | None:
            found = str(self._states.describe_execution(executionArn=execution)["status"])
            return None if found == "RUNNING" else found

        ending = eventually(status, "the execution ends")
        return ending, [
            event["stateEnteredEventDetails"]["name"]
            for event in self._history(execution)
            if "stateEnteredEventDetails" in event
        ]

    def failures(self, execution: str) -> int:
        """Return the number of failed requests of services other than Lambda, each try counted."""
        return sum(event["type"] == "TaskFailed" for event in self._history(execution))

    def _history(self, execution: str) -> list[Any]:
        answer = self._states.get_execution_history(executionArn=execution, maxResults=1000)
        return list(answer["events"])

    def named(self, name: str) -> str:
        """Wait for an execution of that name; returns its ARN."""

        def find() -> str | None:
            listed = self._states.list_executions(stateMachineArn=self._arn)["executions"]
            found = [str(one["executionArn"]) for one in listed if one["name"] == name]
            return found[0] if found else None

        return eventually(find, f"an execution {name}")


@contextmanager
def made_for(task: ScriptedTask, machine: str) -> Iterator[tuple[str, Resources]]:
    """Make the template's resources, `machine` hurried; yields AWS's endpoint and the resources."""
    with serving_in_process() as endpoint:
        made = resources.create(hurried(template.load(), machine), endpoint)
        name = made.functions["WorkerFunction"].name
        with invoking([LocalFunction(name=name, handler=task)]), _timing_out():
            yield endpoint, made


@contextmanager
def _timing_out() -> Iterator[None]:
    """Turn a task's error with the name `States.Timeout` into a task that does not answer in time.

    No function can raise an error of that name, and a real time-out takes a minute.
    """
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_lambda

    task: Any = state_task_lambda.StateTaskLambda
    original = task._from_error

    def from_error(state: Any, env: Any, ex: Exception) -> Any:
        late = '"States.Timeout"' in getattr(ex, "payload", "")
        return original(state, env, TimeoutError() if late else ex)

    with mock.patch.object(task, "_from_error", from_error):
        yield


def hurried(translated: dict[str, Any], machine: str) -> dict[str, Any]:
    """Cut the definition's own retries to one, a second later: the paths stay the same."""
    properties = translated["Resources"][machine]["Properties"]
    properties["DefinitionString"] = json.dumps(hurry(json.loads(properties["DefinitionString"])))
    return translated


def hurry(definition: dict[str, Any]) -> dict[str, Any]:
    """Cut a definition's retries to one, a second later."""
    for state in definition["States"].values():
        for rule in state.get("Retry", []):
            if rule["MaxAttempts"]:
                rule |= {"IntervalSeconds": 1, "MaxAttempts": 1, "BackoffRate": 1}
            rule.pop("MaxDelaySeconds", None)
    return definition
