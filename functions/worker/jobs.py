"""The steps of the recovery state machine: what takes long is done bit by bit.

A replay and a recovery send a webhook what it missed, an erasure redacts an account's payloads, a
check tries a receiver out, in one step.

An action does a step of its work and says how long to wait for the next one, None for no next
one; everything else about the machine is the same for all of them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from webhooks.domain.check import CheckKey
from webhooks.domain.erasure import ErasureKey
from webhooks.domain.health import RecoveryKey
from webhooks.domain.replay import ReplayKey
from webhooks.services.recovery import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from webhooks import wiring


class Next(NamedTuple):
    """What a step comes to: when the next one is due, and what that one is told besides."""

    seconds: float
    told: Mapping[str, float | str]


if TYPE_CHECKING:
    Do = Callable[[Mapping[str, Any], Callable[[], float], wiring.Services], Next | None]

VERSION = 1
"""The version of the state that these steps understand."""

STEPS_AN_EXECUTION = 100
"""Steps after which an execution hands over to a new one, named after it.

A step is 9 events of the execution's history, and 3 more for each of its 63 retries at most, so
that a hundred stay below the 25,000 that Step Functions allows ("Standard workflows quotas").
"""

WORKS = ("replay_id", "recovery_id", "erasure_id", "check_id")
"""What a state names its work by: one of these, the id that its executions are named after."""

_CARRIED = ("version", "action", "account_id", "webhook_id", *WORKS)
_MILLISECONDS = 1000


def handle(state: Mapping[str, Any], context: Any, services: wiring.Services) -> dict[str, Any]:
    """Make the step that the state asks for; the answer is the state machine's next state."""
    if state["action"] == ABANDON:
        return _abandon(state["state"], services)
    if state.get("version") != VERSION:
        services.observer.log("error", "unknown_version", version=state.get("version"))
        return {**state, "decision": "unknown_version"}

    def remaining_seconds() -> float:
        return float(context.get_remaining_time_in_millis()) / _MILLISECONDS

    return _next(state, _ACTIONS[state["action"]](state, remaining_seconds, services))


def _replay(
    state: Mapping[str, Any], remaining_seconds: Callable[[], float], services: wiring.Services
) -> Next | None:
    seconds = services.replayer.step(_replay_key(state), remaining_seconds())
    return None if seconds is None else Next(seconds, {})


def _recover(
    state: Mapping[str, Any], remaining_seconds: Callable[[], float], services: wiring.Services
) -> Next | None:
    key = RecoveryKey(state["account_id"], state["webhook_id"], state["recovery_id"])
    probe = int(state.get("probe", 1))
    past, settled, pace = state.get("past"), state.get("settled"), state.get("pace")
    before = Step(0, probe, state.get("after"), past, settled, pace)
    step = services.recovery.step(key, before, remaining_seconds)
    if step is None:
        return None
    told = {"after": step.after, "past": step.past, "settled": step.settled, "pace": step.pace}
    known = {name: value for name, value in told.items() if value is not None}
    return Next(step.seconds, {"probe": step.probe, **known})


def _erase(
    state: Mapping[str, Any], remaining_seconds: Callable[[], float], services: wiring.Services
) -> Next | None:
    seconds = services.eraser.step(_erasure_key(state), remaining_seconds)
    return None if seconds is None else Next(seconds, {})


def _check(
    state: Mapping[str, Any], remaining_seconds: Callable[[], float], services: wiring.Services
) -> None:
    services.checker.run(_check_key(state), remaining_seconds)


def _abandon(state: Mapping[str, Any], services: wiring.Services) -> dict[str, Any]:
    """See that what the state machine gave up does not look as if it went on.

    A recovery that is given up is overdue before long, and then begun anew by the sweeper.
    """
    error = state.get("error", {}).get("Error")
    names = {name: state.get(name) for name in _CARRIED}
    services.observer.log("error", "recovery_abandoned", **names, error=error)
    if state.get("action") == REPLAY:
        services.replayer.abandon(_replay_key(state))
    elif state.get("action") == ERASE:
        services.eraser.abandon(_erasure_key(state))
    elif state.get("action") == CHECK:
        services.checker.abandon(_check_key(state))
    return names


def _next(state: Mapping[str, Any], following: Next | None) -> dict[str, Any]:
    steps = int(state.get("steps", 0)) + 1
    after: dict[str, Any] = {name: state[name] for name in _CARRIED if name in state}
    after["steps"] = steps
    if following is None:
        return {**after, "decision": "done"}
    after |= {**following.told, "seconds": math.ceil(following.seconds)}
    if steps % STEPS_AN_EXECUTION:
        return {**after, "decision": "wait"}
    # The same name however often it is asked for, so that there is one next execution.
    [work] = [state[name] for name in WORKS if name in state]
    return {**after, "decision": "continue", "name": f"{work}-{steps}", "input": after}


def _replay_key(state: Mapping[str, Any]) -> ReplayKey:
    return ReplayKey(state["account_id"], state["webhook_id"], state["replay_id"])


def _erasure_key(state: Mapping[str, Any]) -> ErasureKey:
    return ErasureKey(state["account_id"], state["erasure_id"])


def _check_key(state: Mapping[str, Any]) -> CheckKey:
    return CheckKey(state["account_id"], state["webhook_id"], state["check_id"])


REPLAY = "replay"
RECOVER = "recover"
ERASE = "erase"
CHECK = "check"
ABANDON = "abandon"
_ACTIONS: dict[str, Do] = {
    REPLAY: _replay,
    RECOVER: _recover,
    ERASE: _erase,
    CHECK: _check,
}
ACTIONS = frozenset({*_ACTIONS, ABANDON})
"""The values of a state's `action` that are the recovery state machine's."""
