"""The steps of the job state machine: long work, divided into steps.

A job's step returns the wait until the next step, or the end of the job. Everything else about the
machine is the same for every kind of job.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from webhooks.domain.jobs import Action
from webhooks.domain.jobs.run import run_name
from webhooks.domain.timestamps import MILLISECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from webhooks.ports import JobKey
    from webhooks.services.jobs.runner import NextStep
    from webhooks.wiring.worker import WorkerServices

VERSION = 1
"""The version of the state that these steps understand."""

STEPS_AN_EXECUTION = 100
"""Steps after which an execution hands over to a new one, whose name follows from its own.

A step takes 9 events of the execution's history, and 3 more for each of at most 63 retries. A
hundred steps therefore stay below the 25,000 events that Step Functions allows ("Standard workflows
quotas").
"""


def handle(state: Mapping[str, Any], context: Any, services: WorkerServices) -> dict[str, Any]:
    """Make the step that the state asks for; return the state machine's next state."""
    if state["action"] == Action.ABANDON:
        return _abandon(state["state"], services)
    if state.get("version") != VERSION:
        services.telemetry.log("error", "unknown_version", version=state.get("version"))
        return {**state, "decision": "unknown_version"}

    def remaining_seconds() -> float:
        return float(context.get_remaining_time_in_millis()) / MILLISECONDS

    key = services.jobs.key(state)
    return _next(state, key, services.jobs.step(key, state, remaining_seconds))


def ids(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids in a state or an event; the last of them names the execution."""
    return {name: value for name, value in state.items() if name.endswith("_id")}


def _abandon(state: Mapping[str, Any], services: WorkerServices) -> dict[str, Any]:
    """Record that the state machine gave up a job, so that its owner does not wait for it."""
    names = {"version": state.get("version"), "action": state.get("action"), **ids(state)}
    error = state.get("error", {}).get("Error")
    services.telemetry.log("error", "job_abandoned", **names, error=error)
    if services.jobs.knows(state.get("action")):
        services.jobs.abandon(services.jobs.key(state), state)
    return names


def _next(state: Mapping[str, Any], key: JobKey, following: NextStep | None) -> dict[str, Any]:
    steps = int(state.get("steps", 0)) + 1
    after: dict[str, Any] = {
        "version": VERSION,
        "action": key.action,
        **key._asdict(),
        "steps": steps,
        **({"run": state["run"]} if "run" in state else {}),
    }
    if following is None:
        return {**after, "decision": "done"}
    after |= {**following.state, "seconds": math.ceil(following.seconds)}
    if steps % STEPS_AN_EXECUTION:
        return {**after, "decision": "wait"}
    # The name is the same for every repetition, so only one next execution starts.
    [*_, job_id] = key._asdict().values()
    name = run_name(job_id, after.get("run", 0))
    return {**after, "decision": "continue", "name": f"{name}-{steps}", "input": after}
