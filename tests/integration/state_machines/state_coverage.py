"""The transitions of a state machine, and the transitions that an execution made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

States = dict[str, Any]

_UNDONE = ("FailedEventDetails", "TimedOutEventDetails")


def transitions(states: States) -> set[str]:
    """Return every way of going on that a definition has, each by a name.

    `Wait -> Step` is a state's next, `Decide: wait -> Wait` a choice by a field's value, `Decide:
    absent -> UnknownDecision` a choice by its absence, `Step: retry 1` the first Retry rule,
    `Step: catch 1 -> Abandon` the first Catch rule, `DeadLetter: fails` the end of an execution
    whose state catches nothing.
    """
    return {name for state in states for name in _of_state(state, states[state])}


def walked(states: States, history: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the transitions that an execution's history shows, in order."""
    made: list[str] = []
    state: str | None = None
    errors: list[str] = []
    failed = False
    given: States = {}
    for event in history:
        kind = str(event["type"])
        if kind.endswith("StateEntered"):
            entered = event["stateEnteredEventDetails"]["name"]
            if state is not None:
                made += (
                    [_chosen(state, states[state], given, entered)]
                    if states[state]["Type"] == "Choice"
                    else _left(state, states[state], errors, failed, entered)
                )
            state, errors, failed = entered, [], False
            given = json.loads(event["stateEnteredEventDetails"].get("input", "{}"))
        elif kind in {"LambdaFunctionFailed", "LambdaFunctionTimedOut", "TaskFailed"}:
            [details] = (event[key] for key in event if key.endswith(_UNDONE))
            errors.append(details["error"])
            failed = True
        elif kind in {"LambdaFunctionSucceeded", "TaskSucceeded"}:
            failed = False
        elif kind == "ExecutionFailed" and failed and state is not None:
            made += [*_retries(state, states[state], errors[:-1]), f"{state}: fails"]
    return made


def _of_state(name: str, state: States) -> Iterator[str]:
    if "Next" in state:
        yield f"{name} -> {state['Next']}"
    for choice in state.get("Choices", ()):
        way = "absent" if choice.get("IsPresent") is False else choice["StringEquals"]
        yield f"{name}: {way} -> {choice['Next']}"
    if "Default" in state:
        yield f"{name}: default -> {state['Default']}"
    for number, rule in enumerate(state.get("Retry", ()), start=1):
        if rule["MaxAttempts"]:
            yield f"{name}: retry {number}"
    for number, rule in enumerate(state.get("Catch", ()), start=1):
        yield f"{name}: catch {number} -> {rule['Next']}"
    if state["Type"] == "Task" and "Catch" not in state:
        yield f"{name}: fails"


def _chosen(name: str, state: States, given: States, entered: str) -> str:
    """Return the way out of a Choice: the input separates ways to the same state."""
    [field] = {choice["Variable"].removeprefix("$.") for choice in state["Choices"]}
    ways = [one for one in _of_state(name, state) if one.endswith(f" -> {entered}")]
    absent = f"{name}: absent -> {entered}"
    # A definition of the former release has no way by absence: its Default covered both.
    if absent not in ways:
        [way] = ways
        return way
    return absent if field not in given else next(one for one in ways if one != absent)


def _left(
    name: str, state: States, errors: Sequence[str], failed: bool, entered: str
) -> Iterator[str]:
    if failed:
        yield from _retries(name, state, errors[:-1])
        yield f"{name}: catch {_rule(state['Catch'], errors[-1])} -> {entered}"
    else:
        yield from _retries(name, state, errors)
        yield f"{name} -> {entered}"


def _retries(name: str, state: States, errors: Sequence[str]) -> Iterator[str]:
    return (f"{name}: retry {_rule(state['Retry'], error)}" for error in errors)


def _rule(rules: Sequence[States], error: str) -> int:
    """Return the number of the first rule that takes an error, from 1 on."""
    names = {error, "States.ALL"}
    if error != "States.Timeout":
        # The name of any other error of a task (Amazon States Language).
        names.add("States.TaskFailed")
    return next(
        number for number, rule in enumerate(rules, start=1) if names & {*rule["ErrorEquals"]}
    )
