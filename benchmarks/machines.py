"""The states that an execution enters: Step Functions bills them, retries of a state included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from local.template import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable

STATE_MACHINES = TEMPLATE.parent / "statemachines"
_WORKER = "${WorkerFunctionArn}"
_NOTE = "note_dead_letter"
"""The worker's task without a decision."""


def definition(name: str) -> dict[str, Any]:
    """Return a state machine's definition by its name, for example `retry`."""
    text = (STATE_MACHINES / f"{name}.asl.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def states_entered(machine: dict[str, Any], decisions: Iterable[str]) -> list[str]:
    """Return the states that an execution enters, given the task's decision at each attempt.

    ValueError if the execution does not end with the last decision.
    """
    left = list(decisions)
    decision = ""
    entered: list[str] = []
    name: str | None = machine["StartAt"]
    while name is not None:
        entered.append(name)
        state = machine["States"][name]
        attempt = state["Type"] == "Task" and state["Resource"] == _WORKER
        if attempt and state.get("Parameters", {}).get("action") != _NOTE:
            if not left:
                msg = "the execution goes on after the last decision"
                raise ValueError(msg)
            decision = left.pop(0)
        if state["Type"] == "Choice":
            chosen = {choice.get("StringEquals"): choice["Next"] for choice in state["Choices"]}
            name = chosen.get(decision, state["Default"])
        else:
            name = state.get("Next")
    if left:
        msg = f"the execution ended with {len(left)} decisions to go"
        raise ValueError(msg)
    return entered
