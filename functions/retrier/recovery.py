"""The steps of the recovery state machine: what a webhook missed is sent to it, bit by bit.

An action does a step of its work and says how long to wait for the next one, None for no next
one; everything else about the machine is the same for all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from webhooks.domain.replay import ReplayKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks import wiring

    Step = Callable[[Mapping[str, Any], float, wiring.Services], float | None]

VERSION = 1
"""The version of the state that these steps understand."""

STEPS_AN_EXECUTION = 100
"""Steps after which an execution hands over to a new one, named after it.

A step is 9 events of the execution's history, and 3 more for each of its 63 retries at most, so
that a hundred stay below the 25,000 that Step Functions allows ("Standard workflows quotas").
"""

_CARRIED = ("version", "action", "account_id", "webhook_id", "replay_id")
_MILLISECONDS = 1000


def handle(state: Mapping[str, Any], context: Any, services: wiring.Services) -> dict[str, Any]:
    """Make the step that the state asks for; the answer is the state machine's next state."""
    if state["action"] == ABANDON:
        return _abandon(state["state"], services)
    if state.get("version") != VERSION:
        services.observer.log("error", "unknown_version", version=state.get("version"))
        return {**state, "decision": "unknown_version"}
    remaining_seconds = context.get_remaining_time_in_millis() / _MILLISECONDS
    seconds = _ACTIONS[state["action"]](state, remaining_seconds, services)
    return _next(state, seconds)


def _replay(
    state: Mapping[str, Any], remaining_seconds: float, services: wiring.Services
) -> float | None:
    return services.replayer.step(_replay_key(state), remaining_seconds)


def _abandon(state: Mapping[str, Any], services: wiring.Services) -> dict[str, Any]:
    """See that what the state machine gave up does not look as if it went on."""
    error = state.get("error", {}).get("Error")
    names = {name: state.get(name) for name in _CARRIED}
    services.observer.log("error", "recovery_abandoned", **names, error=error)
    if state.get("action") == REPLAY:
        services.replayer.abandon(_replay_key(state))
    return names


def _next(state: Mapping[str, Any], seconds: float | None) -> dict[str, Any]:
    steps = int(state.get("steps", 0)) + 1
    after: dict[str, Any] = {name: state[name] for name in _CARRIED if name in state}
    after["steps"] = steps
    if seconds is None:
        return {**after, "decision": "done"}
    after["seconds"] = math.ceil(seconds)
    if steps % STEPS_AN_EXECUTION:
        return {**after, "decision": "wait"}
    # The same name however often it is asked for, so that there is one next execution.
    name = f"{state['replay_id']}-{steps}"
    return {**after, "decision": "continue", "name": name, "input": after}


def _replay_key(state: Mapping[str, Any]) -> ReplayKey:
    return ReplayKey(state["account_id"], state["webhook_id"], state["replay_id"])


REPLAY = "replay"
ABANDON = "abandon"
_ACTIONS: dict[str, Step] = {REPLAY: _replay}
ACTIONS = frozenset({*_ACTIONS, ABANDON})
"""The values of a state's `action` that are the recovery state machine's."""
